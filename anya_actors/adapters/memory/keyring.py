"""Keys in memory, for tests of what needs a signer and an HSM: never for money."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from anya_actors.adapters.keys.bip32 import Bip32Key, from_seed
from anya_actors.adapters.keys.secp256k1 import Secp256k1SigningKey
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.hsm.errors import KeyExistsError, OperationRefusedError, UnknownKeyError
from anya_actors.domain.hsm.nonces import OpenNonces, session_of
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.operations import KeyPath, MusigRound, SignRequest, check_path
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.actors import UnknownActorError, UnknownMethodError
from anya_actors.ports.key_algorithms import BitcoinKey, sign_by


class MemoryKeyring:
    """A `Signer`, and as `Actors` the part of ``hsm/main`` that makes keys.

    ``down`` makes every call fail, ``signs = False`` every signature; ``refuse`` makes signing
    a matter of policy, and ``corrupt`` makes signatures that do not hold. ``signed`` counts the
    signatures made.
    """

    def __init__(self) -> None:
        self.down = False
        self.signs = True
        self.refuse = False
        self.corrupt = False
        self.signed = 0
        self._randomness = SystemRandomness()
        self._nonces = OpenNonces()
        self._keys: dict[str, KeyView] = {}
        self._made: dict[str, str] = {}

    async def public_key(self, key: str, *, path: KeyPath = ()) -> bytes:
        await self._reach()
        with self._at(key, path) as private:
            return private.public_key

    async def extended_public_key(self, key: str, path: KeyPath = (), *, testnet: bool = False) -> str:
        await self._reach()
        return self._tree(key).extended_public_key(check_path(path), testnet=testnet)

    async def fingerprint(self, key: str) -> bytes:
        await self._reach()
        return hash160(self._tree(key).public_key)[:4]

    async def sign_ecdsa(self, key: str, digest: bytes, *, path: KeyPath = ()) -> bytes:
        return (await self.sign_many([SignRequest(key, digest, "ecdsa-secp256k1", path)]))[0]

    async def sign_schnorr(
        self,
        key: str,
        message: bytes,
        *,
        path: KeyPath = (),
        taproot_merkle_root: bytes | None = None,
        tweak: bytes | None = None,
    ) -> bytes:
        request = SignRequest(key, message, "schnorr-bip340", path, taproot_merkle_root, tweak=tweak)
        return (await self.sign_many([request]))[0]

    async def sign_many(self, requests: Sequence[SignRequest]) -> tuple[bytes, ...]:
        await self._reach()
        if not self.signs:
            raise UnavailableError("hsm-session/test", "the test switched it off")
        if self.refuse:
            raise OperationRefusedError(requests[0].key, "sign")
        signatures = tuple(self._sign(request) for request in requests)
        self.signed += len(requests)
        return signatures

    async def shared_point(self, key: str, public_key: bytes, *, path: KeyPath = ()) -> bytes:
        await self._reach()
        with self._at(key, path) as private:
            return private.shared_point(public_key)

    async def shared_points(
        self, key: str, public_keys: Sequence[bytes], *, path: KeyPath = ()
    ) -> tuple[bytes, ...]:
        await self._reach()
        if self.refuse:
            raise OperationRefusedError(key, "derive")
        with self._at(key, path) as private:
            return tuple([private.shared_point(public_key) for public_key in public_keys])

    async def musig2_nonce(
        self, key: str, *, path: KeyPath = (), aggregate_key: bytes = b"", message: bytes | None = None
    ) -> bytes:
        await self._reach()
        with self._at(key, path) as private:
            draw = self._randomness.token_bytes(32)
            nonce = private.musig2_nonce(draw, aggregate_key=aggregate_key, message=message, extra_input=b"")
        self._nonces.add(nonce, key, check_path(path), aggregate_key, message)
        return nonce.public_nonce

    async def musig2_partial_sign(
        self, key: str, public_nonce: bytes, signing: MusigRound, *, path: KeyPath = ()
    ) -> bytes:
        await self._reach()
        with self._at(key, path) as private:
            nonce = self._nonces.take(public_nonce, key, check_path(path), signing)
            with nonce:
                return private.musig2_partial_sign(nonce, session_of(signing))

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        await self._reach()
        if actor != "hsm/main":
            raise UnknownActorError(actor)
        if method == "create_key" and message_id is not None:
            return self._create(*args, message_id=message_id)
        if method == "key":
            return self._view(*args)
        raise UnknownMethodError(actor, method)

    def _create(
        self, name: str, key_type: str, owner: str, operations: tuple[str, ...], *, message_id: str
    ) -> KeyView:
        if self._made.get(message_id) == name:
            return self._keys[name]
        if name in self._keys:
            raise KeyExistsError(name)
        with _load(name, key_type).at(()) as private:
            public_key = private.public_key.hex()
        self._keys[name] = KeyView(name, key_type, 1, public_key, owner, operations, 0)
        self._made[message_id] = name
        return self._keys[name]

    def _view(self, name: str) -> KeyView:
        if name not in self._keys:
            raise UnknownKeyError(name)
        return self._keys[name]

    def _sign(self, request: SignRequest) -> bytes:
        message = bytes(len(request.message)) if self.corrupt else request.message
        with self._at(request.key, request.path) as private:
            return sign_by(private, msgspec.structs.replace(request, message=message))

    def _at(self, name: str, path: KeyPath) -> AbstractContextManager[BitcoinKey]:
        return _load(name, self._view(name).key_type).at(check_path(path))

    def _tree(self, name: str) -> Bip32Key:
        tree = _load(name, self._view(name).key_type)
        if not isinstance(tree, Bip32Key):
            raise InvalidInputError("key", "only a bip32 key is extended")
        return tree

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise UnavailableError("hsm/main", "the test switched it off")


def _load(name: str, key_type: str) -> Bip32Key | Secp256k1SigningKey:
    seed = Secret(hashlib.sha256(f"keyring of a test: {name}".encode()).digest())
    if key_type == "bip32":
        return Bip32Key(from_seed(seed), None)
    return Secp256k1SigningKey(seed, None)
