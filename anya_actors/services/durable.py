"""The engine that every durable service runs on: load, step, commit, perform.

What it promises, whatever crashes when:

* A call that returned has been committed. Repeating it with the same message id returns the same
  answer and changes nothing.
* A command that was committed is performed until it is settled, by this process or a successor.
  What performing it led to is committed together with its settling, so it counts exactly once.
* A published event was committed with the state that it tells of, and reaches the bus.
* One key is changed by one call at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

import msgspec
import structlog

from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import AnyaError, Command, Event, Step, SystemEvent
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import (
    Commit,
    FencedError,
    MessageAppliedError,
    Owed,
    StateStore,
    StoreFullError,
    VersionConflictError,
)
from anya_actors.services.event_relay import EventRelay

S = TypeVar("S")
R = TypeVar("R")

Perform = Callable[[str, Command, str], Awaitable[Event | None]]
"""``perform(key, command, effect_id)``: do what is owed; the event returned is what came of it."""

CACHED_STATES = 4096
REPLY_RETENTION_MS = 7 * 24 * 3600 * 1000

# A commit that ended with one of these has certainly not happened.
DEFINITE = (VersionConflictError, MessageAppliedError, FencedError, StoreFullError)

_log = structlog.get_logger(__name__)


class IdempotencyConflictError(AnyaError):
    """A message id that was used before for another request."""

    code = "idempotency-conflict"
    message = "message id {} was used for another request"
    remedy = "Use a new message id (HTTP: Idempotency-Key) for each new request."

    def __init__(self, message_id: str) -> None:
        super().__init__(message_id)


class InvalidMessageIdError(AnyaError):
    """A message id that the engine does not take."""

    code = "invalid-message-id"
    message = "a message id has 1 to 255 characters and does not begin with 'effect/'"
    remedy = "Use a UUID."


@dataclass(frozen=True, slots=True)
class Rules(Generic[S, R]):
    """What differs from one durable service to the next.

    ``answer`` makes, of the new state, what the call returns and its repetitions return again;
    keep it small where states are large.
    """

    state: Schema[S]
    command: Schema[Command]
    event: Schema[SystemEvent]
    initial: Callable[[str], S]
    step: Callable[[S, Event], Step[S]]
    reply: Schema[R]
    answer: Callable[[S, Event], R]


def rules_answering_with_state(
    *,
    state: Schema[S],
    command: Schema[Command],
    event: Schema[SystemEvent],
    initial: Callable[[str], S],
    step: Callable[[S, Event], Step[S]],
) -> Rules[S, S]:
    """`Rules` whose calls return the state that they led to."""
    return Rules(state, command, event, initial, step, state, lambda new_state, _: new_state)


class DurableEngine(Generic[S, R]):
    """Runs `Rules` over one `StateStore`. All methods belong to one event loop."""

    def __init__(
        self,
        *,
        store: StateStore,
        rules: Rules[S, R],
        perform: Perform,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._store = store
        self._rules = rules
        self._perform = perform
        self._clock = clock
        self._randomness = randomness
        self._backoff = backoff or Backoff()
        self._relay = EventRelay(store, bus, clock, randomness, self._backoff)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._cache: OrderedDict[str, tuple[int, S]] = OrderedDict()
        self._owed: dict[str, deque[Owed]] = {}
        self._known: set[int] = set()
        self._performers: dict[str, asyncio.Task[None]] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._settled = asyncio.Condition()
        self._fenced: FencedError | None = None

    # -- what services call -------------------------------------------------------------------

    async def resume(self) -> None:
        """Begin to perform what a dead predecessor still owed. Call it once, first."""
        await self._take_up_owed()
        self._relay.start()
        self._start_chore(self._forget_old_replies())

    async def handle(self, key: str, event: Event, *, message_id: str, request: object = None) -> R:
        """Apply ``event`` to ``key`` once per ``message_id``; return the first application's answer.

        ``request`` is what makes two calls "the same request" where the event itself cannot
        (it holds something drawn by chance); by default the event. Raises what ``step`` raises
        (nothing was changed), `IdempotencyConflictError`, or what `StateStore.commit` raises.
        """
        if not 1 <= len(message_id) <= 255 or message_id.startswith("effect/"):
            raise InvalidMessageIdError
        fingerprint = _fingerprint(key, event if request is None else request)
        async with self._lock(key):
            answered = await self._answered(message_id, fingerprint)
            if answered is not None:
                return answered
            try:
                return await self._apply(key, event, message_id, fingerprint, ())
            except MessageAppliedError:
                answered = await self._answered(message_id, fingerprint)
                if answered is None:
                    raise
                return answered

    async def answered(self, key: str, message_id: str, request: object) -> R | None:
        """The answer to a message applied before, or None: ask before drawing anything by chance.

        ``request`` must be the one that is then given to `handle`.
        """
        return await self._answered(message_id, _fingerprint(key, request))

    async def load(self, key: str) -> S:
        """The key's state as last committed, or its initial state."""
        return (await self._load(key))[1]

    async def exists(self, key: str) -> bool:
        """Whether anything was ever committed under ``key``."""
        return (await self._load(key))[0] > 0

    async def keys(self, prefix: str = "") -> list[str]:
        """Every key that begins with ``prefix``."""
        return await self._store.keys(prefix)

    async def settled(self, key: str) -> None:
        """Wait until nothing is owed for ``key``."""
        async with self._settled:
            await self._settled.wait_for(lambda: key not in self._owed or self._fenced is not None)
        if self._fenced is not None:
            raise self._fenced

    @property
    def owed_count(self) -> int:
        """How many commands are owed now, over all keys."""
        return sum(len(queue) for queue in self._owed.values())

    async def check_health(self) -> None:
        """Raise `FencedError` when this copy may no longer act."""
        if self._fenced is not None:
            raise self._fenced

    async def close(self) -> None:
        """Stop performing and release the store; what is still owed stays owed."""
        tasks = [*self._performers.values(), *self._chores]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._relay.close()
        await self._store.close()

    # -- decide and commit --------------------------------------------------------------------

    async def _apply(
        self, key: str, event: Event, message_id: str, fingerprint: bytes, settles: tuple[int, ...]
    ) -> R:
        rules = self._rules
        version, state = await self._load(key)
        outcome = rules.step(state, event)
        answer = rules.answer(outcome.state, event)
        commands = tuple(rules.command.encode(command) for command in outcome.commands)
        commit = Commit(
            key=key,
            expected_version=version,
            state=rules.state.encode(outcome.state),
            message_id=message_id,
            fingerprint=fingerprint,
            reply=rules.reply.encode(answer),
            commands=commands,
            events=tuple(rules.event.encode(published) for published in outcome.events),
            settles=settles,
            at_unix_ms=self._clock.now_unix_ms(),
        )
        sequences = await self._commit(commit)
        self._remember(key, version + 1, outcome.state)
        self._owe(Owed(sequence, key, command) for sequence, command in zip(sequences, commands, strict=True))
        if outcome.events:
            self._relay.notify()
        return answer

    async def _commit(self, commit: Commit) -> tuple[int, ...]:
        try:
            return await self._store.commit(commit)
        except FencedError as error:
            await self._stop_acting(error)
            raise
        except DEFINITE:
            self._cache.pop(commit.key, None)
            raise
        except BaseException:
            # It may have happened. Forget what we believe and learn what is owed from the store.
            self._cache.pop(commit.key, None)
            if commit.commands:
                self._start_chore(self._take_up_owed_until_read())
            raise

    async def _answered(self, message_id: str, fingerprint: bytes) -> R | None:
        applied = await self._store.applied(message_id)
        if applied is None:
            return None
        if applied.fingerprint != fingerprint:
            raise IdempotencyConflictError(message_id)
        return self._rules.reply.decode(applied.reply)

    async def _load(self, key: str) -> tuple[int, S]:
        cached = self._cache.get(key)
        if cached is not None:
            self._cache.move_to_end(key)
            return cached
        stored = await self._store.load(key)
        if stored is None:
            return 0, self._rules.initial(key)
        # Not cached here: a reader without the key's lock may hold an older version than a commit
        # that finished in the meantime.
        return stored.version, self._rules.state.decode(stored.state)

    def _remember(self, key: str, version: int, state: S) -> None:
        self._cache[key] = (version, state)
        self._cache.move_to_end(key)
        if len(self._cache) > CACHED_STATES:
            self._cache.popitem(last=False)

    def _lock(self, key: str) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            self._locks[key] = lock = asyncio.Lock()
        return lock

    # -- perform what is owed -----------------------------------------------------------------

    async def _take_up_owed(self) -> None:
        self._owe(await self._store.owed())

    async def _take_up_owed_until_read(self) -> None:
        await self._persist(self._take_up_owed, "owed commands could not be read")

    def _owe(self, owed: Any) -> None:
        for one in cast("list[Owed]", sorted(owed, key=lambda each: each.sequence)):
            if one.sequence in self._known:
                continue
            self._known.add(one.sequence)
            self._owed.setdefault(one.key, deque()).append(one)
            if one.key not in self._performers:
                self._performers[one.key] = asyncio.create_task(self._perform_all(one.key))

    async def _perform_all(self, key: str) -> None:
        try:
            queue = self._owed[key]
            while queue:
                owed = queue[0]
                await self._persist(lambda owed=owed: self._perform_one(owed), "an owed command failed")  # type: ignore[misc]
                if self._fenced is not None:
                    return
                queue.popleft()
                self._known.discard(owed.sequence)
            del self._owed[key]
        finally:
            self._performers.pop(key, None)
            async with self._settled:
                self._settled.notify_all()

    async def _perform_one(self, owed: Owed) -> None:
        command = self._rules.command.decode(owed.command)
        effect_id = f"{self._store.actor}/{owed.sequence}"
        event = await self._perform(owed.key, command, effect_id)
        if event is None:
            await self._store.settle(owed.sequence)
            return
        message_id = f"effect/{owed.sequence}"
        async with self._lock(owed.key):
            if await self._store.applied(message_id) is not None:
                return
            try:
                await self._apply(
                    owed.key, event, message_id, _fingerprint(owed.key, event), (owed.sequence,)
                )
            except MessageAppliedError:
                return

    async def _persist(self, attempt: Callable[[], Awaitable[None]], complaint: str) -> None:
        """Try until it succeeds, backing off; end at once when fenced."""
        tries = 0
        while self._fenced is None:
            try:
                await attempt()
            except FencedError as error:
                await self._stop_acting(error)
            except Exception as error:  # noqa: BLE001 - whatever it was, the debt remains
                _log.warning(complaint, actor=self._store.actor, error=str(error), tries=tries + 1)
                await self._clock.sleep(self._backoff.delay_s(tries, self._randomness.uniform()))
                tries += 1
            else:
                return

    async def _stop_acting(self, error: FencedError) -> None:
        self._fenced = error
        async with self._settled:
            self._settled.notify_all()

    async def _forget_old_replies(self) -> None:
        before = self._clock.now_unix_ms() - REPLY_RETENTION_MS

        async def forget() -> None:
            await self._store.forget_replies(before)

        await self._persist(forget, "old replies could not be dropped")

    def _start_chore(self, chore: Any) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _fingerprint(key: str, request: object) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode((key, request))).digest()
