"""The `Signer` port on an HSM session reached through `Actors`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.hsm.errors import SessionClosedError, UnknownKeyError
from anya_actors.domain.hsm.views import KeyView, SessionView
from anya_actors.domain.keys.operations import KeyPath, MusigRound, SignRequest, check_path
from anya_actors.ports.actors import Actors, UnknownActorError
from anya_actors.ports.randomness import Randomness

HSM: Final = "hsm/main"
MAX_SESSION_KEYS: Final = 1024
BATCH: Final = 1024


class RemoteSigner:
    """Signs with the keys of one owner, in a session that it opens at the first need.

    The session is opened for the keys that are asked for, and extended when another one is. One
    that is over, or whose process died, is replaced by a new one and the signature is asked for
    again; ECDSA is deterministic, so asking twice gives the same one. Public keys come from the
    HSM itself and never change. An owner has one signer at a time: a new one closes what
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

    async def public_key(self, key: str, *, path: KeyPath = ()) -> bytes:
        """The compressed SEC1 public key (33 bytes)."""
        if path:
            return bytes(await self._ask([key], "public_key", key, check_path(path)))
        known = self._public_keys.get(key)
        if known is None:
            view: KeyView = await self._actors.call(HSM, "key", key)
            if view.owner != self._owner:
                raise UnknownKeyError(key)
            known = self._public_keys[key] = bytes.fromhex(view.public_key)
        return known

    async def extended_public_key(self, key: str, path: KeyPath = (), *, testnet: bool = False) -> str:
        """The BIP32 extended public key at the path, as text."""
        return str(await self._ask([key], "extended_public_key", key, check_path(path), testnet))

    async def fingerprint(self, key: str) -> bytes:
        """The first four bytes of the HASH160 of the key itself."""
        return hash160(await self.public_key(key))[:4]

    async def sign_ecdsa(self, key: str, digest: bytes, *, path: KeyPath = ()) -> bytes:
        """DER signature (low S, RFC 6979) of a 32-byte digest; deterministic."""
        return (await self.sign_many([SignRequest(key, digest, "ecdsa-secp256k1", path)]))[0]

    async def sign_schnorr(
        self, key: str, message: bytes, *, path: KeyPath = (), taproot_merkle_root: bytes | None = None
    ) -> bytes:
        """BIP340 signature (64 bytes) of a 32-byte message, tweaked as BIP341 says if wanted."""
        request = SignRequest(key, message, "schnorr-bip340", path, taproot_merkle_root)
        return (await self.sign_many([request]))[0]

    async def sign_many(self, requests: Sequence[SignRequest]) -> tuple[bytes, ...]:
        """Many signatures, in order, in calls of up to 1024; all or none."""
        signatures: list[bytes] = []
        for start in range(0, len(requests), BATCH):
            batch = tuple(requests[start : start + BATCH])
            keys = list(dict.fromkeys(request.key for request in batch))
            signatures.extend(await self._ask(keys, "sign_many", batch))
        return tuple(signatures)

    async def shared_point(self, key: str, public_key: bytes, *, path: KeyPath = ()) -> bytes:
        """The public key times the private key (33 bytes)."""
        return bytes(await self._ask([key], "shared_point", key, public_key, check_path(path)))

    async def musig2_nonce(
        self, key: str, *, path: KeyPath = (), aggregate_key: bytes = b"", message: bytes | None = None
    ) -> bytes:
        """A fresh MuSig2 public nonce (66 bytes), good for one signature in the present session."""
        return bytes(await self._ask([key], "musig2_nonce", key, check_path(path), aggregate_key, message))

    async def musig2_partial_sign(
        self, key: str, public_nonce: bytes, signing: MusigRound, *, path: KeyPath = ()
    ) -> bytes:
        """The partial signature (32 bytes); a session that replaced another has none of its nonces."""
        return bytes(
            await self._ask([key], "musig2_partial_sign", key, public_nonce, signing, check_path(path))
        )

    async def close(self) -> None:
        """Close the session, if one is open."""
        async with self._opening:
            session, self._session = self._session, None
        if session is not None:
            await self._close(session)

    async def _ask(self, keys: list[str], method: str, *arguments: Any) -> Any:
        session = await self._session_for(keys)
        try:
            return await self._actors.call(session.actor, method, *arguments)
        except (SessionClosedError, UnknownActorError):
            session = await self._session_for(keys, instead_of=session)
            return await self._actors.call(session.actor, method, *arguments)

    async def _session_for(self, keys: list[str], instead_of: SessionView | None = None) -> SessionView:
        """The open session unless it is ``instead_of``, extended if it lacks a key; else a new one."""
        async with self._opening:
            session = self._session
            if session is None or (instead_of is not None and session.session_id == instead_of.session_id):
                return await self._open(keys)
            missing = tuple(key for key in keys if key not in session.keys)
            if missing:
                try:
                    session = await self._extended(session, missing)
                except SessionClosedError:
                    return await self._open(keys)
            self._session = session
            return session

    async def _open(self, keys: list[str]) -> SessionView:
        """A new session for ``keys``, and those that the one before it held."""
        before, self._session = self._session, None
        if before is not None:
            keys = [*keys, *await self._usable(before.keys)]
        if self._first:
            await self._close_leftovers()
            self._first = False
        wanted = tuple(dict.fromkeys(keys))[:MAX_SESSION_KEYS]
        opened = await self._actors.call(
            HSM, "open_session", self._owner, wanted, message_id=self._message_id()
        )
        self._session = _session_view(opened)
        return self._session

    async def _extended(self, session: SessionView, keys: tuple[str, ...]) -> SessionView:
        if len(session.keys) + len(keys) > MAX_SESSION_KEYS:
            await self._close(session)
            raise SessionClosedError(session.session_id, "it holds as many keys as one may")
        arguments = (session.session_id, keys)
        return _session_view(
            await self._actors.call(HSM, "extend_session", *arguments, message_id=self._message_id())
        )

    async def _usable(self, keys: tuple[str, ...]) -> list[str]:
        """Those that may still be used: a key disabled meanwhile must not stop the others."""
        views: list[KeyView] = await self._actors.call(HSM, "keys", self._owner)
        enabled = {view.name for view in views if view.enabled}
        return [key for key in keys if key in enabled]

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


def _session_view(answer: object) -> SessionView:
    if not isinstance(answer, SessionView):
        raise TypeError(f"an opening was answered with {type(answer).__name__}")
    return answer
