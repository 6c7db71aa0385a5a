"""Addresses, descriptors and signed messages, as people write them."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.address_faults import explain_address
from anya_actors.domain.bitcoin.descriptors import with_checksum
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.script import ScriptType, classify, hash160, witness_program
from anya_actors.domain.bitcoin.signed_message import legacy_digest, legacy_signature
from anya_actors.domain.keys.curve import CurveError, Point, recover_key, sign_ecdsa
from anya_actors.domain.keys.private_text import PrivateKey, PrivateKeyError, parse_wif
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, is_hex, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.scripts import expand_descriptor, parse_range, read_descriptor

_SCRIPTS: Final = (
    ScriptType.SCRIPTHASH,
    ScriptType.WITNESS_V0_SCRIPTHASH,
    ScriptType.WITNESS_V1_TAPROOT,
    ScriptType.ANCHOR,
)
_ADDRESS_TYPES: Final = {"legacy": "sh({})", "p2sh-segwit": "sh(wsh({}))", "bech32": "wsh({})"}
_MOST_KEYS, _MAX_REDEEM_SCRIPT = 20, 520
_UNCOMPRESSED: Final = (
    "Unable to make chosen address type, please ensure no uncompressed public keys are present."
)


async def validateaddress(_: RpcContext, arguments: Arguments) -> Any:
    """Whether a text is an address of this network; if not, what is wrong and where."""
    text = arguments.text("address")
    try:
        script = parse_address(text, NETWORK)
    except AddressError:
        fault = explain_address(text, NETWORK)
        return {"isvalid": False, "error_locations": list(fault.locations), "error": fault.text}
    facts = {"isvalid": True, "address": encode_address(script, NETWORK), "scriptPubKey": script.hex()}
    return facts | describe_address(script)


def describe_address(script: bytes) -> dict[str, Any]:
    """What an address tells of the script behind it."""
    kind, program = classify(script), witness_program(script)
    facts: dict[str, Any] = {}
    if kind is not ScriptType.WITNESS_UNKNOWN:
        facts["isscript"] = kind in _SCRIPTS
    facts["iswitness"] = program is not None
    if program is not None and kind is not ScriptType.ANCHOR:
        facts |= {"witness_version": program[0], "witness_program": program[1].hex()}
    return facts


async def getdescriptorinfo(_: RpcContext, arguments: Arguments) -> Any:
    """What a descriptor is: its text without private keys, its checksum, what it can do."""
    text = arguments.text("descriptor")
    found = read_descriptor(text)
    first = found.descriptors[0]
    facts: dict[str, Any] = {"descriptor": found.multipath or str(first)}
    if found.multipath is not None:
        facts["multipath_expansion"] = [str(descriptor) for descriptor in found.descriptors]
    body = text.partition("#")[0]
    return facts | {
        "checksum": with_checksum(body).rpartition("#")[2],
        "isrange": first.is_ranged,
        "issolvable": first.is_solvable,
        "hasprivatekeys": found.has_private_keys,
    }


async def deriveaddresses(_: RpcContext, arguments: Arguments) -> Any:
    """The addresses of a descriptor, in a range of indexes if it has one."""
    found = read_descriptor(arguments.text("descriptor"), require_checksum=True)
    first, last = parse_range(arguments.raw("range")) if arguments.has("range") else (0, 0)
    ranged = found.descriptors[0].is_ranged
    if not ranged and arguments.has("range"):
        text = "Range should not be specified for an un-ranged descriptor"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    if ranged and not arguments.has("range"):
        text = "Range must be specified for a ranged descriptor"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    lists = []
    for descriptor in found.descriptors:
        addresses: list[str] = []
        for index in range(first, last + 1):
            scripts = expand_descriptor(found, descriptor, index)
            given = [encode_address(script, NETWORK) for script in scripts]
            addresses += [address for address in given if address is not None]
            if None in given and len(scripts) == 1:
                text = "Descriptor does not have a corresponding address"
                raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text)
        lists.append(addresses)
    return lists[0] if len(lists) == 1 else lists


async def createmultisig(_: RpcContext, arguments: Arguments) -> Any:
    """The address and the script that ask for some of these keys' signatures."""
    threshold, keys = arguments.integer("nrequired"), [_public_key(key) for key in arguments.items("keys")]
    kind = arguments.text("address_type", "legacy")
    if kind == "bech32m":
        text = "createmultisig cannot create bech32m multisig addresses"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text)
    if kind not in _ADDRESS_TYPES:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Unknown address type '{kind}'")
    _verify_multisig(threshold, len(keys))
    compressed = all(len(key) == 66 for key in keys)
    made = kind if compressed else "legacy"
    multi = f"multi({threshold},{','.join(keys)})"
    size = 3 + sum(len(key) // 2 + 1 for key in keys)
    if size > _MAX_REDEEM_SCRIPT and made != "bech32":
        text = f"redeemScript exceeds size limit: {size} > {_MAX_REDEEM_SCRIPT}"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    descriptor = read_descriptor(_ADDRESS_TYPES[made].format(multi)).single
    plan = descriptor.expand()[0]
    script = plan.witness_script or plan.redeem_script or b""
    facts: dict[str, Any] = {
        "address": encode_address(plan.script_pubkey, NETWORK),
        "redeemScript": script.hex(),
        "descriptor": str(descriptor),
    }
    return facts if made == kind else {**facts, "warnings": [_UNCOMPRESSED]}


def _public_key(text: Any) -> str:
    shown = f'Pubkey "{require(text, str)[:200]}" must'
    if not is_hex(text):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"{shown} be a hex string")
    if len(text) not in (66, 130):
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"{shown} have a length of either 33 or 65 bytes")
    try:
        Point.parse(bytes.fromhex(text))
    except CurveError as error:
        words = f"{shown} be cryptographically valid."
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, words) from error
    return str(text).lower()


