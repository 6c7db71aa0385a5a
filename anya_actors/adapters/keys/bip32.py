"""BIP32 private derivation on libsecp256k1, in buffers that are wiped."""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from anya_actors.adapters.keys.secp256k1 import Secp256k1SigningKey
from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.keys.curve import CurveError, Point, add_to_secret, check_secret
from anya_actors.domain.keys.operations import HARDENED, KeyPath, check_path
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness

KEY_TYPE: Final = "bip32"
NODE_BYTES: Final = 73
"""Depth 1, the parent's fingerprint 4, child number 4, chain code 32, private key 32."""

_PRIVATE: Final = {bytes.fromhex("0488ade4"), bytes.fromhex("04358394")}
_PUBLIC: Final = {False: bytes.fromhex("0488b21e"), True: bytes.fromhex("043587cf")}
_KEPT_NODES: Final = 64


class Bip32Key:
    """A BIP32 private key: itself, and every key below it.

    Nodes above the last two steps are kept while the key is loaded: a wallet asks for thousands of
    keys below one account, and a hardened step costs as much as a signature.
    """

    def __init__(self, node: Secret, randomness: Randomness | None) -> None:
        if len(node) != NODE_BYTES:
            raise InvalidInputError("private_key", f"a bip32 key has {NODE_BYTES} bytes")
        self._root: Secret | None = Secret(bytearray(node.buffer))
        self._randomness = randomness
        self._kept: OrderedDict[KeyPath, Secret] = OrderedDict()
        with self.at(()) as key:
            self._public_key = key.public_key

    def __repr__(self) -> str:
        return f"Bip32Key({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """That of the key itself, SEC1 compressed, 33 bytes."""
        return self._public_key

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[Secp256k1SigningKey]:
        """The key at a path below, wiped at the end of the block."""
        with self._node(path) as node, Secret(node.buffer[41:]) as private_key:
            key = Secp256k1SigningKey(private_key, self._randomness)
            try:
                yield key
            finally:
                key.wipe()

    def extended_public_key(self, path: KeyPath, *, testnet: bool) -> str:
        """The key at a path as ``xpub…`` or ``tpub…`` (BIP32, serialization format)."""
        from btclib.base58 import encode  # heavy, and needed by few

        with self._node(path) as node, Secret(node.buffer[41:]) as private_key:
            public_key = Point.of_secret(private_key).serialize()
            return str(encode(_PUBLIC[testnet] + bytes(node.buffer[:41]) + public_key).decode("ascii"))

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """Sign with the key itself."""
        with self.at(()) as key:
            return key.sign(message, algorithm)

    def wipe(self) -> None:
        """Zero every node that is held."""
        for node in self._kept.values():
            node.wipe()
        self._kept.clear()
        if self._root is not None:
            self._root.wipe()
        self._root = None

    def _node(self, path: KeyPath) -> Secret:
        """A copy of the node at a path, which the caller wipes."""
        path = check_path(path)
        node = self._near(path[:-2])
        for step in path[-2:]:
            with node:
                node = _child(node, step)
        return node

    def _near(self, path: KeyPath) -> Secret:
        if self._root is None:
            raise InvalidInputError("key", "it was wiped")
        if not path:
            return Secret(bytearray(self._root.buffer))
        kept = self._kept.get(path)
        if kept is None:
            with self._near(path[:-1]) as parent:
                kept = self._kept[path] = _child(parent, path[-1])
            if len(self._kept) > _KEPT_NODES:
                self._kept.popitem(last=False)[1].wipe()
        self._kept.move_to_end(path)
        return Secret(bytearray(kept.buffer))


def generate(randomness: Randomness) -> Secret:
    """A master key of a fresh seed of 64 bytes; the seed itself is forgotten."""
    while True:
        with Secret.taken(randomness.token_bytes(64)) as seed:
            try:
                return from_seed(seed)
            except CurveError:  # one in 2^127: BIP32 says to take another seed
                continue


def from_seed(seed: Secret) -> Secret:
    """The master key of a seed of 16 to 64 bytes (BIP32, master key generation)."""
    if not 16 <= len(seed) <= 64:
        raise InvalidInputError("seed", f"it has 16 to 64 bytes, not {len(seed)}")
    with Secret.taken(hmac.digest(b"Bitcoin seed", seed.buffer, hashlib.sha512)) as digest:
        node = Secret(bytearray(9) + digest.buffer[32:] + digest.buffer[:32])
    return _checked(node)


def from_extended_private_key(text: Secret) -> Secret:
    """The node that an ``xprv…`` or ``tprv…`` stands for; nothing of it stands in an error."""
    from btclib.base58 import decode  # heavy, and needed by few
    from btclib.exceptions import BTClibException

    try:
        with Secret(decode(text.reveal(), 78)) as data:
            if bytes(data.buffer[:4]) not in _PRIVATE or data.buffer[45] != 0:
                raise InvalidInputError("extended private key", "it is public, or of another kind")
            if data.buffer[4] == 0 and any(data.buffer[5:13]):
                raise InvalidInputError("extended private key", "a master key has no parent and no number")
            return _checked(Secret(data.buffer[4:45] + data.buffer[46:]))
    except (BTClibException, ValueError):
        # The library's error may quote the value: cut the chain.
        raise InvalidInputError("extended private key", "it cannot be read") from None


def fingerprint(public_key: bytes) -> bytes:
    """By what children name their parent: the first four bytes of its HASH160."""
    return hash160(public_key)[:4]


def _child(parent: Secret, number: int) -> Secret:
    """The private child of a node (BIP32, CKDpriv)."""
    if parent.buffer[0] == 255:
        raise InvalidInputError("path", "it leads deeper than the 255 levels of BIP32")
    with Secret(parent.buffer[41:]) as private_key, Secret(bytearray(33)) as data:
        public_key = Point.of_secret(private_key).serialize()
        data.buffer[:] = public_key
        if number >= HARDENED:
            data.buffer[:] = b"\x00" + private_key.buffer
        data.buffer += number.to_bytes(4, "big")
        with Secret.taken(hmac.digest(bytes(parent.buffer[9:41]), data.buffer, hashlib.sha512)) as digest:
            with Secret(digest.buffer[:32]) as tweak:
                try:
                    add_to_secret(private_key, tweak)
                except CurveError:  # one in 2^127: BIP32 says to proceed with the next number
                    raise InvalidInputError("path", f"there is no child {number} here") from None
            head = bytes((parent.buffer[0] + 1,)) + fingerprint(public_key) + number.to_bytes(4, "big")
            return Secret(bytearray(head) + digest.buffer[32:] + private_key.buffer)


def _checked(node: Secret) -> Secret:
    try:
        with Secret(node.buffer[41:]) as private_key:
            check_secret(private_key)
    except CurveError:
        node.wipe()
        raise CurveError("the private key", "it is not between 1 and the group order") from None
    return node
