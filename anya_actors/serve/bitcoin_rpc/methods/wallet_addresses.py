"""Addresses of a wallet, their labels, and what they received."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.address_faults import explain_address
from anya_actors.domain.bitcoin.descriptors import with_checksum
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.script import ScriptType, classify, multisig_of
from anya_actors.domain.bitcoin.signed_message import legacy_digest, legacy_signature
from anya_actors.domain.keys.curve import sign_ecdsa
from anya_actors.domain.keys.key_origin import format_step
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, btc
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.util import describe_address
from anya_actors.serve.bitcoin_rpc.wallets import (
    find_wallet,
    own_address,
    own_script,
    parse_kind,
    parse_label,
    read_address,
)
from anya_actors.services.bitcoin_node.wallets.collection import NoKeysError
from anya_actors.services.bitcoin_node.wallets.history import WalletTransaction
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind, OwnScript
from anya_actors.services.bitcoin_node.wallets.records import WalletLabelled
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet


async def _new_address(context: RpcContext, arguments: Arguments, *, is_change: bool) -> str:
    wallet = await find_wallet(context)
    label = None if is_change else parse_label(arguments, "label")
    kind = parse_kind(arguments.text("address_type", AddressKind.BECH32.value))
    if not wallet.descriptors and wallet.next_script(kind, is_change=is_change) is None:
        raise RpcError(RpcCode.WALLET_ERROR, "Error: This wallet has no available keys")
    try:
        script = await context.node.in_turn(
            lambda: context.node.wallets.new_script(wallet, kind, is_change=is_change, label=label)
        )
    except NoKeysError as error:
        raise RpcError(RpcCode.WALLET_ERROR, "Error: This wallet has no available keys") from error
    return own_address(script.script_pubkey)


async def getnewaddress(context: RpcContext, arguments: Arguments) -> Any:
    """A fresh address to be paid to."""
    return await _new_address(context, arguments, is_change=False)


async def getrawchangeaddress(context: RpcContext, arguments: Arguments) -> Any:
    """A fresh address for change."""
    return await _new_address(context, arguments, is_change=True)


async def getaddressinfo(context: RpcContext, arguments: Arguments) -> Any:
    """What a wallet knows of an address."""
    wallet, text = await find_wallet(context), arguments.text("address")
    try:
        script = parse_address(text, NETWORK)
    except AddressError as error:
        fault = explain_address(text, NETWORK)
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, fault.text) from error
    own = wallet.scripts.get(script)
    facts: dict[str, Any] = {
        "address": encode_address(script, NETWORK),
        "scriptPubKey": script.hex(),
        "ismine": own is not None,
        "solvable": own is not None and own.source.descriptor.is_solvable,
    }
    if own is not None:
        facts["desc"] = inferred_descriptor(own)
        facts["parent_desc"] = str(own.source.public)
    facts["iswatchonly"] = False
    facts |= describe_address(script)
    if own is not None:
        facts |= _keys(own)
    facts["ischange"] = own is not None and own.is_change and script not in wallet.labels
    if own is not None:
        facts["timestamp"] = own.source.since_unix_s
    facts["labels"] = [wallet.labels[script]] if script in wallet.labels else []
    return facts


def _keys(own: OwnScript) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    plan = own.plan
    inner = plan.witness_script or plan.redeem_script
    multisig = multisig_of(inner) if inner else None
    if inner is not None:
        facts |= {"script": classify(inner).value, "hex": inner.hex()}
        if multisig is not None:
            facts |= {"pubkeys": [key.hex() for key in multisig[1]], "sigsrequired": multisig[0]}
    if len(plan.keys) == 1:
        (key,) = plan.keys
        if classify(own.script_pubkey) is not ScriptType.WITNESS_V1_TAPROOT:
            facts |= {"pubkey": key.public_key.hex(), "iscompressed": len(key.public_key) == 33}
        path = "/".join(["m", *(format_step(step) for step in key.origin.path)])
        facts |= {"hdkeypath": path, "hdseedid": "0" * 40}
        facts["hdmasterfingerprint"] = key.origin.fingerprint.hex()
    return facts


def inferred_descriptor(own: OwnScript) -> str:
    """The descriptor of one script, every key with its origin."""
    text = str(own.source.public).partition("#")[0]
    if not own.source.descriptor.is_ranged:
        return with_checksum(text)
    expanded = text
    for expression, key in zip(own.source.public.keys, own.plan.keys, strict=False):
        steps = "".join(f"/{format_step(step)}" for step in key.origin.path)
        taproot = own.plan.taproot is not None
        shown = key.x_only.hex() if taproot else key.public_key.hex()
        expanded = expanded.replace(str(expression), f"[{key.origin.fingerprint.hex()}{steps}]{shown}", 1)
    return with_checksum(expanded)


async def getaddressesbylabel(context: RpcContext, arguments: Arguments) -> Any:
    """The addresses with this label."""
    wallet, label = await find_wallet(context), parse_label(arguments, "label")
    found = {
        own_address(script): {"purpose": "receive" if script in wallet.scripts else "send"}
        for script, named in wallet.labels.items()
        if named == label
    }
    if not found:
        raise RpcError(RpcCode.WALLET_INVALID_LABEL_NAME, f"No addresses with label {label}")
    return found


async def listlabels(context: RpcContext, arguments: Arguments) -> Any:
    """All labels, or those of addresses that are, or are not, the wallet's own."""
    wallet, purpose = await find_wallet(context), arguments.text("purpose")
    if purpose not in ("", "receive", "send"):
        raise RpcError(
            RpcCode.INVALID_PARAMETER,
            "Invalid 'purpose' argument, must be a known purpose string, typically 'send', or 'receive'.",
        )
    return sorted(
        {
            label
            for script, label in wallet.labels.items()
            if not purpose or (script in wallet.scripts) is (purpose == "receive")
        }
    )


