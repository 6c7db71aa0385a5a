"""Accounts: two descriptors, one for receiving and one for change, and how far each is used.

A wallet's state holds no list of its addresses: any script is found through the descriptors, up to
the gap limit beyond the last one used or given out (BIP44). What was derived once is remembered
beside the state, so that a wallet of thousands of addresses costs no more at each event.
"""

from __future__ import annotations

import enum
from functools import lru_cache
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.descriptors import Descriptor, ScriptPlan, parse_descriptor
from anya_actors.domain.bitcoin.descriptors.tree import Leaf, Tr
from anya_actors.domain.bitcoin.descriptors.weights import satisfaction_bytes, script_bytes
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.orders import GAP_LIMIT
from anya_actors.domain.bitcoin.wire import compact_size
from anya_actors.domain.keys.key_origin import HARDENED, KeyPath
from anya_actors.domain.machine import AnyaError, InvalidInputError

MAX_GAP_LIMIT: Final = 1000
RECEIVE: Final = 0
CHANGE: Final = 1
_BARE_INPUT_WEIGHT: Final = 41 * 4  # outpoint, length of an empty script, sequence
_CACHED_BRANCHES: Final = 4096


class AddressKind(enum.Enum):
    """How the addresses of an account look that the platform derives by itself."""

    WPKH = "wpkh"  # BIP84
    TR = "tr"  # BIP86
    SH_WPKH = "sh-wpkh"  # BIP49
    PKH = "pkh"  # BIP44

    @property
    def purpose(self) -> int:
        return {"wpkh": 84, "tr": 86, "sh-wpkh": 49, "pkh": 44}[self.value]

    def descriptor(self, key: str) -> str:
        """The descriptor over a key expression."""
        return f"sh(wpkh({key}))" if self is AddressKind.SH_WPKH else f"{self.value}({key})"


class AddressesEndError(AnyaError):
    """A descriptor that gives no further address."""

    code = "addresses-end"
    message = "the wallet {} has no further address"
    remedy = "Its descriptor is not ranged; use the address that it has, or make another wallet."

    def __init__(self, wallet: str) -> None:
        super().__init__(wallet)


class Account(msgspec.Struct, frozen=True):
    """Descriptors with public keys, and the HSM's ``bip32`` key behind them; none: watch-only.

    ``next_receive`` and ``next_change`` are the first places that were neither used nor given out.
    ``fingerprint`` is that of the key: it tells its own keys in the descriptors from others'.
    """

    receive: str
    change: str
    key: str = ""
    fingerprint: bytes = b""
    gap_limit: int = GAP_LIMIT
    next_receive: int = 0
    next_change: int = 0

    def descriptor(self, branch: int) -> str:
        return self.change if branch == CHANGE else self.receive

    def next_place(self, branch: int) -> int:
        return self.next_change if branch == CHANGE else self.next_receive

    def horizon(self, branch: int) -> int:
        """The first place that is not looked for."""
        return self.next_place(branch) + self.gap_limit

    def reached(self, branch: int, place: int) -> Account:
        """The account once this place has been used or given out."""
        if place < self.next_place(branch):
            return self
        if branch == CHANGE:
            return replace(self, next_change=place + 1)
        return replace(self, next_receive=place + 1)


