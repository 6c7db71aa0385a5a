"""The HSM's stored records, changed only together with the audit entry that tells of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import msgspec

from anya_actors.domain.hsm import machine
from anya_actors.domain.hsm.audit import OK, AuditRecord
from anya_actors.domain.hsm.errors import (
    AlteredKeyError,
    ApprovalNeededError,
    AuditUnavailableError,
    ClientExistsError,
    InvalidScopeError,
    KeyExhaustedError,
    KeyExistsError,
    OperationRefusedError,
    RevocationLimitError,
    SessionClosedError,
    SessionLimitError,
    UnknownClientError,
    UnknownKeyError,
    WaitingPeriodError,
    WrongPassphraseError,
)
from anya_actors.domain.hsm.key_life import check_wrapping
from anya_actors.domain.hsm.machine import Record, Reply
from anya_actors.domain.hsm.metrics import Latencies, OperationMetrics
from anya_actors.domain.hsm.records import DiscardHandles, RecordAudit
from anya_actors.domain.hsm.slots import KeySlot
from anya_actors.domain.keys.algorithms import InvalidCiphertextError
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import (
    AnyaError,
    Command,
    Event,
    InvalidInputError,
    NotSupportedError,
    Step,
)
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.passphrase import PassphraseSourceError
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import StateStore
from anya_actors.services.durable import DurableEngine, Rules
from anya_actors.services.hsm.audit import AuditTrail

R = TypeVar("R")

# What a caller may be told no with; each one leaves an entry.
REFUSALS: Final = (
    AlteredKeyError,
    ApprovalNeededError,
    ClientExistsError,
    InvalidCiphertextError,
    InvalidInputError,
    InvalidScopeError,
    KeyExhaustedError,
    KeyExistsError,
    NotSupportedError,
    OperationRefusedError,
    PassphraseSourceError,
    RevocationLimitError,
    SessionClosedError,
    SessionLimitError,
    UnknownClientError,
    UnknownKeyError,
    WaitingPeriodError,
    WrongPassphraseError,
)
SHOWN_CHARACTERS: Final = 128

RULES: Final[Rules[Record, Reply]] = Rules(
    state=machine.STATE,
    command=machine.COMMAND,
    event=machine.EVENT,
    initial=machine.initial,
    step=machine.step,
    reply=machine.REPLY,
    answer=machine.answer,
)


class AuditedRecords:
    """The durable engine and the audit trail behind one door.

    `change` commits a new state together with the audit entry that it owes, and returns when that
    entry is on disk: after a crash in between, the successor writes the entry.
    """

    def __init__(
        self,
        *,
        store: StateStore,
        trail: AuditTrail,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus | None,
        audit_timeout_s: float,
        discard: Callable[[Secret], None],
    ) -> None:
        self._discard = discard
        self.trail = trail
        self.clock = clock
        self.randomness = randomness
        self._actor = store.actor
        self._audit_timeout_s = audit_timeout_s
        self._failures: dict[asyncio.Future[None], str] = {}
        self.metrics = OperationMetrics()
        self.commits = Latencies()
        self.began_unix_ms = clock.now_unix_ms()
        self._oldest_kek = 0
        self.engine: DurableEngine[Record, Reply] = DurableEngine(
            store=store,
            rules=dataclasses.replace(RULES, step=self._step),
            perform=self._perform,
            clock=clock,
            randomness=randomness,
            bus=bus,
        )

    def entry(
        self,
        operation: str,
        *,
        owner: str,
        key: str = "",
        key_version: int = 0,
        algorithm: str = "",
        outcome: str = OK,
        actor: str = "",
        count: int = 1,
        detail: str = "",
    ) -> AuditRecord:
        """An audit record of now. Its request id is given when it is recorded."""
        return AuditRecord(
            request_id=self.fresh_id(),
            at_unix_ms=self.clock.now_unix_ms(),
            actor=actor or self._actor,
            owner=owner[:SHOWN_CHARACTERS],
            operation=operation,
            key=key[:SHOWN_CHARACTERS],
            key_version=key_version,
            algorithm=algorithm,
            outcome=outcome,
            count=count,
            detail=detail[:SHOWN_CHARACTERS] or msgspec.UNSET,
        )

    def fresh_id(self) -> str:
        """An id that no caller can guess or use up."""
        return f"hsm/{self.randomness.token_bytes(16).hex()}"

    async def load(self, key: str, kind: type[R]) -> R:
        """The record under ``key``, which is of this kind."""
        record: Any = await self.engine.load(key)
        if not isinstance(record, kind):
            raise TypeError(f"{key} holds a {type(record).__name__}")
        return record

    async def change(self, key: str, event: Event, *, message_id: str = "", request: object = None) -> Reply:
        """Apply an event once; return when it is committed and audited."""
        reply = await self.engine.handle(
            key, event, message_id=message_id or self.fresh_id(), request=request
        )
        await self.audited(key)
        return reply

    async def wait_wrapped_by(self, kek_version: int) -> None:
        """From the return on, nothing more is committed that an older key-encryption key wrapped."""
        await self.engine.wait_decided()  # what was wrapped before there was a newer one may still pass
        self._oldest_kek = kek_version
        await self.engine.wait_decided()

    async def answered(self, key: str, message_id: str, request: object) -> Reply | None:
        """The answer that a repeated call gets, once its audit entry is durable; None for a new call."""
        reply = await self.engine.answered(key, message_id, request)
        if reply is not None:
            await self.audited(key)
        return reply

    async def audited(self, key: str) -> None:
        """Wait until the entries owed by ``key`` are durable; raise why they are not.

        They stay owed, and are tried again in the background.
        """
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        settled = asyncio.ensure_future(self.engine.settled(key))
        self._failures[failed] = key
        try:
            done, _ = await asyncio.wait(
                (settled, failed), timeout=self._audit_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise AuditUnavailableError(self._audit_timeout_s)
            await (settled if settled in done else failed)
        finally:
            del self._failures[failed]
            failed.cancel()
            settled.cancel()

    async def note(self, *records: AuditRecord) -> None:
        """Make records durable that no change of state goes with."""
        try:
            async with asyncio.timeout(self._audit_timeout_s):
                await self._append(*records)
        except TimeoutError:
            raise AuditUnavailableError(self._audit_timeout_s) from None

    @asynccontextmanager
    async def refusals(
        self, operation: str, owner: str, key: str = "", algorithm: str = ""
    ) -> AsyncIterator[None]:
        """Leave an entry for a refusal that is raised inside; time what succeeds."""
        began_s = self.clock.monotonic_s()
        try:
            yield
            self.metrics.observe(owner, key, algorithm, operation, self.clock.monotonic_s() - began_s)
        except REFUSALS as error:
            await self.note(self.entry(operation, owner=owner, key=key, outcome=f"refused: {error.code}"))
            raise

    def _step(self, record: Record, event: Event) -> Step[Record]:
        outcome = machine.step(record, event)
        if isinstance(record, KeySlot) and isinstance(outcome.state, KeySlot):
            check_wrapping(record, outcome.state, self._oldest_kek)
        return outcome

    async def _perform(self, key: str, command: Command, effect_id: str) -> None:
        try:
            match command:
                case RecordAudit():
                    await self._append(command.record.of_request(effect_id))
                case DiscardHandles():
                    for handle in command.handles:
                        self._discard(Secret(handle))
                case _:
                    raise NotSupportedError(type(command).__name__, "the HSM owes no such thing")
        except AnyaError as error:
            # The engine tries again; whoever waits should hear why.
            for waiting, waited_for in self._failures.items():
                # The log is everyone's, what is to be discarded is of one key.
                if not waiting.done() and (isinstance(command, RecordAudit) or waited_for == key):
                    waiting.set_exception(error)
            raise

    async def _append(self, *records: AuditRecord) -> None:
        began_s = self.clock.monotonic_s()
        await self.trail.append(*records)
        self.commits.observe(self.clock.monotonic_s() - began_s)
        for each in records:
            self.metrics.count(each.owner, each.key, each.algorithm, each.operation, each.outcome, each.count)
