"""The desk where sessions are opened, given their keys, listened to and closed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.hsm.approvals import ApprovalsSpent, guard_of
from anya_actors.domain.hsm.audit import OK, AuditRecord, OperationRecord
from anya_actors.domain.hsm.errors import (
    ApprovalNeededError,
    KeyRateError,
    OperationRefusedError,
    SessionClosedError,
    UnknownKeyError,
)
from anya_actors.domain.hsm.machine import SESSIONS, key_of
from anya_actors.domain.hsm.parcel import KeyParcel, pack_parcel
from anya_actors.domain.hsm.rates import LastSecond
from anya_actors.domain.hsm.sessions import (
    MAX_KEYS,
    KeysReleased,
    Session,
    SessionClosed,
    SessionExtended,
    SessionOpened,
    SessionTable,
    find_session,
    session_view,
)
from anya_actors.domain.hsm.slots import KeySlot, SlotPhase, check_owner, check_use
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.machine import AnyaError, InvalidInputError, UnavailableError
from anya_actors.ports.actors import Actors
from anya_actors.ports.sealing import SealedBoxes
from anya_actors.services.hsm.endings import ProcessEndings
from anya_actors.services.hsm.keys import KeyRing
from anya_actors.services.hsm.records import SHOWN_CHARACTERS, AuditedRecords
from anya_actors.services.hsm.settings import HsmSettings
from anya_actors.services.hsm.starts import ProcessStarts

REFRESH_TIMEOUT_S: Final = 2.0
MAX_REFUSED: Final = 8


class SessionDesk:
    """Every open session. What is idle or old is found over whenever anyone asks.

    Idleness is measured by this process; after its restart every session counts as just used. A session
    that got its keys from a predecessor is told to forget them when it is first heard of: one of them
    may have been changed by a process that died before it could tell.
    """

    def __init__(
        self,
        records: AuditedRecords,
        keys: KeyRing,
        boxes: SealedBoxes,
        settings: HsmSettings,
        endings: ProcessEndings,
        actors: Actors | None = None,
    ) -> None:
        self._actors = actors
        self._rates: dict[str, LastSecond] = {}
        self._records = records
        self._keys = keys
        self._boxes = boxes
        self._settings = settings
        self._used_s: dict[str, float] = {}
        self._refused: dict[str, tuple[str, ...]] = {}  # what the system refuses their processes
        self._met: set[str] = set()  # sessions that hold nothing from before this process
        self._endings = endings
        self._starting = ProcessStarts(actors)

    async def open(self, owner: str, keys: tuple[str, ...], message_id: str) -> SessionView:
        """Open a session once per message id."""
        keys = tuple(dict.fromkeys(keys))
        request = ("open-session", owner, keys)
        view = await self._records.answered(SESSIONS, message_id, request)
        if view is None:
            async with self._records.refusals("open-session", owner, ",".join(keys)):
                await self._check_opening(owner, keys)
                await self.close_expired()
                event = self._opening(owner, keys)
                view = await self._records.engine.handle(
                    SESSIONS, event, message_id=message_id, request=request
                )
                self._starting.begin(_session_view(view).actor)
                await self._records.audited(SESSIONS)
                self._touch(_session_view(view).session_id)
        return _session_view(view)

    async def views(self) -> list[SessionView]:
        """Every open session, oldest first."""
        await self.close_expired()
        return [
            msgspec.structs.replace(
                session_view(session), hardening_refused=self._refused.get(session.session_id, ())
            )
            for session in (await self._table()).sessions
        ]

    async def note_hardening(self, session_id: str, refused: tuple[str, ...]) -> None:
        """What the system refuses a session's process; raise `SessionClosedError` if it is over."""
        await self.usable(session_id)
        self._refused[session_id] = tuple(each[:SHOWN_CHARACTERS] for each in refused[:MAX_REFUSED])

    async def extend(self, session_id: str, keys: tuple[str, ...], message_id: str) -> SessionView:
        """Open a session for more keys of its owner, once per message id."""
        request = ("extend-session", session_id, keys)
        view = await self._records.answered(SESSIONS, message_id, request)
        if view is None:
            session = await self.usable(session_id)
            async with self._records.refusals("extend-session", session.owner, ",".join(keys)):
                await self._check_opening(session.owner, tuple(dict.fromkeys((*session.keys, *keys))))
                audit = self._of_session("extend-session", session, keys)
                event = SessionExtended(session_id, keys, audit)
                view = await self._records.change(SESSIONS, event, message_id=message_id, request=request)
        return _session_view(view)

    async def release(self, session_id: str, recipient: bytes, keys: tuple[str, ...] = ()) -> bytes:
        """The session's keys, or some of them, sealed to the first process that asks."""
        if len(recipient) != 32:
            raise InvalidInputError("recipient_public_key", "an X25519 key has 32 bytes")
        try:
            session = await self.usable(session_id)
        except SessionClosedError:
            self._forget(session_id)  # a process came to life for a session that is over
            raise
        for key in keys:
            if key not in session.keys:
                raise UnknownKeyError(key)
        wanted = keys or session.keys
        audit = self._of_session("release-keys", session, wanted)
        await self._records.change(SESSIONS, KeysReleased(session_id, recipient, audit))
        if all(each.session_id != session_id for each in (await self._table()).sessions):
            self._forget(session_id)
            raise SessionClosedError(session_id, "its keys were released to an earlier process")
        parcel = KeyParcel(
            session_view(session),
            tuple([part for key in wanted for part in await self._keys.parcel_keys(key, session.owner)]),
        )
        try:
            # Only now: whatever closed it meanwhile, or gave it to another process, has been committed.
            session = find_session(await self._table(), session_id)
            if session.recipient != recipient:
                raise SessionClosedError(session_id, "its keys were released to another process")
            self._touch(session_id)
            if not keys:
                self._met.add(session_id)
            with pack_parcel(parcel) as packed:
                return self._boxes.seal(packed, recipient)
        finally:
            parcel.wipe()

    async def append(
        self, session_id: str, records: tuple[OperationRecord, ...], seconds: float, message_id: str
    ) -> None:
        """Make a session's operations durable; raise `SessionClosedError` if it may not act (any more)."""
        session = await self.usable(session_id)
        if not session.recipient:
            raise SessionClosedError(session_id, "its keys were never released")
        if session_id not in self._met:
            self._met.add(session_id)
            await self._refresh(session)
        slots = {key: await self._keys.slot(key) for key in {each.key for each in records} if key}
        entries = [
            self._records.entry(
                each.operation,
                owner=session.owner,
                key=each.key,
                key_version=each.key_version,
                algorithm=each.algorithm,
                outcome=each.outcome,
                actor=session.actor,
                count=each.count,
                detail=each.detail,
            ).of_request(f"{session.actor}/{message_id}/{index}")  # no id but the session's own
            for index, each in enumerate(records)
        ]
        try:
            self._check_rate(slots, records)
        except KeyRateError as error:
            await self._note_refused(error, entries)
            raise
        guards = [
            guard_of(slots[each.key], each.operation) if each.key and each.outcome == OK else None
            for each in records
        ]
        if any(guards):
            await self._spend(guards, records, entries, f"{session.actor}/{message_id}")
        else:
            await self._records.note(*entries)
        find_session(await self._table(), session_id)
        self._touch(session_id)
        self._observe(session.owner, records, seconds)

    async def _spend(
        self,
        guards: list[str | None],
        records: tuple[OperationRecord, ...],
        entries: list[AuditRecord],
        message_id: str,
    ) -> None:
        """Use up what was approved, in one commit with the entry; raise `ApprovalNeededError`."""
        record, guard = records[0], guards[0]
        try:
            if guard is None or len(records) > 1 or record.count != 1:
                raise InvalidInputError("operations", "what takes approvals is asked for alone")
            event = ApprovalsSpent(guard, record.digest, self._records.clock.now_unix_ms(), entries[0])
            request = ("spend", guard, record.digest)
            await self._records.change(key_of(record.key), event, message_id=message_id, request=request)
        except (ApprovalNeededError, InvalidInputError, OperationRefusedError) as error:
            await self._note_refused(error, entries)
            raise

    async def _note_refused(self, error: AnyaError, entries: list[AuditRecord]) -> None:
        outcome = f"refused: {error.code}"
        await self._records.note(*(msgspec.structs.replace(each, outcome=outcome) for each in entries))

    async def close(self, session_id: str, reason: str, message_id: str = "") -> None:
        """Close a session; one that is closed stays so."""
        sessions = {session.session_id: session for session in (await self._table()).sessions}
        owner = sessions[session_id].owner if session_id in sessions else ""
        actor = f"hsm-session/{session_id[:64]}"
        audit = self._records.entry("close-session", owner=owner, actor=actor, outcome=reason)
        await self._records.change(
            SESSIONS,
            SessionClosed(session_id, reason, audit),
            message_id=message_id,
            request=("close-session", session_id),
        )
        if session_id in sessions:
            self._forget(session_id)

    async def refresh_key(self, key: str) -> None:
        """Have every session that holds ``key`` fetch it anew; close one that does not hear.

        The change that was made holds from here on: no session acts by what it held before.
        """
        holding = [each for each in (await self._table()).sessions if key in each.keys and each.recipient]
        await asyncio.gather(*(self._refresh(session, key) for session in holding))

    async def _refresh(self, session: Session, key: str = "") -> None:
        """Have a session fetch a key anew, or all that it holds; close it if it does not hear."""
        forget = ("forget_key", key) if key else ("forget_keys",)
        try:
            if self._actors is None:
                raise UnavailableError(session.actor, "this HSM calls no other actor")
            await self._actors.call(session.actor, *forget, timeout_s=REFRESH_TIMEOUT_S)
        except AnyaError:
            changed = f"key {key} was changed" if key else "its keys may have changed"
            await self.close(session.session_id, f"{changed}, and it did not hear")

    def _check_rate(self, slots: dict[str, KeySlot], records: tuple[OperationRecord, ...]) -> None:
        """Raise `KeyRateError` for a key that would act more often in this second than it may."""
        now_s = self._records.clock.monotonic_s()
        for record in records:
            slot = slots.get(record.key)
            limit = 0 if slot is None else slot.policy.rate_per_s
            if slot is not None and limit and record.outcome == OK:
                rate = self._rates.setdefault(record.key, LastSecond())
                if not rate.take(now_s, record.count, limit):
                    raise KeyRateError(record.key, limit)

    def _observe(self, owner: str, records: tuple[OperationRecord, ...], seconds: float) -> None:
        """The operations of one call share its time evenly."""
        each_s = seconds / max(1, sum(each.count for each in records))
        for each in records:
            if each.outcome == OK:
                self._records.metrics.observe(
                    owner, each.key, each.algorithm, each.operation, each_s, each.count
                )

    async def close_with_key(self, key: str) -> None:
        """Close every session that was opened for ``key``."""
        for session in (await self._table()).sessions:
            if key in session.keys:
                await self.close(session.session_id, f"key {key} was disabled")

    async def close_of(self, owner: str, reason: str) -> None:
        """Close every session of ``owner``."""
        for session in (await self._table()).sessions:
            if session.owner == owner:
                await self.close(session.session_id, reason)

    async def close_with_ended_keys(self) -> None:
        """Close what a predecessor that died while it disabled or deleted a key left open."""
        for session in (await self._table()).sessions:
            for key in session.keys:
                phase = (await self._keys.slot(key)).phase
                if phase is not SlotPhase.ENABLED:
                    await self.close(session.session_id, f"key {key} was {phase.value}")
                    break

    async def close_expired(self) -> None:
        """Close what has been idle or open for too long."""
        for session in (await self._table()).sessions:
            reason = self._expiry(session)
            if reason is not None:
                await self.close(session.session_id, reason)

    async def _check_opening(self, owner: str, keys: tuple[str, ...]) -> None:
        if not 1 <= len(keys) <= MAX_KEYS:
            raise InvalidInputError("keys", f"name 1 to {MAX_KEYS} keys")
        check_owner(owner)
        for key in keys:
            slot = await self._keys.slot(key)
            check_use(slot, owner)
            self._keys.check_kept(slot)

    def _opening(self, owner: str, keys: tuple[str, ...]) -> SessionOpened:
        records, settings = self._records, self._settings
        session = Session(
            session_id=records.randomness.token_bytes(16).hex(),
            owner=owner,
            keys=keys,
            opened_unix_ms=records.clock.now_unix_ms(),
            idle_timeout_s=settings.session_idle_timeout_s,
            absolute_timeout_s=settings.session_absolute_timeout_s,
        )
        audit = self._of_session("open-session", session, keys)
        return SessionOpened(session, settings.session_limit, audit)

    def _of_session(self, operation: str, session: Session, keys: Sequence[str]) -> AuditRecord:
        named, detail = _names(keys)
        return self._records.entry(
            operation, owner=session.owner, key=named, actor=session.actor, detail=detail
        )

    async def usable(self, session_id: str) -> Session:
        """The session, if it is open and its time is not over; raise `SessionClosedError`."""
        session = find_session(await self._table(), session_id)
        reason = self._expiry(session)
        if reason is not None:
            await self.close(session_id, reason)
            raise SessionClosedError(session_id, reason)
        return session

    def _expiry(self, session: Session) -> str | None:
        if self._records.clock.now_unix_ms() >= session.ends_unix_ms:
            return f"it was open for {session.absolute_timeout_s} s"
        now_s = self._records.clock.monotonic_s()
        used_s = self._used_s.setdefault(session.session_id, now_s)
        if now_s - used_s >= session.idle_timeout_s:
            return f"it was idle for {session.idle_timeout_s} s"
        return None

    def _forget(self, session_id: str) -> None:
        """The session is over: have its process ended, which no one else would before it idles."""
        self._used_s.pop(session_id, None)
        self._met.discard(session_id)
        self._refused.pop(session_id, None)
        self._endings.schedule(f"hsm-session/{session_id}")

    def _touch(self, session_id: str) -> None:
        self._used_s[session_id] = self._records.clock.monotonic_s()

    async def _table(self) -> SessionTable:
        return await self._records.load(SESSIONS, SessionTable)


def _names(keys: Sequence[str]) -> tuple[str, str]:
    """How an audit entry names them: all, or those that it has room for and, as detail, a hash of all."""
    names = ",".join(keys)
    if len(names) <= SHOWN_CHARACTERS:
        return names, ""
    return names, f"{len(keys)} keys, SHA-256 {hashlib.sha256(names.encode()).hexdigest()}"


def _session_view(reply: object) -> SessionView:
    if not isinstance(reply, SessionView):
        raise TypeError(f"a session's change was answered with {type(reply).__name__}")
    return reply
