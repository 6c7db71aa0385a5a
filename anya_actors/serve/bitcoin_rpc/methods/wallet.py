"""Wallets: making, loading, describing them, and what they hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from anya_actors.domain.bitcoin.descriptors import DerivationError
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, parse_integer, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.wallet_encryption import passphrase_of
from anya_actors.serve.bitcoin_rpc.scripts import parse_range, read_descriptor
from anya_actors.serve.bitcoin_rpc.wallets import find_wallet, last_processed, verify_name
from anya_actors.services.bitcoin_node.wallets.keys import LOOKAHEAD, AddressKind
from anya_actors.services.bitcoin_node.wallets.records import WalletDescriptorAdded
from anya_actors.services.bitcoin_node.wallets.sealing import HardenedRangeError
from anya_actors.services.bitcoin_node.wallets.wallet import Fund, Wallet

_VERSION: Final = 169900
_DEFAULT_RANGE: Final = (0, 999)
_NOTHING_TO_ENCRYPT: Final = (
    "Passphrase provided but private keys are disabled. A passphrase is only used to encrypt private keys, "
    "so cannot be used for wallets with private keys disabled."
)
_NOT_ENCRYPTED: Final = "Empty string given as passphrase, wallet will not be encrypted."
_ACTIVE_KINDS: Final = {
    "pkh(": AddressKind.LEGACY,
    "sh(": AddressKind.P2SH_SEGWIT,
    "wpkh(": AddressKind.BECH32,
    "wsh(": AddressKind.BECH32,
    "tr(": AddressKind.BECH32M,
}


async def createwallet(context: RpcContext, arguments: Arguments) -> Any:
    """A new wallet with its own keys: in the clear, or sealed under a passphrase if one is given."""
    name, passphrase = arguments.text("wallet_name"), arguments.text("passphrase")
    if arguments.flag("avoid_reuse", False):
        text = "Wallets that avoid the reuse of addresses are not supported by this node"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    if not arguments.flag("descriptors", True):
        text = (
            'descriptors argument must be set to "true"; it is no longer possible to create a legacy wallet.'
        )
        raise RpcError(RpcCode.WALLET_ERROR, text)
    if arguments.flag("external_signer", False):
        text = "Compiled without external signing support (required for external signing)"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    verify_name(name)
    private, blank = not arguments.flag("disable_private_keys", False), arguments.flag("blank", False)
    if passphrase and not private:
        raise RpcError(RpcCode.WALLET_ERROR, _NOTHING_TO_ENCRYPT)
    wallets = context.node.wallets

    def verify_free() -> None:
        if name in wallets.all:
            text = f"Failed to create database path '{name}'. Database already exists."
            raise RpcError(RpcCode.WALLET_ALREADY_EXISTS, f"Wallet file verification failed. {text}")

    async def create() -> Wallet:
        verify_free()
        return await wallets.create(name, private_keys=private, blank=blank)

    if passphrase:
        with passphrase_of(passphrase) as secret:
            await context.node.locks.create(name, secret, blank=blank, verify_free=verify_free)
    else:
        await context.node.in_turn(create)
    warnings = [_NOT_ENCRYPTED] if arguments.has("passphrase") and not passphrase else []
    return {"name": name, "warnings": warnings} if warnings else {"name": name}


async def loadwallet(context: RpcContext, arguments: Arguments) -> Any:
    """Load a wallet that was made before."""
    name = arguments.text("filename")
    wallets = context.node.wallets
    wallet = wallets.all.get(name)
    if wallet is None:
        text = f"Wallet file verification failed. Failed to load database path '{name}'. Path does not exist."
        raise RpcError(RpcCode.WALLET_NOT_FOUND, text)
    if wallet.is_loaded:
        text = f'Wallet "{name}" is already loaded.'
        raise RpcError(RpcCode.WALLET_ALREADY_LOADED, text)
    await context.node.in_turn(lambda: wallets.set_loaded(wallet, is_loaded=True))
    return {"name": name}


async def unloadwallet(context: RpcContext, arguments: Arguments) -> Any:
    """Unload a wallet: of the request's path, or of this name."""
    name = arguments.text("wallet_name") if arguments.has("wallet_name") else context.wallet
    if name is None:
        text = "Either the RPC endpoint wallet or the wallet name parameter must be provided"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    if context.wallet is not None and name != context.wallet:
        text = "The RPC endpoint wallet and the wallet name parameter specify different wallets"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    wallets = context.node.wallets
    wallet = wallets.loaded.get(name)
    if wallet is None:
        text = "Requested wallet does not exist or is not loaded"
        raise RpcError(RpcCode.WALLET_NOT_FOUND, text)
    await context.node.in_turn(lambda: wallets.set_loaded(wallet, is_loaded=False))
    return {}


async def listwallets(context: RpcContext, _: Arguments) -> Any:
    """The names of the loaded wallets."""
    return list(context.node.wallets.loaded)


