"""Output descriptors: what a wallet owns, in one line of text (BIP380 to BIP390, miniscript BIP379)."""

from __future__ import annotations

from functools import cached_property
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.descriptors.checksum import strip_checksum, with_checksum
from anya_actors.domain.bitcoin.descriptors.errors import DerivationError, DescriptorError
from anya_actors.domain.bitcoin.descriptors.keys import (
    MAX_INDEX,
    ConstKey,
    ExtendedKey,
    KeyExpression,
    KeyRing,
    normalize_key,
)
from anya_actors.domain.bitcoin.descriptors.parser import DescriptorParser
from anya_actors.domain.bitcoin.descriptors.plan import Expander, ScriptPlan
from anya_actors.domain.bitcoin.descriptors.tree import (
    Addr,
    Combo,
    Node,
    Raw,
    Unused,
    keys_of,
    with_keys,
    write_node,
)
from anya_actors.domain.bitcoin.descriptors.weights import max_satisfaction_items, max_satisfaction_weight
from anya_actors.domain.bitcoin.network import Network

_NO_KEYS: Final = KeyRing()


class Descriptor(msgspec.Struct, frozen=True, dict=True):
    """One descriptor with one path per key. It holds no private key: see `ParsedDescriptor`."""

    node: Node
    network: Network

    @cached_property
    def keys(self) -> tuple[KeyExpression, ...]:
        return tuple(keys_of(self.node))

    @cached_property
    def is_ranged(self) -> bool:
        """Whether it gives another script at every index."""
        return any(key.is_ranged for key in self.keys)

    @property
    def is_solvable(self) -> bool:
        """Whether it says how to spend, given the keys."""
        return not isinstance(self.node, Addr | Raw)

    @property
    def is_single_type(self) -> bool:
        return not isinstance(self.node, Combo)

    @property
    def has_scripts(self) -> bool:
        return not isinstance(self.node, Unused)

    def __str__(self) -> str:
        """The text with public keys and the checksum."""
        return self._text

    @cached_property
    def _text(self) -> str:
        return with_checksum(write_node(self.node, str))

    def private_text(self, private_keys: KeyRing) -> str:
        """The text with those private keys that are there. Whoever has it can spend."""
        return with_checksum(write_node(self.node, lambda key: key.private_text(private_keys)))

    def normalized(self, private_keys: KeyRing = _NO_KEYS) -> Descriptor:
        """The same scripts for a holder of no private key; raises `DerivationError`."""
        return Descriptor(with_keys(self.node, lambda key: normalize_key(key, private_keys)), self.network)

    def expand(self, index: int = 0, private_keys: KeyRing = _NO_KEYS) -> list[ScriptPlan]:
        """The scripts at an index with what is behind them; raises `DerivationError`."""
        if not 0 <= index <= MAX_INDEX:
            raise DerivationError(f"the index {index} is not between 0 and {MAX_INDEX}")
        return Expander(index, private_keys).plans(self.node)

    def script_pubkeys(self, index: int = 0, private_keys: KeyRing = _NO_KEYS) -> list[bytes]:
        return [plan.script_pubkey for plan in self.expand(index, private_keys)]

    def script_pubkey(self, index: int = 0) -> bytes:
        """The one script of a descriptor of a single type; raises `DerivationError`."""
        scripts = self.script_pubkeys(index)
        if len(scripts) != 1:
            raise DerivationError(f"it gives {len(scripts)} scripts, not one")
        return scripts[0]

    def address(self, index: int = 0) -> str:
        """The address at an index; raises `DerivationError` if there is not exactly one."""
        address = encode_address(self.script_pubkey(index), self.network)
        if address is None:
            raise DerivationError("its script has no address")
        return address

    def addresses(self, index: int = 0, private_keys: KeyRing = _NO_KEYS) -> list[str]:
        """The addresses of all scripts that have one."""
        found = (encode_address(script, self.network) for script in self.script_pubkeys(index, private_keys))
        return [address for address in found if address is not None]

    def max_satisfaction_weight(self, *, high_r: bool = False) -> int | None:
        """Weight units that spending adds at most to a bare input; None if it is not known."""
        return max_satisfaction_weight(self.node, high_r=high_r)

    def max_satisfaction_items(self) -> int | None:
        return max_satisfaction_items(self.node)


class ParsedDescriptor(msgspec.Struct, frozen=True, dict=True):
    """What stood in a text: one descriptor per path (BIP389), and the private keys, apart."""

    descriptors: tuple[Descriptor, ...]
    private_keys: KeyRing
    multipath: str | None = None
    """With several paths: the public text of all of them."""

    @property
    def single(self) -> Descriptor:
        """The descriptor of a text without several paths; raises `DescriptorError`."""
        if len(self.descriptors) != 1:
            raise DescriptorError("it has several paths, where one descriptor is wanted")
        return self.descriptors[0]

    @property
    def has_private_keys(self) -> bool:
        return bool(self.private_keys)


def parse_descriptor(text: str, network: Network, *, require_checksum: bool = False) -> ParsedDescriptor:
    """Read a descriptor; raises `DescriptorError` with Core's reason."""
    body = strip_checksum(text, required=require_checksum)
    parser = DescriptorParser(network)
    node = parser.parse(body)
    branches = max((key.branches for key in keys_of(node)), default=1)
    if branches == 1:
        return ParsedDescriptor((Descriptor(node, network),), parser.keys.private_keys)
    node = with_keys(node, _with_plain_marker)
    descriptors = [
        Descriptor(with_keys(node, lambda key, at=at: key.branch(at)), network)  # type: ignore[misc]
        for at in range(branches)
    ]
    text = with_checksum(write_node(node, str))
    return ParsedDescriptor(tuple(descriptors), parser.keys.private_keys, text)


def _with_plain_marker(key: KeyExpression) -> KeyExpression:
    # Core writes what a multipath descriptor expands to with "h", whatever it was given.
    if isinstance(key, ConstKey | ExtendedKey):
        return msgspec.structs.replace(key, marker="h")
    return key
