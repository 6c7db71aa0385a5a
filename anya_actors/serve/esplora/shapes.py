"""What Esplora says of transactions, outputs and blocks: its names, types and order of fields."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.block import Block, difficulty_of
from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.mempool import MempoolEntry
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Outpoint, TxInput, TxOutput
from anya_actors.serve.esplora.script_text import redeem_script, script_type, script_words, witness_script
from anya_actors.services.bitcoin_node.lookups import ScriptTotals, SeenTransaction, Spender

NETWORK: Final = Network.REGTEST


def describe_status(tree: BlockTree, node: BlockNode | None) -> dict[str, Any]:
    """Whether something is confirmed, and where. What only a stale block holds is not."""
    if node is None or not tree.is_active(node):
        return {"confirmed": False}
    return {
        "confirmed": True,
        "block_height": node.height,
        "block_hash": str(node.hash),
        "block_time": node.header.time_s,
    }


def describe_output(output: TxOutput) -> dict[str, Any]:
    """One item of ``vout``, or a ``prevout``."""
    script = output.script_pubkey
    facts: dict[str, Any] = {
        "scriptpubkey": script.hex(),
        "scriptpubkey_asm": script_words(script),
        "scriptpubkey_type": script_type(script),
    }
    address = encode_address(script, NETWORK)
    if address is not None:
        facts["scriptpubkey_address"] = address
    facts["value"] = output.amount_sat
    return facts


def _describe_input(tx_input: TxInput, spent: TxOutput | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "txid": str(tx_input.prevout.txid),
        "vout": tx_input.prevout.index,
        "prevout": None if spent is None else describe_output(spent),
        "scriptsig": tx_input.script_sig.hex(),
        "scriptsig_asm": script_words(tx_input.script_sig),
    }
    if tx_input.witness:
        facts["witness"] = [item.hex() for item in tx_input.witness]
    facts["is_coinbase"] = tx_input.prevout.is_null
    facts["sequence"] = tx_input.sequence
    if spent is not None:
        redeem = redeem_script(tx_input, spent.script_pubkey)
        if redeem is not None:
            facts["inner_redeemscript_asm"] = script_words(redeem)
        inner = witness_script(tx_input, redeem or spent.script_pubkey)
        if inner is not None:
            facts["inner_witnessscript_asm"] = script_words(inner)
    return facts


def describe_transaction(seen: SeenTransaction, fee_sat: int) -> dict[str, Any]:
    """A whole transaction but for its status, which is its last field."""
    transaction = seen.transaction
    pairs = zip(transaction.inputs, seen.spent, strict=True)
    return {
        "txid": str(transaction.txid),
        "version": transaction.version & 0xFFFFFFFF,
        "locktime": transaction.lock_time,
        "vin": [_describe_input(tx_input, spent) for tx_input, spent in pairs],
        "vout": [describe_output(output) for output in transaction.outputs],
        "size": len(transaction.serialize()),
        "weight": transaction.weight,
        "fee": fee_sat,
    }


def describe_spender(tree: BlockTree, spender: Spender | None) -> dict[str, Any]:
    """Whether an output is spent, and by what."""
    if spender is None:
        return {"spent": False}
    return {
        "spent": True,
        "txid": str(spender.txid),
        "vin": spender.input_index,
        "status": describe_status(tree, spender.node),
    }


def describe_unspent(
    tree: BlockTree, outpoint: Outpoint, output: TxOutput, node: BlockNode | None
) -> dict[str, Any]:
    """One item of ``utxo``."""
    return {
        "txid": str(outpoint.txid),
        "vout": outpoint.index,
        "status": describe_status(tree, node),
        "value": output.amount_sat,
    }


def describe_totals(totals: ScriptTotals) -> dict[str, int]:
    """``chain_stats`` and ``mempool_stats``."""
    return {
        "funded_txo_count": totals.funded,
        "funded_txo_sum": totals.funded_sat,
        "spent_txo_count": totals.spent,
        "spent_txo_sum": totals.spent_sat,
        "tx_count": totals.transactions,
    }


def describe_block(node: BlockNode, block: Block) -> dict[str, Any]:
    """A block without its transactions."""
    header = node.header
    return {
        "id": str(node.hash),
        "height": node.height,
        "version": header.version & 0xFFFFFFFF,
        "timestamp": header.time_s,
        "tx_count": node.transactions,
        "size": block.size,
        "weight": block.weight,
        "merkle_root": header.merkle_root[::-1].hex(),
        "previousblockhash": None if node.parent is None else str(node.parent.hash),
        "mediantime": node.median_time_past_s(),
        "nonce": header.nonce,
        "bits": header.bits,
        "difficulty": difficulty_of(header.bits),
    }


def describe_block_status(tree: BlockTree, node: BlockNode | None) -> dict[str, Any]:
    """Whether a block is on the active branch."""
    if node is None or not tree.is_active(node):
        return {"in_best_chain": False, "height": None, "next_best": None}
    child = tree.child_on_active(node)
    return {
        "in_best_chain": True,
        "height": node.height,
        "next_best": None if child is None else str(child.hash),
    }


def describe_recent(entry: MempoolEntry, spent_sat: int) -> dict[str, Any]:
    """One item of ``/mempool/recent``; ``value`` is what the transaction spends."""
    return {"txid": str(entry.txid), "fee": entry.fee_sat, "vsize": entry.vsize, "value": spent_sat}
