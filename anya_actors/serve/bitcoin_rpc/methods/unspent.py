"""Unspent outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from btclib.muhash import MuHash3072

from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.descriptors.infer import describe_script
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.domain.bitcoin.wire import sha256d, u32
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, btc, confirmations, describe_output_script
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.scripts import scanned_scripts

_BOGO_SIZE: Final = 50
"""What Core counts for a coin beside its script (``GetBogoSize``)."""


async def gettxout(context: RpcContext, arguments: Arguments) -> Any:
    """An unspent output; null if it is spent or unknown."""
    outpoint = Outpoint(arguments.hash("txid", Txid), arguments.integer("n", within=range(1 << 32)))
    node = context.node
    coin = node.chain.index.coin(outpoint)
    tip = node.chain.tip
    facts: dict[str, Any] = {"bestblock": str(tip.hash)}
    if coin is not None:
        facts["confirmations"] = tip.height - coin.height + 1
        output, is_coinbase = coin.output, coin.is_coinbase
    if arguments.flag("include_mempool", True):
        waiting = node.pool.output(outpoint)
        if outpoint in node.pool.spends or (coin is None and waiting is None):
            return None
        if waiting is not None:
            facts["confirmations"] = 0
            output, is_coinbase = waiting, False
    elif coin is None:
        return None
    facts["value"] = btc(output.amount_sat)
    facts["scriptPubKey"] = describe_output_script(output.script_pubkey)
    facts["coinbase"] = is_coinbase
    return facts


async def scantxoutset(context: RpcContext, arguments: Arguments) -> Any:
    """The unspent outputs that pay to any of these descriptors."""
    action = arguments.text("action")
    if action in ("abort", "status"):
        return False if action == "abort" else None
    if action != "start":
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid action '{action}'")
    if not arguments.has("scanobjects"):
        raise RpcError(RpcCode.MISC_ERROR, "scanobjects argument is required for the start action")
    scripts = scanned_scripts(arguments.items("scanobjects"))
    chain = context.node.chain
    found = [item for script in sorted(scripts) for item in chain.index.unspent(scripthash(script))]
    return {
        "success": True,
        "txouts": chain.index.coin_count,
        "height": chain.tip.height,
        "bestblock": str(chain.tip.hash),
        "unspents": [
            {
                "txid": str(outpoint.txid),
                "vout": outpoint.index,
                "scriptPubKey": coin.script_pubkey.hex(),
                "desc": describe_script(coin.script_pubkey, NETWORK),
                "amount": btc(coin.amount_sat),
                "coinbase": coin.is_coinbase,
                "height": coin.height,
                "blockhash": str(chain.tree.active[coin.height].hash),
                "confirmations": confirmations(chain.tree, chain.tree.active[coin.height]),
            }
            for outpoint, coin in found
        ],
        "total_amount": btc(sum(coin.amount_sat for _, coin in found)),
    }


async def gettxoutsetinfo(context: RpcContext, arguments: Arguments) -> Any:
    """How many coins there are, what they are worth together, and a hash of them all."""
    kind = arguments.text("hash_type", "hash_serialized_3")
    if kind not in ("hash_serialized_3", "muhash", "none"):
        raise RpcError(RpcCode.INVALID_PARAMETER, f"'{kind}' is not a valid hash_type")
    if arguments.has("hash_or_height"):
        text = "Querying specific block heights requires coinstatsindex"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    chain = context.node.chain
    tip = chain.tip
    # The set as it is now: what comes while it is hashed in another thread changes nothing here.
    coins = list(chain.index.coins())
    total_sat = sum(coin.amount_sat for _, coin in coins)
    facts: dict[str, Any] = {
        "height": tip.height,
        "bestblock": str(tip.hash),
        "txouts": len(coins),
        "bogosize": sum(_BOGO_SIZE + len(coin.script_pubkey) for _, coin in coins),
    }
    if kind == "hash_serialized_3":
        facts[kind] = await asyncio.to_thread(_serialized_hash, coins)
    elif kind == "muhash":
        facts[kind] = await asyncio.to_thread(_muhash, coins)
    return facts | {
        "total_amount": btc(total_sat),
        "transactions": len({outpoint.txid for outpoint, _ in coins}),
        "disk_size": 0,  # the set is in memory, built from the journal's blocks
    }


def _serialized_coin(outpoint: Outpoint, coin: Coin) -> bytes:
    """A coin as both hashes take it (Core, ``kernel/coinstats.cpp``)."""
    origin = u32(coin.height << 1 | coin.is_coinbase)
    return outpoint.txid + u32(outpoint.index) + origin + coin.output.serialize()


def _serialized_hash(coins: Sequence[tuple[Outpoint, Coin]]) -> str:
    return sha256d(b"".join(_serialized_coin(*found) for found in coins))[::-1].hex()


def _muhash(coins: Sequence[tuple[Outpoint, Coin]]) -> str:
    muhash = MuHash3072()
    for found in coins:
        muhash.insert(_serialized_coin(*found))
    return bytes(muhash.digest_var)[::-1].hex()


METHODS: Final[dict[str, Method]] = dict(
    [
        method(gettxout, "txid:string", "n:number", "include_mempool:bool", required=2),
        method(gettxoutsetinfo, "hash_type:string", "hash_or_height", "use_index:bool"),
        method(scantxoutset, "action:string", "scanobjects:array", required=1),
    ]
)