class Branch:
    """One descriptor and the scripts derived from it so far."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self._scripts: list[bytes] = []
        self._places: dict[bytes, int] = {}

    def script(self, place: int) -> bytes:
        """The script at a place; the only one of a descriptor without a range."""
        place = place if self.descriptor.is_ranged else 0
        self._derive(place + 1)
        return self._scripts[place]

    def find(self, script_pubkey: bytes, horizon: int) -> int | None:
        """The place of a script before the horizon."""
        self._derive(horizon if self.descriptor.is_ranged else 1)
        place = self._places.get(script_pubkey)
        return place if place is not None and place < max(horizon, 1) else None

    def plan(self, place: int) -> ScriptPlan:
        """The script with what spending it takes."""
        return self.descriptor.expand(place if self.descriptor.is_ranged else 0)[0]

    @property
    def input_weight(self) -> int:
        """The greatest weight of an input that spends one of its coins."""
        satisfaction = self.descriptor.max_satisfaction_weight(high_r=True)
        if satisfaction is None:
            raise InvalidInputError("descriptor", "what spending it weighs is not known")
        node = self.descriptor.node
        leaves = [_leaf_weight(depth, leaf) for depth, leaf in node.leaves] if isinstance(node, Tr) else []
        return _BARE_INPUT_WEIGHT + 1 + max(satisfaction, *leaves, 0)

    def _derive(self, count: int) -> None:
        while len(self._scripts) < count:
            place = len(self._scripts)
            script = self.descriptor.script_pubkey(place)
            self._scripts.append(script)
            self._places[script] = place


def _leaf_weight(depth: int, leaf: Leaf) -> int:
    """The witness of a script path: elements, script and control block, each with its length (BIP341)."""
    elements = satisfaction_bytes(leaf, x_only=True)
    script = script_bytes(leaf)
    if elements is None or script is None:
        raise InvalidInputError("descriptor", "what spending one of its scripts weighs is not known")
    control = 33 + 32 * depth
    return elements + len(compact_size(script)) + script + len(compact_size(control)) + control


@lru_cache(maxsize=_CACHED_BRANCHES)
def branch_of(descriptor: str, network: Network) -> Branch:
    """The branch of a descriptor's text. The same text always gives the same scripts."""
    return Branch(parse_descriptor(descriptor, network).single)


def account_from(
    receive: str,
    change: str,
    network: Network,
    *,
    key: str = "",
    fingerprint: bytes = b"",
    gap_limit: int = GAP_LIMIT,
) -> Account:
    """An account over descriptors as a user gives them; one with two paths (BIP389) gives both.

    Raises `DescriptorError`, `InvalidInputError`.
    """
    if not 1 <= gap_limit <= MAX_GAP_LIMIT:
        raise InvalidInputError("gap_limit", f"it is not from 1 to {MAX_GAP_LIMIT}")
    parsed = parse_descriptor(receive, network)
    found = list(parsed.descriptors)
    private = parsed.has_private_keys
    if change:
        other = parse_descriptor(change, network)
        private = private or other.has_private_keys
        found = [*found, *other.descriptors]
    if private:
        raise InvalidInputError("descriptor", "it holds a private key: import that into the HSM instead")
    if not 1 <= len(found) <= 2:
        raise InvalidInputError("descriptor", "there is one for receiving and at most one for change")
    for one in found:
        if not one.has_scripts or not one.is_single_type:
            raise InvalidInputError("descriptor", "it does not give one script for each place")
        one.script_pubkey(0)
    return Account(str(found[0]), str(found[-1]), key, fingerprint, gap_limit)


def single_key_account(
    kind: AddressKind, origin: str, extended_public_key: str, network: Network, key: str, gap_limit: int
) -> Account:
    """The account that BIP44 and its kin give a master key: ``origin`` is its path in text."""
    receive, change = (
        kind.descriptor(f"[{origin}]{extended_public_key}/{branch}/*") for branch in (RECEIVE, CHANGE)
    )
    fingerprint = bytes.fromhex(origin[:8])
    return account_from(receive, change, network, key=key, fingerprint=fingerprint, gap_limit=gap_limit)


def account_path(kind: AddressKind, network: Network, number: int) -> KeyPath:
    """``purpose' / coin type' / account'`` (BIP44); every test network has coin type 1 (SLIP44)."""
    if not 0 <= number < HARDENED:
        raise InvalidInputError("account", "it does not fit into 31 bits")
    coin = 0 if network is Network.MAINNET else 1
    return (kind.purpose | HARDENED, coin | HARDENED, number | HARDENED)


def address_at(account: Account, branch: int, place: int, network: Network) -> str:
    """The address at a place; the script in hexadecimal where it has none."""
    script = branch_of(account.descriptor(branch), network).script(place)
    return encode_address(script, network) or script.hex()
