"""Key expressions: constant keys, extended keys with paths, MuSig2 aggregates; and their derivation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.descriptors.errors import DerivationError
from anya_actors.domain.bitcoin.musig2 import CHAIN_CODE
from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.keys.extended import ExtendedKeyError, ExtendedPrivateKey, ExtendedPublicKey
from anya_actors.domain.keys.key_origin import HARDENED, KeyOrigin, KeyPath, format_step
from anya_actors.domain.keys.musig2 import aggregate
from anya_actors.domain.keys.private_text import PrivateKey, format_wif
from anya_actors.domain.keys.secret import Secret

MAX_INDEX: Final = HARDENED - 1
UNHARDENED: Final = "*"
HARDENED_RANGE: Final = "*h"


class DerivedKey(msgspec.Struct, frozen=True):
    """A public key at one index, and what a signer needs to find its private half."""

    public_key: bytes
    origin: KeyOrigin
    participants: tuple[DerivedKey, ...] = ()
    aggregate_key: bytes = b""
    """Of a MuSig2 key: the aggregate as it is before derivation."""

    @property
    def x_only(self) -> bytes:
        return self.public_key[1:33]


class KeyRing:
    """The private keys that stood in a descriptor's text. Its repr shows how many."""

    def __init__(self) -> None:
        self.extended: dict[ExtendedPublicKey, ExtendedPrivateKey] = {}
        self.single: dict[bytes, PrivateKey] = {}

    def __bool__(self) -> bool:
        return bool(self.extended or self.single)

    @property
    def secrets(self) -> list[Secret]:
        """The private halves themselves."""
        return [
            *(key.secret for key in self.extended.values()),
            *(key.secret for key in self.single.values()),
        ]

    def wipe(self) -> None:
        """Zero every key and hold none."""
        for secret in self.secrets:
            secret.wipe()
        self.extended.clear()
        self.single.clear()

    def __repr__(self) -> str:
        return f"KeyRing({len(self.extended)} extended, {len(self.single)} single)"


_NO_KEYS: Final = KeyRing()


class ConstKey(msgspec.Struct, frozen=True):
    """One public key. ``x_only`` if it stood as 32 bytes, or as a private key in tr()."""

    public_key: bytes
    x_only: bool = False
    origin: KeyOrigin | None = None
    marker: str = "h"

    @property
    def branches(self) -> int:
        return 1

    @property
    def is_ranged(self) -> bool:
        return False

    @property
    def size(self) -> int:
        return 32 if self.x_only else len(self.public_key)

    def branch(self, _: int) -> ConstKey:
        return self

    def derive(self, _: int, __: KeyRing = _NO_KEYS) -> DerivedKey:
        origin = self.origin or KeyOrigin(hash160(self.public_key)[:4])
        return DerivedKey(self.public_key, origin)

    def __str__(self) -> str:
        key = self.public_key[1:] if self.x_only else self.public_key
        return f"{_origin_text(self.origin, self.marker)}{key.hex()}"

    def private_text(self, keys: KeyRing) -> str:
        found = keys.single.get(self.public_key)
        return f"{_origin_text(self.origin, self.marker)}{format_wif(found)}" if found else str(self)


class ExtendedKey(msgspec.Struct, frozen=True):
    """An extended key with a path, or with several of one length (BIP389), and maybe a range."""

    key: ExtendedPublicKey
    paths: tuple[KeyPath, ...] = ((),)
    wildcard: str = ""
    origin: KeyOrigin | None = None
    marker: str = "h"

    @property
    def branches(self) -> int:
        return len(self.paths)

    @property
    def is_ranged(self) -> bool:
        return bool(self.wildcard)

    @property
    def size(self) -> int:
        return 33

    @property
    def has_hardened_steps(self) -> bool:
        return self.wildcard == HARDENED_RANGE or any(step >= HARDENED for step in self.paths[0])

    def branch(self, at: int) -> ExtendedKey:
        path = self.paths[at if len(self.paths) > 1 else 0]
        return msgspec.structs.replace(self, paths=(path,))

    def path_at(self, index: int) -> KeyPath:
        if not self.wildcard:
            return self.paths[0]
        return (*self.paths[0], index | (HARDENED if self.wildcard == HARDENED_RANGE else 0))

    def derive(self, index: int, keys: KeyRing = _NO_KEYS) -> DerivedKey:
        """The key at an index; raises `DerivationError` for a hardened step without the private key."""
        path, root = self.path_at(index), self.origin or KeyOrigin(self.key.fingerprint)
        origin = KeyOrigin(root.fingerprint, root.path + path)
        try:
            if self.has_hardened_steps:
                return DerivedKey(self._private(keys).derive(path).public.public_key, origin)
            return DerivedKey(derive_public(self.key, path).public_key, origin)
        except ExtendedKeyError as error:
            raise DerivationError(str(error.args[1])) from error

    def _private(self, keys: KeyRing) -> ExtendedPrivateKey:
        found = keys.extended.get(self.key)
        if found is None:
            raise DerivationError("Cannot derive script without private keys")
        return found

    def __str__(self) -> str:
        return f"{_origin_text(self.origin, self.marker)}{self.key}{self._path_text()}"

    def private_text(self, keys: KeyRing) -> str:
        found = keys.extended.get(self.key)
        key = self.key if found is None else found.reveal()
        return f"{_origin_text(self.origin, self.marker)}{key}{self._path_text()}"

    def _path_text(self) -> str:
        return paths_text(self.paths, self.wildcard, self.marker)

    def normalized(self, keys: KeyRing = _NO_KEYS) -> ExtendedKey:
        """The same scripts with every hardened step moved into the origin; raises `DerivationError`."""
        path = self.paths[0]
        places = [place for place, step in enumerate(path) if step >= HARDENED]
        origin, plain = self.origin, msgspec.structs.replace(self, marker="h")
        if self.wildcard == HARDENED_RANGE or not places:
            return plain
        cut = places[-1] + 1
        key = self._private(keys).derive(path[:cut]).public
        root = origin or KeyOrigin(self.key.fingerprint)
        moved = KeyOrigin(root.fingerprint, root.path + path[:cut])
        return ExtendedKey(key, (path[cut:],), self.wildcard, moved)


