"""The node's own regtest wallet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.descriptor import describe_script
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, btc
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.services.bitcoin_node.wallet import FALLBACK_FEERATE_SAT_PER_KVB, Funds
from anya_actors.services.bitcoin_node.wallet_keys import AddressKind

_MOST_CONFIRMATIONS: Final = 9_999_999


async def getnewaddress(context: RpcContext, arguments: Arguments) -> Any:
    name = arguments.text("address_type", AddressKind.BECH32.value)
    try:
        kind = AddressKind(name)
    except ValueError:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Unknown address type '{name}'") from None
    key = await context.node.new_address_key(kind, arguments.text("label"))
    return encode_address(key.script_pubkey, NETWORK)


def _total(funds: Iterable[Funds]) -> int:
    return sum(item.coin.amount_sat for item in funds)


async def getbalance(context: RpcContext, arguments: Arguments) -> Any:
    if arguments.text("dummy", "*") != "*":
        text = 'dummy first argument must be excluded or set to "*".'
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    least = arguments.integer("minconf", 0)
    return btc(_total(item for item in context.node.wallet.spendable() if item.confirmations >= least))


async def listunspent(context: RpcContext, arguments: Arguments) -> Any:
    least, most = arguments.integer("minconf", 1), arguments.integer("maxconf", _MOST_CONFIRMATIONS)
    wanted = set(arguments.items("addresses"))
    spendable = {item.outpoint for item in context.node.wallet.spendable()}
    found = []
    for item in context.node.wallet.funds():
        script = item.coin.script_pubkey
        address = encode_address(script, NETWORK)
        if (
            not item.is_mature
            or not least <= item.confirmations <= most
            or (wanted and address not in wanted)
        ):
            continue
        found.append(
            {
                "txid": str(item.outpoint.txid),
                "vout": item.outpoint.index,
                "address": address,
                "label": item.key.label,
                "scriptPubKey": script.hex(),
                "amount": btc(item.coin.amount_sat),
                "confirmations": item.confirmations,
                "spendable": True,
                "solvable": True,
                "desc": describe_script(script, NETWORK),
                "parent_descs": [],
                "safe": item.outpoint in spendable,
            }
        )
    return found


async def getwalletinfo(context: RpcContext, _: Arguments) -> Any:
    wallet = context.node.wallet
    funds, spendable = wallet.funds(), wallet.spendable()
    sure = {item.outpoint for item in spendable}
    pending = [item for item in funds if not item.confirmations and item.outpoint not in sure]
    return {
        "walletname": "",
        "walletversion": 169900,
        "format": "sqlite",
        "balance": btc(_total(spendable)),
        "unconfirmed_balance": btc(_total(pending)),
        "immature_balance": btc(_total(item for item in funds if not item.is_mature)),
        "txcount": len({item.outpoint.txid for item in funds}),
        "keypoolsize": 1,
        "keypoolsize_hd_internal": 1,
        "paytxfee": btc(0),
        "private_keys_enabled": True,
        "avoid_reuse": False,
        "scanning": False,
        "descriptors": True,
        "external_signer": False,
        "blank": False,
    }


async def listwallets(_: RpcContext, __: Arguments) -> Any:
    return [""]


async def sendtoaddress(context: RpcContext, arguments: Arguments) -> Any:
    script = arguments.script_of_address("address", NETWORK, "Invalid Bitcoin address")
    amount_sat = arguments.amount_sat("amount")
    if amount_sat <= 0:
        raise RpcError(RpcCode.TYPE_ERROR, "Invalid amount for send")
    txid = await context.node.pay(
        script,
        amount_sat,
        feerate_sat_per_kvb=_feerate_sat_per_kvb(arguments),
        fee_from_amount=arguments.flag("subtractfeefromamount", False),
    )
    return (
        {"txid": str(txid), "fee_reason": "Fallback fee"} if arguments.flag("verbose", False) else str(txid)
    )


def _feerate_sat_per_kvb(arguments: Arguments) -> int:
    """``fee_rate`` is in sat/vB: as an amount of bitcoins it is 10^5 times too great for sat/kvB."""
    if not arguments.has("fee_rate"):
        return FALLBACK_FEERATE_SAT_PER_KVB
    return arguments.amount_sat("fee_rate") * 1000 // COIN_SAT


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getnewaddress, "label", "address_type"),
        method(getbalance, "dummy", "minconf", "include_watchonly", "avoid_reuse"),
        method(listunspent, "minconf", "maxconf", "addresses", "include_unsafe", "query_options"),
        method(getwalletinfo),
        method(listwallets),
        method(
            sendtoaddress,
            "address",
            "amount",
            "comment",
            "comment_to",
            "subtractfeefromamount",
            "replaceable",
            "conf_target",
            "estimate_mode",
            "avoid_reuse",
            "fee_rate",
            "verbose",
            required=2,
        ),
    ]
)
