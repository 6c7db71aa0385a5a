"""Scripts that a call names by descriptors or addresses."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.descriptors import (
    DerivationError,
    Descriptor,
    DescriptorError,
    ParsedDescriptor,
    ScriptPlan,
    parse_descriptor,
)
from anya_actors.serve.bitcoin_rpc.arguments import parse_integer
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.signature import json_type
from anya_actors.services.bitcoin_node.wallets.keys import OwnDescriptor
from anya_actors.services.bitcoin_node.wallets.signing import LocalKeys

_DEFAULT_LAST: Final = 1000
_MAX_RANGE: Final = 1_000_000


def read_descriptor(text: str, *, require_checksum: bool = False) -> ParsedDescriptor:
    """A descriptor of this network; raises `RpcError` with Core's words."""
    try:
        return parse_descriptor(text, NETWORK, require_checksum=require_checksum)
    except DescriptorError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, error.reason) from error


def expand_descriptor(found: ParsedDescriptor, descriptor: Descriptor, index: int) -> list[bytes]:
    """The scripts at an index; raises `RpcError` with Core's words."""
    try:
        return descriptor.script_pubkeys(index, found.private_keys)
    except DerivationError as error:
        text = f"Cannot derive script without private keys: '{descriptor}'"
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, text) from error


def parse_range(value: Any) -> tuple[int, int]:
    """The first and the last index; raises `RpcError`."""
    if json_type(value) == "number":
        first, last = 0, parse_integer(value, range(-(1 << 63), 1 << 63))
    elif isinstance(value, list) and len(value) == 2:
        first, last = (parse_integer(item, range(-(1 << 63), 1 << 63)) for item in value)
        if first > last:
            text = "Range specified as [begin,end] must not have begin after end"
            raise RpcError(RpcCode.INVALID_PARAMETER, text)
    else:
        text = "Range must be specified as end or as [begin,end]"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    if first < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Range should be greater or equal than 0")
    if last >> 31:
        raise RpcError(RpcCode.INVALID_PARAMETER, "End of range is too high")
    if last >= first + _MAX_RANGE:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Range is too large")
    return first, last


def keys_and_plans(items: list[Any]) -> tuple[LocalKeys, dict[bytes, ScriptPlan]]:
    """The private keys in descriptors, to be wiped, and what is behind their scripts."""
    keys, plans = LocalKeys(), {}
    for item in items:
        found, indexes = _read_item(item)
        for descriptor in found.descriptors:
            own = OwnDescriptor(found, descriptor, 0)
            for index in indexes if descriptor.is_ranged else range(1):
                expand_descriptor(found, descriptor, index)
                for plan in descriptor.expand(index, found.private_keys):
                    plans[plan.script_pubkey] = plan
                for key, secret in own.secrets(index):
                    keys.add(key.public_key, secret)
    return keys, plans


def scanned_scripts(items: list[Any]) -> dict[bytes, str]:
    """The scripts of scan objects (descriptors, or objects with ``desc`` and ``range``) with their texts."""
    scripts: dict[bytes, str] = {}
    for item in items:
        scripts |= _scanned(item)
    return scripts


def _read_item(item: Any) -> tuple[ParsedDescriptor, range]:
    """A descriptor, or an object with one and a range."""
    first, last = 0, _DEFAULT_LAST
    text = item
    if isinstance(item, dict):
        text = item.get("desc")
        if text is None:
            words = "Descriptor needs to be provided in scan object"
            raise RpcError(RpcCode.INVALID_PARAMETER, words)
        if item.get("range") is not None:
            first, last = parse_range(item["range"])
    if not isinstance(text, str):
        words = "Scan object needs to be either a string or an object"
        raise RpcError(RpcCode.INVALID_PARAMETER, words)
    return read_descriptor(text), range(first, last + 1)


def _scanned(item: Any) -> dict[bytes, str]:
    found, indexes = _read_item(item)
    scripts: dict[bytes, str] = {}
    for descriptor in found.descriptors:
        for index in indexes if descriptor.is_ranged else range(1):
            for script in expand_descriptor(found, descriptor, index):
                scripts.setdefault(script, str(descriptor))
    return scripts


def script_of_output(text: str) -> bytes:
    """The one script of a descriptor that is not ranged; raises `RpcError`."""
    found = read_descriptor(text)
    descriptor = found.descriptors[0]
    if descriptor.is_ranged:
        words = "Ranged descriptor not accepted. Maybe pass through deriveaddresses first?"
        raise RpcError(RpcCode.INVALID_PARAMETER, words)
    scripts = expand_descriptor(found, descriptor, 0)
    # Of combo() Core takes the second: P2PKH, or P2WPKH where the key is compressed.
    return scripts[{1: 0, 4: 2}.get(len(scripts), 1)]