def _verify_multisig(threshold: int, count: int) -> None:
    if threshold < 1:
        text = "a multisignature address must require at least one key to redeem"
    elif count < threshold:
        text = f"not enough keys supplied (got {count} keys, but need at least {threshold} to redeem)"
    elif count > _MOST_KEYS:
        text = (
            f"Number of keys involved in the multisignature address creation > {_MOST_KEYS}\n"
            "Reduce the number"
        )
    else:
        return
    raise RpcError(RpcCode.INVALID_PARAMETER, text)


async def verifymessage(_: RpcContext, arguments: Arguments) -> Any:
    """Whether the holder of a P2PKH address signed this message."""
    try:
        script = parse_address(arguments.text("address"), NETWORK)
    except AddressError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid address") from error
    if classify(script) is not ScriptType.PUBKEYHASH:
        raise RpcError(RpcCode.TYPE_ERROR, "Address does not refer to key")
    try:
        signature = base64.b64decode(arguments.text("signature"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RpcError(RpcCode.TYPE_ERROR, "Malformed base64 encoding") from error
    digest = legacy_digest(arguments.text("message").encode())
    try:
        key = recover_key(signature, digest)
    except CurveError:
        return False
    return hash160(key) == script[3:23]


async def signmessagewithprivkey(_: RpcContext, arguments: Arguments) -> Any:
    """Sign a message with a private key."""
    key = read_private_key(arguments.text("privkey"))
    message = arguments.text("message").encode()
    return legacy_signature(message, key.public_key(), sign_ecdsa(key.secret, legacy_digest(message)))


def read_private_key(text: str) -> PrivateKey:
    """A private key of this network; raises `RpcError`, which quotes nothing of it."""
    try:
        key = parse_wif(text)
    except PrivateKeyError:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid private key") from None
    if key.is_mainnet:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, "Invalid private key")
    return key


METHODS: Final[dict[str, Method]] = dict(
    [
        method(validateaddress, "address:string", required=1),
        method(getdescriptorinfo, "descriptor:string", required=1),
        method(deriveaddresses, "descriptor:string", "range", required=1),
        method(createmultisig, "nrequired:number", "keys:array", "address_type:string", required=2),
        method(verifymessage, "address:string", "signature:string", "message:string", required=3),
        method(signmessagewithprivkey, "privkey:string", "message:string", required=2),
    ]
)
