"""What can be counted in one block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.mining import block_subsidy_sat
from anya_actors.domain.bitcoin.script import is_unspendable
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE, Transaction, TxOutput
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, parse_hash, parse_integer, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.blocks import spent_by_place

_COIN_OVERHEAD: Final = 36 + 4 + 1
"""What a coin takes beside its output: its outpoint, its height, whether a coinbase made it."""


@dataclass(slots=True)
class _Counts:
    """Sums over a block; the lists leave the coinbase out."""

    outputs: int = 0
    inputs: int = 0
    coins: int = 0
    size_change: int = 0
    actual_size_change: int = 0
    total_out_sat: int = 0
    witness_transactions: int = 0
    witness_size: int = 0
    witness_weight: int = 0
    sizes: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    fees_sat: list[int] = field(default_factory=list)
    rates: list[int] = field(default_factory=list)


def _coin_size(output: TxOutput) -> int:
    return len(output.serialize()) + _COIN_OVERHEAD


def _count_outputs(counts: _Counts, transaction: Transaction, *, enter_set: bool) -> None:
    counts.outputs += len(transaction.outputs)
    for output in transaction.outputs:
        counts.size_change += _coin_size(output)
        if enter_set and not is_unspendable(output.script_pubkey):
            counts.coins += 1
            counts.actual_size_change += _coin_size(output)


def _count_payment(counts: _Counts, transaction: Transaction, spent: Sequence[Coin]) -> None:
    size, weight = len(transaction.serialize()), transaction.weight
    paid_sat = sum(output.amount_sat for output in transaction.outputs)
    fee_sat = sum(coin.amount_sat for coin in spent) - paid_sat
    counts.inputs += len(transaction.inputs)
    counts.total_out_sat += paid_sat
    counts.sizes.append(size)
    counts.weights.append(weight)
    counts.fees_sat.append(fee_sat)
    counts.rates.append(fee_sat * WITNESS_SCALE // weight)
    if transaction.has_witness:
        counts.witness_transactions += 1
        counts.witness_size += size
        counts.witness_weight += weight
    freed = sum(_coin_size(coin.output) for coin in spent)
    counts.size_change -= freed
    counts.actual_size_change -= freed


def _median(values: Sequence[int]) -> int:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if not ordered:
        return 0
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def _percentiles(rates: Sequence[int], weights: Sequence[int]) -> list[int]:
    """The fee rates at 10, 25, 50, 75 and 90 percent of the weight, the cheapest first."""
    if not rates:
        return [0] * 5
    total, passed = sum(weights), 0
    found: list[int] = []
    marks = (10, 25, 50, 75, 90)
    for rate, weight in sorted(zip(rates, weights, strict=True)):
        passed += weight
        while len(found) < len(marks) and passed * 100 >= total * marks[len(found)]:
            found.append(rate)
    return found


def _statistics(node: BlockNode, block: Block, spent: Sequence[Sequence[Coin] | None]) -> dict[str, Any]:
    counts = _Counts()
    for transaction, coins in zip(block.transactions, spent, strict=True):
        _count_outputs(counts, transaction, enter_set=node.height > 0)
        if coins is not None:
            _count_payment(counts, transaction, coins)
    payments = len(counts.sizes) or 1
    weight, fee_sat = sum(counts.weights), sum(counts.fees_sat)
    return {
        "avgfee": fee_sat // payments,
        "avgfeerate": fee_sat * WITNESS_SCALE // weight if weight else 0,
        "avgtxsize": sum(counts.sizes) // payments,
        "blockhash": str(node.hash),
        "feerate_percentiles": _percentiles(counts.rates, counts.weights),
        "height": node.height,
        "ins": counts.inputs,
        "maxfee": max(counts.fees_sat, default=0),
        "maxfeerate": max(counts.rates, default=0),
        "maxtxsize": max(counts.sizes, default=0),
        "medianfee": _median(counts.fees_sat),
        "mediantime": node.median_time_past_s(),
        "mediantxsize": _median(counts.sizes),
        "minfee": min(counts.fees_sat, default=0),
        "minfeerate": min(counts.rates, default=0),
        "mintxsize": min(counts.sizes, default=0),
        "outs": counts.outputs,
        "subsidy": block_subsidy_sat(node.height, NETWORK),
        "swtotal_size": counts.witness_size,
        "swtotal_weight": counts.witness_weight,
        "swtxs": counts.witness_transactions,
        "time": node.header.time_s,
        "total_out": counts.total_out_sat,
        "total_size": sum(counts.sizes),
        "total_weight": weight,
        "totalfee": fee_sat,
        "txs": len(block.transactions),
        "utxo_increase": counts.outputs - counts.inputs,
        "utxo_size_inc": counts.size_change,
        "utxo_increase_actual": counts.coins - counts.inputs,
        "utxo_size_inc_actual": counts.actual_size_change,
    }


def _named_block(context: RpcContext, value: Any) -> BlockNode:
    """A block by height or by hash."""
    tree = context.node.chain.tree
    if not isinstance(value, str):
        height = parse_integer(value)
        if height < 0:
            text = f"Target block height {height} is negative"
            raise RpcError(RpcCode.INVALID_PARAMETER, text)
        if height > tree.tip.height:
            text = f"Target block height {height} after current tip {tree.tip.height}"
            raise RpcError(RpcCode.INVALID_PARAMETER, text)
        return tree.active[height]
    node = tree.nodes.get(parse_hash(value, "hash_or_height", BlockHash))
    if node is None:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Block not found")
    return node


async def getblockstats(context: RpcContext, arguments: Arguments) -> Any:
    """Statistics of one block: fees, sizes and how the set of coins changed. Amounts are satoshis."""
    node = _named_block(context, arguments.raw("hash_or_height"))
    spent = await spent_by_place(context, node) if node.parent is not None else [None]
    if spent is None:
        raise RpcError(RpcCode.MISC_ERROR, "Can't read undo data from disk")
    found = _statistics(node, await context.node.chain.read_block(node), spent)
    wanted = [require(name, str) for name in arguments.items("stats")]
    for name in wanted:
        if name not in found:
            raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid selected statistic '{name}'")
    return {name: value for name, value in found.items() if name in wanted} if wanted else found


METHODS: Final[dict[str, Method]] = dict([method(getblockstats, "hash_or_height", "stats:array", required=1)])