async def listwalletdir(context: RpcContext, _: Arguments) -> Any:
    """The names of all wallets, loaded or not."""
    return {"wallets": [{"name": name, "warnings": []} for name in context.node.wallets.all]}


def total(funds: Iterable[Fund]) -> int:
    """What these are worth together, in satoshis."""
    return sum(fund.amount_sat for fund in funds)


async def getwalletinfo(context: RpcContext, _: Arguments) -> Any:
    """What a wallet is."""
    wallet = await find_wallet(context)
    history, funds = await context.node.wallets.histories.of(wallet), wallet.funds()
    external = any(own.is_active and not own.is_internal for own in wallet.descriptors)
    internal = any(own.is_active and own.is_internal for own in wallet.descriptors)
    flags = ["descriptor_wallet", "last_hardened_xpub_cached"]
    if not wallet.has_private_keys:
        flags.append("disable_private_keys")
    unlocked = {"unlocked_until": wallet.unlocked_until_s} if wallet.encryption is not None else {}
    return {
        "walletname": wallet.name,
        "walletversion": _VERSION,
        "format": "sqlite",
        "balance": btc(total(_trusted(wallet))),
        "unconfirmed_balance": btc(total(fund for fund in funds if not fund.is_trusted)),
        "immature_balance": btc(total(fund for fund in funds if not fund.is_mature)),
        "txcount": len(history),
        "keypoolsize": LOOKAHEAD * len(AddressKind) if external else 0,
        "keypoolsize_hd_internal": LOOKAHEAD * len(AddressKind) if internal else 0,
        **unlocked,
        "private_keys_enabled": wallet.has_private_keys,
        "avoid_reuse": False,
        "scanning": False,
        "descriptors": True,
        "external_signer": False,
        "blank": not wallet.descriptors,
        "birthtime": wallet.made_unix_s,
        "flags": flags,
        "lastprocessedblock": last_processed(context),
    }


async def getbalance(context: RpcContext, arguments: Arguments) -> Any:
    """What a wallet can spend, its own change included before it is confirmed."""
    if arguments.text("dummy", "*") != "*":
        text = 'dummy first argument must be excluded or set to "*".'
        raise RpcError(RpcCode.METHOD_DEPRECATED, text)
    wallet, least = await find_wallet(context), arguments.integer("minconf", 0)
    return btc(total(fund for fund in _trusted(wallet) if fund.confirmations >= least))


def _trusted(wallet: Wallet) -> list[Fund]:
    return [fund for fund in wallet.funds() if fund.is_mature and fund.is_trusted]


async def getbalances(context: RpcContext, _: Arguments) -> Any:
    """What a wallet has: sure, waiting for confirmation, and not yet mature."""
    wallet = await find_wallet(context)
    funds = wallet.funds()
    mine = {
        "trusted": btc(total(_trusted(wallet))),
        "untrusted_pending": btc(total(fund for fund in funds if not fund.is_trusted)),
        "immature": btc(total(fund for fund in funds if not fund.is_mature)),
    }
    return {"mine": mine, "lastprocessedblock": last_processed(context)}


async def listdescriptors(context: RpcContext, arguments: Arguments) -> Any:
    """The descriptors of a wallet; with their private keys if asked for."""
    wallet, private = await find_wallet(context), arguments.flag("private", False)
    if private and not wallet.has_private_keys:
        text = "Can't get private descriptor string for watch-only wallets"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    if private:
        wallet.verify_unlocked()
    found = []
    for own in wallet.descriptors:
        text = own.descriptor.private_text(own.parsed.private_keys) if private else str(own.public)
        facts: dict[str, Any] = {"desc": text, "timestamp": own.since_unix_s, "active": own.is_active}
        if own.is_active:
            facts["internal"] = own.is_internal
        if own.descriptor.is_ranged:
            facts |= {"range": [own.first, own.last], "next": own.next_index, "next_index": own.next_index}
        found.append(facts)
    found.sort(key=lambda facts: str(facts["desc"]))
    return {"wallet_name": wallet.name, "descriptors": found}


async def importdescriptors(context: RpcContext, arguments: Arguments) -> Any:
    """Let a wallet watch, and with their private keys spend, what these descriptors give."""
    wallet = await find_wallet(context)
    wallet.verify_unlocked()
    results = []
    for item in arguments.items("requests"):
        request = Arguments(require(item, dict))
        try:
            record = _import_record(context, wallet, request)
            await context.node.in_turn(lambda record=record: context.node.wallets.keep(record))  # type: ignore[misc]
        except (RpcError, HardenedRangeError) as error:
            code, text = (error.rpc_code, error.text) if isinstance(error, RpcError) else (-4, str(error))
            failure = {"code": code, "message": text}
            results.append({"success": False, "error": failure})
        else:
            results.append({"success": True})
    return results


