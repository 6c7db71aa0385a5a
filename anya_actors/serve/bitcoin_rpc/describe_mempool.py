"""Waiting transactions as Bitcoin Core writes them in JSON."""

from __future__ import annotations

from typing import Any

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.transaction import MAX_SEQUENCE_RBF
from anya_actors.serve.bitcoin_rpc.describe import btc


def describe_entry(pool: Mempool, entry: MempoolEntry) -> dict[str, Any]:
    """What ``getmempoolentry`` says."""
    above = [pool.entries[txid] for txid in pool.ancestors(entry.transaction)] + [entry]
    below = [pool.entries[txid] for txid in pool.descendants(entry.txid)] + [entry]
    chunk = pool.clusters.chunk_of(entry.txid).total
    return {
        "vsize": entry.vsize,
        "weight": entry.transaction.weight,
        "time": entry.entered_unix_ms // 1000,
        "height": entry.height,
        "descendantcount": len(below),
        "descendantsize": sum(found.vsize for found in below),
        "ancestorcount": len(above),
        "ancestorsize": sum(found.vsize for found in above),
        "wtxid": str(entry.transaction.wtxid),
        "chunkweight": chunk.weight,
        "fees": {
            "base": btc(entry.fee_sat),
            "modified": btc(pool.modified_fee_sat(entry)),
            "ancestor": btc(sum(pool.modified_fee_sat(found) for found in above)),
            "descendant": btc(sum(pool.modified_fee_sat(found) for found in below)),
            "chunk": btc(chunk.fee_sat),
        },
        "depends": sorted(str(txid) for txid in pool.parents(entry.transaction)),
        "spentby": sorted(str(txid) for txid in pool.children(entry.txid)),
        "bip125-replaceable": any(signals_replacement(found) for found in above),
        "unbroadcast": True,  # there are no peers who could have asked for it
    }


def signals_replacement(entry: MempoolEntry) -> bool:
    """Whether a transaction itself says that it may be replaced (BIP125)."""
    return any(tx_input.sequence <= MAX_SEQUENCE_RBF for tx_input in entry.transaction.inputs)


def describe_cluster(pool: Mempool, txid: Txid) -> dict[str, Any]:
    """What ``getmempoolcluster`` says."""
    chunks = pool.clusters.chunks(pool.clusters.cluster(txid))
    return {
        "clusterweight": sum(chunk.total.weight for chunk in chunks),
        "txcount": sum(len(chunk.members) for chunk in chunks),
        "chunks": [
            {
                "chunkfee": btc(chunk.total.fee_sat),
                "chunkweight": chunk.total.weight,
                "txs": [str(member) for member in chunk.members],
            }
            for chunk in chunks
        ],
    }
