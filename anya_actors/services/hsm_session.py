"""One HSM session: a process of its own that holds the keys it was opened for, and no others."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.hsm.audit import OK, OperationRecord
from anya_actors.domain.hsm.errors import OperationRefusedError, SessionClosedError, UnknownKeyError
from anya_actors.domain.hsm.parcel import KeyParcel, ParcelKey, unpack_parcel
from anya_actors.domain.keys.algorithms import InvalidSignatureError
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.ports.actors import Actors
from anya_actors.ports.clock import Clock
from anya_actors.ports.key_algorithms import KeyAlgorithms, SigningKey
from anya_actors.ports.process_guard import ProcessGuard
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import SealedBoxes

HSM: Final = "hsm/main"
MAX_BATCH: Final = 1024
CLOSING_TIMEOUT_S: Final = 2.0

REFUSALS: Final = (InvalidInputError, InvalidSignatureError, OperationRefusedError, UnknownKeyError)


@dataclass(frozen=True, slots=True)
class _HeldKey:
    facts: ParcelKey
    signing_key: SigningKey

    def __repr__(self) -> str:
        return f"_HeldKey({self.facts.name!r})"


class HsmSessionService:
    """Signs and verifies with the session's keys, each operation audited by the HSM before its answer.

    The HSM refuses the audit entries of a session that is closed, so a session that was revoked
    answers nothing more, whatever it still holds. A process that comes to life for a session whose
    keys went to an earlier process gets none: it answers `SessionClosedError` to everything.
    """

    def __init__(
        self,
        *,
        session_id: str,
        actors: Actors,
        algorithms: KeyAlgorithms,
        boxes: SealedBoxes,
        guard: ProcessGuard,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._session_id = session_id
        self._actors = actors
        self._algorithms = algorithms
        self._boxes = boxes
        self._guard = guard
        self._clock = clock
        self._randomness = randomness
        self._held: dict[str, _HeldKey] = {}
        self._over: str | None = "its keys are not there yet"
        self._ends_s = 0.0
        self._idle_timeout_s = 0
        self._used_s = 0.0
        self._watch: asyncio.Task[None] | None = None

    async def resume(self) -> None:
        """Ask the HSM for the keys, sealed to a key pair that only this process has."""
        self._guard.harden()
        recipient = self._boxes.recipient()
        try:
            box = await self._actors.call(HSM, "release_keys", self._session_id, recipient.public_key)
            with recipient.open(box) as packed:
                self._guard.lock(packed.buffer)
                self._begin(unpack_parcel(packed))
        except SessionClosedError as error:
            # Not a fault of this process: stay, and tell every caller.
            self._end(str(error.args[1]))
        finally:
            recipient.wipe()

    async def check_health(self) -> None:
        """A session is healthy also when it is over: it answers so."""

    async def close(self) -> None:
        """Forget the keys, and tell the HSM that the session is over: no other process may revive it."""
        was_open = self._over is None
        self._end("its process was stopped")
        if was_open:
            with contextlib.suppress(AnyaError):  # the HSM may be gone already; then time ends it
                await self._actors.call(
                    HSM,
                    "close_session",
                    self._session_id,
                    message_id=self._message_id(),
                    timeout_s=CLOSING_TIMEOUT_S,
                )

    async def public_key(self, key: str) -> bytes:
        """SEC1 compressed (33 bytes, secp256k1) or 32 bytes (Ed25519)."""
        held = await self._permitted("public-key", key, None)
        await self._record("public-key", key, held.facts.version)
        return held.facts.public_key

    async def sign(self, key: str, message: bytes, algorithm: str) -> bytes:
        """Sign a message (``ed25519``) or a 32-byte digest (``ecdsa-secp256k1``, ``schnorr-bip340``).

        Returns DER with low S, or 64 bytes. Raises `SessionClosedError`, `UnknownKeyError`,
        `OperationRefusedError`, `InvalidInputError`, `AuditUnavailableError`.
        """
        return (await self.sign_batch(key, (message,), algorithm))[0]

    async def sign_batch(self, key: str, messages: tuple[bytes, ...], algorithm: str) -> tuple[bytes, ...]:
        """Sign up to 1024 messages; all or none. One audit entry counts them."""
        held = await self._permitted("sign", key, "sign", algorithm, len(messages))
        try:
            if not 1 <= len(messages) <= MAX_BATCH:
                raise InvalidInputError("messages", f"send 1 to {MAX_BATCH}")
            signatures = tuple(held.signing_key.sign(message, algorithm) for message in messages)
        except REFUSALS as error:
            await self._record("sign", key, held.facts.version, algorithm, _refused(error), len(messages))
            raise
        await self._record("sign", key, held.facts.version, algorithm, OK, len(messages))
        return signatures

    async def verify(self, key: str, message: bytes, signature: bytes, algorithm: str) -> None:
        """Return if ``signature`` is one of ``message`` by ``key``; raise `InvalidSignatureError`."""
        held = await self._permitted("verify", key, "verify", algorithm)
        facts = held.facts
        try:
            self._algorithms.verify(facts.key_type, facts.public_key, message, signature, algorithm)
        except REFUSALS as error:
            await self._record("verify", key, facts.version, algorithm, _refused(error))
            raise
        await self._record("verify", key, facts.version, algorithm)

    # -- inside -------------------------------------------------------------------------------

    def _begin(self, parcel: KeyParcel) -> None:
        for facts in parcel.keys:
            private_key = Secret(facts.private_key)
            with private_key:
                signing_key = self._algorithms.load(facts.key_type, private_key)
            public = ParcelKey(
                facts.name, facts.key_type, facts.version, facts.operations, facts.public_key, b""
            )
            self._held[facts.name] = _HeldKey(public, signing_key)
        session, now_s = parcel.session, self._clock.monotonic_s()
        left_ms = session.opened_unix_ms + session.absolute_timeout_s * 1000 - self._clock.now_unix_ms()
        self._ends_s = now_s + left_ms / 1000
        self._idle_timeout_s = session.idle_timeout_s
        self._used_s = now_s
        self._over = None
        self._watch = asyncio.create_task(self._end_in_time())

    async def _end_in_time(self) -> None:
        """Wipe the keys when time is up, also if nobody ever calls again."""
        while self._over is None:
            left_s = min(self._ends_s, self._used_s + self._idle_timeout_s) - self._clock.monotonic_s()
            if left_s > 0:
                await self._clock.sleep(left_s)
            self._check_time()

    def _check_time(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._over is None and now_s >= self._ends_s:
            self._end("its time is over")
        if self._over is None and now_s >= self._used_s + self._idle_timeout_s:
            self._end(f"it was idle for {self._idle_timeout_s} s")

    def _end(self, reason: str) -> None:
        self._over = reason
        for held in self._held.values():
            held.signing_key.wipe()
        self._held.clear()
        if self._watch is not None and self._watch is not _current_task():
            self._watch.cancel()
        self._watch = None

    async def _permitted(
        self, operation: str, key: str, needed: str | None, algorithm: str = "", count: int = 1
    ) -> _HeldKey:
        self._check_time()
        if self._over is not None:
            raise SessionClosedError(self._session_id, self._over)
        held = self._held.get(key)
        try:
            if held is None:
                raise UnknownKeyError(key)
            if needed is not None and needed not in held.facts.operations:
                raise OperationRefusedError(key, needed)
        except REFUSALS as error:
            version = 0 if held is None else held.facts.version
            await self._record(operation, key, version, algorithm, _refused(error), count)
            raise
        return held

    async def _record(
        self, operation: str, key: str, version: int, algorithm: str = "", outcome: str = OK, count: int = 1
    ) -> None:
        record = OperationRecord(operation, key[:128], version, algorithm[:32], outcome, count)
        try:
            await self._actors.call(
                HSM, "append_audit", self._session_id, (record,), message_id=self._message_id()
            )
        except SessionClosedError as error:
            self._end(str(error.args[1]))
            raise
        self._used_s = self._clock.monotonic_s()

    def _message_id(self) -> str:
        return f"{self._session_id}/{self._randomness.token_bytes(16).hex()}"


def _refused(error: Exception) -> str:
    return f"refused: {getattr(error, 'code', 'error')}"


def _current_task() -> asyncio.Task[None] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs: the process is ending
        return None
