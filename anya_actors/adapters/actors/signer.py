"""The `Signer` port on an HSM session reached through `Actors`."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from anya_actors.domain.hsm.errors import OperationRefusedError, SessionClosedError, UnknownKeyError
from anya_actors.domain.hsm.views import KeyView, SessionView
from anya_actors.ports.actors import Actors, UnknownActorError
from anya_actors.ports.randomness import Randomness

HSM: Final = "hsm/main"
# A session is opened for every key that the owner has then, so a new key costs a new session.
MAX_SESSION_KEYS: Final = 1024


class RemoteSigner:
    """Signs with the keys of one owner, in a session that it opens at the first need.

    A session that is over, or whose process died, is replaced by a new one and the signature is
    asked for again; ECDSA is deterministic, so asking twice gives the same one. Public keys come
    from the HSM itself and never change. An owner has one signer at a time: a new one closes what
    its predecessor left open.
    """

    def __init__(self, actors: Actors, owner: str, randomness: Randomness) -> None:
        self._actors = actors
        self._owner = owner
        self._randomness = randomness
        self._public_keys: dict[str, bytes] = {}
        self._session: SessionView | None = None
        self._first = True
        self._opening = asyncio.Lock()

    async def public_key(self, key: str) -> bytes:
        """The compressed SEC1 public key (33 bytes) of a secp256k1 key."""
        known = self._public_keys.get(key)
        if known is None:
            view: KeyView = await self._actors.call(HSM, "key", key)
            if view.owner != self._owner:
                raise UnknownKeyError(key)
            known = self._public_keys[key] = bytes.fromhex(view.public_key)
        return known

    async def sign_ecdsa(self, key: str, digest: bytes) -> bytes:
        """DER signature (low S, RFC 6979) of a 32-byte digest; deterministic."""
        return await self._sign(key, digest, "ecdsa-secp256k1")

    async def sign_schnorr(self, key: str, message: bytes) -> bytes:
        """BIP340 signature (64 bytes) of a 32-byte message."""
        return await self._sign(key, message, "schnorr-bip340")

    async def close(self) -> None:
        """Close the session, if one is open."""
        async with self._opening:
            session, self._session = self._session, None
        if session is not None:
            await self._close(session)

    async def _sign(self, key: str, message: bytes, algorithm: str) -> bytes:
        session = await self._session_for(key)
        try:
            return await self._ask(session, key, message, algorithm)
        except (SessionClosedError, UnknownActorError):
            session = await self._session_for(key, instead_of=session)
            return await self._ask(session, key, message, algorithm)

    async def _ask(self, session: SessionView, key: str, message: bytes, algorithm: str) -> bytes:
        return bytes(await self._actors.call(session.actor, "sign", key, message, algorithm))

    async def _session_for(self, key: str, instead_of: SessionView | None = None) -> SessionView:
        """The open session if it holds ``key`` and is not ``instead_of``; else a new one."""
        async with self._opening:
            session = self._session
            if session is not None and session is not instead_of and key in session.keys:
                return session
            self._session = None
            if session is not None and session is not instead_of:
                await self._close(session)
            if self._first:
                await self._close_leftovers()
                self._first = False
            self._session = await self._open(key)
            return self._session

    async def _open(self, key: str) -> SessionView:
        views: list[KeyView] = await self._actors.call(HSM, "keys", self._owner)
        usable = [view.name for view in views if view.enabled and view.name != key]
        if all(view.name != key for view in views):
            raise UnknownKeyError(key)
        if not any(view.name == key and view.enabled for view in views):
            raise OperationRefusedError(key, "be used while it is disabled")
        keys = (key, *usable[-(MAX_SESSION_KEYS - 1) :])
        opened: Any = await self._actors.call(
            HSM, "open_session", self._owner, keys, message_id=self._message_id()
        )
        if not isinstance(opened, SessionView):
            raise TypeError(f"an opening was answered with {type(opened).__name__}")
        return opened

    async def _close_leftovers(self) -> None:
        """Close the sessions that a signer of this owner left open when its process died."""
        opened: list[SessionView] = await self._actors.call(HSM, "sessions")
        for session in opened:
            if session.owner == self._owner:
                await self._close(session)

    async def _close(self, session: SessionView) -> None:
        await self._actors.call(HSM, "close_session", session.session_id, message_id=self._message_id())

    def _message_id(self) -> str:
        return f"signer/{self._randomness.token_bytes(16).hex()}"