class MusigKey(msgspec.Struct, frozen=True):
    """The MuSig2 aggregate of several keys (BIP390), itself derived where it has a path (BIP328)."""

    participants: tuple[ConstKey | ExtendedKey, ...]
    paths: tuple[KeyPath, ...] = ((),)
    wildcard: str = ""

    @property
    def branches(self) -> int:
        return max(len(self.paths), *(key.branches for key in self.participants))

    @property
    def is_ranged(self) -> bool:
        return bool(self.wildcard) or any(key.is_ranged for key in self.participants)

    @property
    def size(self) -> int:
        return 32

    def branch(self, at: int) -> MusigKey:
        path = self.paths[at if len(self.paths) > 1 else 0]
        return MusigKey(tuple(key.branch(at) for key in self.participants), (path,), self.wildcard)

    def derive(self, index: int, keys: KeyRing = _NO_KEYS) -> DerivedKey:
        """The aggregate at an index, with its participants."""
        members = tuple(sorted((key.derive(index, keys) for key in self.participants), key=_by_public_key))
        whole = aggregate([member.public_key for member in members]).public_key
        path = self.paths[0] + ((index,) if self.wildcard else ())
        origin = KeyOrigin(hash160(whole)[:4], path)
        derived = derive_public(ExtendedPublicKey(whole, CHAIN_CODE), path).public_key if path else whole
        return DerivedKey(derived, origin, members, whole)

    def __str__(self) -> str:
        return f"musig({','.join(map(str, self.participants))}){paths_text(self.paths, self.wildcard, 'h')}"

    def private_text(self, keys: KeyRing) -> str:
        members = ",".join(key.private_text(keys) for key in self.participants)
        return f"musig({members}){paths_text(self.paths, self.wildcard, 'h')}"

    def normalized(self, keys: KeyRing = _NO_KEYS) -> MusigKey:
        members = tuple(normalize_key(key, keys) for key in self.participants)
        return MusigKey(members, self.paths, self.wildcard)  # type: ignore[arg-type]


KeyExpression = ConstKey | ExtendedKey | MusigKey


def normalize_key(key: KeyExpression, keys: KeyRing) -> KeyExpression:
    """The key as a holder of no private keys can use it; raises `DerivationError`."""
    if isinstance(key, ConstKey):
        return msgspec.structs.replace(key, marker="h")
    return key.normalized(keys)


def _by_public_key(key: DerivedKey) -> bytes:
    return key.public_key


def _origin_text(origin: KeyOrigin | None, marker: str) -> str:
    if origin is None:
        return ""
    steps = (format_step(step, marker) for step in origin.path)
    return f"[{'/'.join((origin.fingerprint.hex(), *steps))}]"


def paths_text(paths: tuple[KeyPath, ...], wildcard: str, marker: str) -> str:
    """Paths as text: ``/0/<1;2>/*``."""
    pieces = []
    for steps in zip(*paths, strict=True):
        texts = [format_step(step, marker) for step in steps]
        pieces.append(texts[0] if len(set(texts)) == 1 else f"<{';'.join(texts)}>")
    if wildcard:
        pieces.append("*" + (marker if wildcard == HARDENED_RANGE else ""))
    return "".join(f"/{piece}" for piece in pieces)


# Deriving receive and change addresses one after the other walks the same first steps each time.
_CACHE_SIZE: Final = 4096
_parents: dict[tuple[ExtendedPublicKey, KeyPath], ExtendedPublicKey] = {}


def derive_public(key: ExtendedPublicKey, path: KeyPath) -> ExtendedPublicKey:
    """As ``key.derive(path)``, remembering the parent of the last step; raises `ExtendedKeyError`."""
    if not path:
        return key
    parent = _parents.get((key, path[:-1]))
    if parent is None:
        if len(_parents) >= _CACHE_SIZE:
            _parents.clear()
        parent = _parents[key, path[:-1]] = key.derive(path[:-1])
    return parent.child(path[-1])


def constant_keys(key: KeyExpression) -> Iterator[ConstKey | ExtendedKey]:
    """The key itself, or the participants of an aggregate."""
    if isinstance(key, MusigKey):
        yield from key.participants
    else:
        yield key
