"""What a wallet owns: descriptors, the scripts they give, and the private keys behind them."""

from __future__ import annotations

import enum
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.descriptors import (
    DerivedKey,
    Descriptor,
    ParsedDescriptor,
    ScriptPlan,
    parse_descriptor,
)
from anya_actors.domain.bitcoin.descriptors.keys import ConstKey, ExtendedKey, constant_keys
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.extended import ExtendedPrivateKey, master_key
from anya_actors.domain.keys.secret import Secret

NETWORK: Final = Network.REGTEST
LOOKAHEAD: Final = 20
"""Addresses of a range that are watched beyond the last one given out."""


class AddressKind(enum.Enum):
    """The kinds of addresses, by Core's names."""

    LEGACY = "legacy"
    P2SH_SEGWIT = "p2sh-segwit"
    BECH32 = "bech32"
    BECH32M = "bech32m"

    @property
    def descriptor(self) -> str:
        """The function and the account of BIP44, BIP49, BIP84 or BIP86; ``{}`` stands for the key."""
        return {
            "legacy": "pkh({}/44h/1h/0h/{}/*)",
            "p2sh-segwit": "sh(wpkh({}/49h/1h/0h/{}/*))",
            "bech32": "wpkh({}/84h/1h/0h/{}/*)",
            "bech32m": "tr({}/86h/1h/0h/{}/*)",
        }[self.value]


KINDS_AND_BRANCHES: Final = tuple(itertools.product(AddressKind, (0, 1)))


@dataclass(frozen=True, slots=True)
class OwnScript:
    """One output script of a wallet: where it comes from and what is behind it."""

    source: OwnDescriptor
    index: int
    plan: ScriptPlan
    name: bytes
    """Its name in the node's indexes."""

    @property
    def script_pubkey(self) -> bytes:
        return self.plan.script_pubkey

    @property
    def is_change(self) -> bool:
        return self.source.is_internal


@dataclass(slots=True, eq=False)
class OwnDescriptor:
    """One descriptor of a wallet. Indexes from ``first`` up to ``last`` are watched."""

    parsed: ParsedDescriptor
    descriptor: Descriptor
    since_unix_s: int
    first: int = 0
    last: int = -1
    next_index: int = 0
    kind: AddressKind | None = None
    """Of an active one: whose new addresses it gives."""
    is_internal: bool = False
    scripts: dict[int, list[OwnScript]] = field(default_factory=dict)
    known_public: Descriptor | None = None
    """What `public` gives where the private keys are not always there."""

    @property
    def is_active(self) -> bool:
        return self.kind is not None

    @property
    def public(self) -> Descriptor:
        """The same scripts without private keys; hardened steps stand in the origin."""
        return self.known_public or self.descriptor.normalized(self.parsed.private_keys)

    def watch_to(self, last: int) -> list[OwnScript]:
        """Watch all indexes up to this one; the scripts that were not watched before."""
        fresh: list[OwnScript] = []
        ranged = self.descriptor.is_ranged
        public = self.public
        for index in range(max(self.first, self.last + 1), last + 1) if ranged else range(self.last < 0):
            plans = public.expand(index, self.parsed.private_keys)
            self.scripts[index] = [
                OwnScript(self, index, plan, scripthash(plan.script_pubkey)) for plan in plans
            ]
            fresh += self.scripts[index]
        self.last = max(self.last, last if ranged else 0)
        return fresh

    def secrets(self, index: int) -> Iterator[tuple[DerivedKey, Secret]]:
        """The keys at an index whose private halves are there; callers wipe the secrets."""
        ring = self.parsed.private_keys
        for key in self.descriptor.keys:
            for part in constant_keys(key):
                if isinstance(part, ConstKey):
                    single = ring.single.get(part.public_key)
                    if single is not None:
                        yield part.derive(index), Secret(bytearray(single.secret.buffer))
                elif isinstance(part, ExtendedKey):
                    found = ring.extended.get(part.key)
                    if found is not None:
                        private: ExtendedPrivateKey = found.derive(part.path_at(index))
                        yield part.derive(index, ring), Secret(bytearray(private.secret.buffer))


def read_own(text: str, network: Network, **facts: object) -> list[OwnDescriptor]:
    """The descriptors of a text, one per path; raises `DescriptorError`."""
    parsed = parse_descriptor(text, network)
    return [OwnDescriptor(parsed, descriptor, **facts) for descriptor in parsed.descriptors]  # type: ignore[arg-type]


def seed_descriptors(seed: bytes, since_unix_s: int) -> list[OwnDescriptor]:
    """The descriptors of every kind of address that follow from a seed."""
    key = master_key(seed, is_mainnet=False).reveal()
    found: list[OwnDescriptor] = []
    for kind, branch in KINDS_AND_BRANCHES:
        found += read_own(kind.descriptor.format(key, branch), NETWORK, since_unix_s=since_unix_s)
    return as_seeds(found)


def as_seeds(found: list[OwnDescriptor]) -> list[OwnDescriptor]:
    """Descriptors in the order of a seed's, each made to give addresses of its kind."""
    for own, (kind, branch) in zip(found, KINDS_AND_BRANCHES, strict=True):
        own.kind, own.is_internal = kind, bool(branch)
    return found