def _import_record(context: RpcContext, wallet: Wallet, request: Arguments) -> WalletDescriptorAdded:
    if not request.has("desc"):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Descriptor not found.")
    text = request.text("desc")
    found = read_descriptor(text, require_checksum=True)
    since_s = _timestamp(context, request.raw("timestamp"))
    first = found.descriptors[0]
    active, internal = request.flag("active", False), request.flag("internal", False)
    if request.has("range") and not first.is_ranged:
        words = "Range should not be specified for an un-ranged descriptor"
        raise RpcError(RpcCode.INVALID_PARAMETER, words)
    bounds = parse_range(request.raw("range")) if request.has("range") else _DEFAULT_RANGE
    low, high = bounds if first.is_ranged else (0, 0)
    _verify_import(wallet, request, has_private_keys=found.has_private_keys, active=active)
    if active and not first.is_ranged:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Active descriptors must be ranged")
    if request.has("label") and (internal or first.is_ranged):
        what = "Internal addresses" if internal else "Ranged descriptors"
        raise RpcError(RpcCode.INVALID_PARAMETER, f"{what} should not have a label")
    try:
        first.expand(low, found.private_keys)
    except DerivationError as error:
        words = (
            "Cannot expand descriptor. Probably because of hardened derivations without private keys provided"
        )
        raise RpcError(RpcCode.WALLET_ERROR, words) from error
    kind = _active_kind(text) if active else None
    label = request.text("label") if request.has("label") else None
    next_index = request.integer("next_index", low)
    return WalletDescriptorAdded(
        wallet.name, text, low, high, next_index, since_s, kind and kind.value, internal, label
    )


def _verify_import(wallet: Wallet, request: Arguments, *, has_private_keys: bool, active: bool) -> None:
    if not wallet.has_private_keys and has_private_keys:
        text = "Cannot import private keys to a wallet with private keys disabled"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    if wallet.has_private_keys and not has_private_keys:
        text = "Cannot import descriptor without private keys to a wallet with private keys enabled"
        raise RpcError(RpcCode.WALLET_ERROR, text)
    if active and request.text("desc").startswith("combo("):
        raise RpcError(RpcCode.WALLET_ERROR, "Combo descriptors cannot be set to active")


def _active_kind(text: str) -> AddressKind:
    kind = next((kind for start, kind in _ACTIVE_KINDS.items() if text.startswith(start)), None)
    if kind is None:
        words = "This kind of descriptor gives no addresses of a known type"
        raise RpcError(RpcCode.WALLET_ERROR, words)
    return kind


def _timestamp(context: RpcContext, value: Any) -> int:
    if value == "now":
        return context.clock.now_unix_ms() // 1000
    if value is None or isinstance(value, str | bool | list | dict):
        text = (
            "Missing required timestamp field for key"
            if value is None
            else ('Expected number or "now" timestamp value for key. got type string')
        )
        raise RpcError(RpcCode.TYPE_ERROR, text)
    return max(1, parse_integer(value, range(1 << 63)))


async def rescanblockchain(context: RpcContext, arguments: Arguments) -> Any:
    """The node's indexes hold every script's history: there is nothing to scan for."""
    (await find_wallet(context)).verify_unlocked()
    height = context.node.chain.tip.height
    first, last = arguments.integer("start_height", 0), arguments.integer("stop_height", height)
    if not 0 <= first <= height:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid start_height")
    if not 0 <= last <= height:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid stop_height")
    if last < first:
        text = "stop_height must be greater than start_height"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    return {"start_height": first, "stop_height": last}


async def keypoolrefill(context: RpcContext, arguments: Arguments) -> Any:
    """Keys are always derived some way ahead: there is no pool to fill. Refused for a locked wallet."""
    wallet = await find_wallet(context)
    if arguments.integer("newsize", 0) < 0:
        text = "Invalid parameter, expected valid size."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    wallet.verify_unlocked()


METHODS: Final[dict[str, Method]] = dict(
    [
        method(
            createwallet,
            "wallet_name:string",
            "disable_private_keys:bool",
            "blank:bool",
            "passphrase:string",
            "avoid_reuse:bool",
            "descriptors:bool",
            "load_on_startup:bool",
            "external_signer:bool",
            required=1,
        ),
        method(loadwallet, "filename:string", "load_on_startup:bool", required=1),
        method(unloadwallet, "wallet_name:string", "load_on_startup:bool"),
        method(listwallets),
        method(listwalletdir),
        method(getwalletinfo),
        method(getbalance, "dummy:string", "minconf:number", "include_watchonly:bool", "avoid_reuse:bool"),
        method(getbalances),
        method(listdescriptors, "private:bool"),
        method(importdescriptors, "requests:array", required=1),
        method(rescanblockchain, "start_height:number", "stop_height:number"),
        method(keypoolrefill, "newsize:number"),
    ]
)
