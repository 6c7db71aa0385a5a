"""Templates and proposals of blocks (BIP22, BIP23, BIP9, BIP145)."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block import (
    MAX_BLOCK_WEIGHT,
    REGTEST_BITS,
    target_of,
    witness_commitment_script,
)
from anya_actors.domain.bitcoin.deployments import TESTDUMMY, Status, signalling_of
from anya_actors.domain.bitcoin.errors import RejectedBlockError
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.mempool import MempoolEntry
from anya_actors.domain.bitcoin.mining import BLOCK_VERSION, block_subsidy_sat
from anya_actors.domain.bitcoin.sigops import MAX_BLOCK_SIGOPS_COST
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, parse_hash, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.mining import parse_block_argument
from anya_actors.serve.bitcoin_rpc.methods.tip_waits import wait_until

_LONG_POLL_S: Final = 60.0
"""So long a long poll waits for a new tip before waiting transactions count too, as in Core."""


async def getblocktemplate(context: RpcContext, arguments: Arguments) -> Any:
    """What a miner needs for the next block; with mode "proposal", the judgement on a block of his."""
    request = arguments.options("template_request")
    mode = request.raw("mode")
    if mode is not None and not isinstance(mode, str):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid mode")
    if mode == "proposal":
        return await _judge_proposal(context, request)
    if mode not in (None, "template"):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid mode")
    rules = {require(rule, str) for rule in request.items("rules")}
    if isinstance(request.raw("longpollid"), str):
        await _await_news(context, request.text("longpollid"))
    if "segwit" not in rules:
        text = 'getblocktemplate must be called with the segwit rule set (call with {"rules": ["segwit"]})'
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    return _template(context)


async def _judge_proposal(context: RpcContext, request: Arguments) -> Any:
    if not isinstance(request.raw("data"), str):
        raise RpcError(RpcCode.TYPE_ERROR, "Missing data String key for proposal")
    block = parse_block_argument(request.text("data"))
    tree = context.node.chain.tree
    known = tree.nodes.get(block.hash)
    if known is not None:
        if tree.is_invalidated(known):
            return "duplicate-invalid"
        return "duplicate" if known.was_active else "duplicate-inconclusive"
    try:
        await context.node.verify_proposal(block)
    except RejectedBlockError as error:
        return error.reason.partition(",")[0]
    return None


async def _await_news(context: RpcContext, long_poll_id: str) -> None:
    """Wait for another tip than the id names, or, after a while, for other waiting transactions."""
    node = context.node
    tip = parse_hash(long_poll_id[:64], "longpollid", BlockHash)
    seen = long_poll_id[64:]
    await wait_until(context, lambda: node.chain.tip.hash != tip, _LONG_POLL_S)
    await wait_until(
        context, lambda: node.chain.tip.hash != tip or str(node.pool.sequence) != seen, timeout_s=None
    )


def _template(context: RpcContext) -> dict[str, Any]:
    node = context.node
    tip = node.chain.tip
    height = tip.height + 1
    chosen = node.miner.choose()
    fees_sat = sum(entry.fee_sat for entry in chosen)
    signalling = signalling_of(tip, TESTDUMMY)
    coinbase = Transaction(1, (), ())  # the commitment leaves the coinbase's own witness out
    commitment = witness_commitment_script([coinbase, *(entry.transaction for entry in chosen)])
    return {
        "capabilities": ["proposal"],
        "version": BLOCK_VERSION,
        "rules": ["csv", "!segwit", "taproot"],
        "vbavailable": {"testdummy": TESTDUMMY.bit} if signalling.next_status is Status.STARTED else {},
        "vbrequired": 0,
        "previousblockhash": str(tip.hash),
        "transactions": _describe_chosen(chosen),
        "coinbaseaux": {},
        "coinbasevalue": block_subsidy_sat(height, NETWORK) + fees_sat,
        "longpollid": f"{tip.hash}{node.pool.sequence}",
        "target": f"{target_of(REGTEST_BITS):064x}",
        "mintime": tip.median_time_past_s() + 1,
        "mutable": ["time", "transactions", "prevblock"],
        "noncerange": "00000000ffffffff",
        "sigoplimit": MAX_BLOCK_SIGOPS_COST,
        "sizelimit": MAX_BLOCK_WEIGHT,
        "weightlimit": MAX_BLOCK_WEIGHT,
        "curtime": node.miner.next_time_s(),
        "bits": f"{REGTEST_BITS:08x}",
        "height": height,
        "default_witness_commitment": commitment.hex(),
    }


def _describe_chosen(chosen: list[MempoolEntry]) -> list[dict[str, Any]]:
    places = {entry.txid: place for place, entry in enumerate(chosen, start=1)}
    return [
        {
            "data": entry.transaction.serialize().hex(),
            "txid": str(entry.txid),
            "hash": str(entry.transaction.wtxid),
            "depends": sorted(
                {
                    places[tx_input.prevout.txid]
                    for tx_input in entry.transaction.inputs
                    if tx_input.prevout.txid in places
                }
            ),
            "fee": entry.fee_sat,
            "sigops": entry.sigops_cost,
            "weight": entry.transaction.weight,
        }
        for entry in chosen
    ]


METHODS: Final[dict[str, Method]] = dict([method(getblocktemplate, "template_request:object")])
