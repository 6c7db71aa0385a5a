"""Unspent outputs."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.descriptor import DescriptorError, describe_script, script_of_descriptor
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, btc, confirmations, describe_output_script
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError


async def gettxout(context: RpcContext, arguments: Arguments) -> Any:
    outpoint = Outpoint(arguments.hash("txid", Txid), arguments.integer("n"))
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
    action = arguments.text("action")
    if action in ("abort", "status"):
        return False if action == "abort" else None
    if action != "start":
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Invalid action '{action}'")
    if not arguments.has("scanobjects"):
        raise RpcError(RpcCode.MISC_ERROR, "scanobjects argument is required for the start action")
    scripts = {_scanned_script(item) for item in arguments.items("scanobjects")}
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


def _scanned_script(item: Any) -> bytes:
    text = item.get("desc") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Scan object needs to be either a string or an object")
    try:
        return script_of_descriptor(text, NETWORK)
    except DescriptorError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error)) from error


METHODS: Final[dict[str, Method]] = dict(
    [
        method(gettxout, "txid:string", "n:number", "include_mempool:bool", required=2),
        method(scantxoutset, "action:string", "scanobjects:array", required=1),
    ]
)