async def setlabel(context: RpcContext, arguments: Arguments) -> Any:
    """Give an address, own or not, a label."""
    wallet = await find_wallet(context)
    script = read_address(arguments.text("address"))
    record = WalletLabelled(wallet.name, script, parse_label(arguments, "label"))
    await context.node.in_turn(lambda: context.node.wallets.keep(record))


async def signmessage(context: RpcContext, arguments: Arguments) -> Any:
    """Sign a message with the key of a P2PKH address of the wallet."""
    wallet = await find_wallet(context)
    wallet.verify_unlocked()
    script = read_address(arguments.text("address"), "Invalid address")
    if classify(script) is not ScriptType.PUBKEYHASH:
        raise RpcError(RpcCode.TYPE_ERROR, "Address does not refer to key")
    own, message = wallet.scripts.get(script), arguments.text("message").encode()
    for key, secret in own.source.secrets(own.index) if own is not None else ():
        with secret:
            signature = sign_ecdsa(secret, legacy_digest(message))
        return legacy_signature(message, key.public_key, signature)
    raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Private key not available")


def _confirmations(context: RpcContext, item: WalletTransaction) -> int:
    return 0 if item.block is None else context.node.chain.tip.height - item.block.height + 1


async def _received(
    context: RpcContext, wallet: Wallet, least: int, *, with_immature: bool
) -> dict[bytes, list[tuple[WalletTransaction, int]]]:
    """What each own script got, transaction by transaction."""
    found: dict[bytes, list[tuple[WalletTransaction, int]]] = {}
    tip = context.node.chain.tip.height
    for item in await context.node.wallets.histories.of(wallet):
        if item.block is None and not item.is_waiting:
            continue
        confirmations = _confirmations(context, item)
        young = item.transaction.is_coinbase and item.block is not None and tip - item.block.height < 100
        if confirmations < least or (young and not with_immature):
            continue
        for output in item.transaction.outputs:
            if output.script_pubkey in wallet.scripts:
                found.setdefault(output.script_pubkey, []).append((item, output.amount_sat))
    return found


async def getreceivedbyaddress(context: RpcContext, arguments: Arguments) -> Any:
    """All that an address of the wallet ever received."""
    wallet = await find_wallet(context)
    script = own_script(wallet, read_address(arguments.text("address"))).script_pubkey
    immature = arguments.flag("include_immature_coinbase", False)
    found = await _received(context, wallet, arguments.integer("minconf", 1), with_immature=immature)
    return btc(sum(amount for _, amount in found.get(script, ())))


async def getreceivedbylabel(context: RpcContext, arguments: Arguments) -> Any:
    """All that the addresses with a label ever received."""
    wallet, label = await find_wallet(context), parse_label(arguments, "label")
    scripts = {script for script, named in wallet.labels.items() if named == label}
    if not scripts & wallet.scripts.keys():
        raise RpcError(RpcCode.WALLET_ERROR, "Label not found in wallet")
    immature = arguments.flag("include_immature_coinbase", False)
    found = await _received(context, wallet, arguments.integer("minconf", 1), with_immature=immature)
    return btc(sum(amount for script in scripts for _, amount in found.get(script, ())))


async def listreceivedbyaddress(context: RpcContext, arguments: Arguments) -> Any:
    """What each address received."""
    wallet, empty = await find_wallet(context), arguments.flag("include_empty", False)
    only = (
        read_address(arguments.text("address_filter"), "address_filter parameter was invalid")
        if (arguments.has("address_filter"))
        else None
    )
    immature = arguments.flag("include_immature_coinbase", False)
    found = await _received(context, wallet, arguments.integer("minconf", 1), with_immature=immature)
    answers = []
    for script in wallet.scripts:
        got = found.get(script, [])
        if (only is not None and script != only) or (script not in wallet.labels and not got):
            continue
        if not got and not empty:
            continue
        answers.append(
            {
                "address": own_address(script),
                "amount": btc(sum(amount for _, amount in got)),
                "confirmations": min((_confirmations(context, item) for item, _ in got), default=0),
                "label": wallet.labels.get(script, ""),
                "txids": list(dict.fromkeys(str(item.txid) for item, _ in got)),
            }
        )
    return answers


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getnewaddress, "label:string", "address_type:string"),
        method(getrawchangeaddress, "address_type:string"),
        method(getaddressinfo, "address:string", required=1),
        method(getaddressesbylabel, "label:string", required=1),
        method(listlabels, "purpose:string"),
        method(setlabel, "address:string", "label:string", required=2),
        method(signmessage, "address:string", "message:string", required=2),
        method(
            getreceivedbyaddress,
            "address:string",
            "minconf:number",
            "include_immature_coinbase:bool",
            required=1,
        ),
        method(
            getreceivedbylabel, "label:string", "minconf:number", "include_immature_coinbase:bool", required=1
        ),
        method(
            listreceivedbyaddress,
            "minconf:number",
            "include_empty:bool",
            "include_watchonly:bool",
            "address_filter:string",
            "include_immature_coinbase:bool",
        ),
    ]
)
