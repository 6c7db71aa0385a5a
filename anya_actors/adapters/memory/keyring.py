"""Keys in memory, for tests of what needs a signer and an HSM: never for money."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

from coincurve import PrivateKey

from anya_actors.domain.hsm.errors import KeyExistsError, OperationRefusedError, UnknownKeyError
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.actors import UnknownActorError, UnknownMethodError


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
        self._keys: dict[str, KeyView] = {}
        self._made: dict[str, str] = {}

    async def public_key(self, key: str) -> bytes:
        await self._reach()
        return self._private(key).public_key.format()

    async def sign_ecdsa(self, key: str, digest: bytes) -> bytes:
        await self._reach()
        if not self.signs:
            raise UnavailableError("hsm-session/test", "the test switched it off")
        if self.refuse:
            raise OperationRefusedError(key, "sign")
        self.signed += 1
        return self._private(key).sign(bytes(32) if self.corrupt else digest, hasher=None)

    async def sign_schnorr(self, key: str, message: bytes) -> bytes:
        await self._reach()
        return self._private(key).sign_schnorr(message, bytes(32))

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
        public_key = _derive(name).public_key.format().hex()
        self._keys[name] = KeyView(name, key_type, 1, public_key, owner, operations, 0)
        self._made[message_id] = name
        return self._keys[name]

    def _view(self, name: str) -> KeyView:
        if name not in self._keys:
            raise UnknownKeyError(name)
        return self._keys[name]

    def _private(self, name: str) -> PrivateKey:
        self._view(name)
        return _derive(name)

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise UnavailableError("hsm/main", "the test switched it off")


def _derive(name: str) -> PrivateKey:
    return PrivateKey(hashlib.sha256(f"keyring of a test: {name}".encode()).digest())
