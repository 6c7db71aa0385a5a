"""The engine that every durable service runs on: load, step, commit, perform.

What it promises, whatever crashes when:

* A call that returned has been committed. Repeating it with the same message id returns the same
  answer and changes nothing.
* A command that was committed is performed until it is settled, by this process or a successor.
  What performing it led to is committed together with its settling, so it counts exactly once.
* A published event was committed with the state that it tells of, and reaches the bus.
* One key is changed by one call at a time, and a caller that goes away breaks off nothing halfway.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

import msgspec

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
from anya_actors.services.outbox import Outbox

S = TypeVar("S")
R = TypeVar("R")

Perform = Callable[[str, Command, str], Awaitable[Event | None]]
"""``perform(key, command, effect_id)``: do what is owed; the event returned is what came of it."""

CACHED_STATES = 4096
REPLY_RETENTION_MS = 7 * 24 * 3600 * 1000
FORGET_EVERY_MS = 24 * 3600 * 1000

# A commit that ended with one of these has certainly not happened.
DEFINITE = (VersionConflictError, MessageAppliedError, FencedError, StoreFullError)


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
        backoff = backoff or Backoff()
        self._outbox = Outbox(store, self._perform_one, clock, randomness, backoff)
        self._relay = EventRelay(store, bus, clock, randomness, backoff)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._cache: OrderedDict[str, tuple[int, S]] = OrderedDict()
        self._doubtful: dict[str, int] = {}  # and which doubt it is
        self._doubts = 0
        self._calls: set[asyncio.Task[R]] = set()
        self._forgot_unix_ms = 0

    # -- what services call -------------------------------------------------------------------

    async def resume(self) -> None:
        """Begin to perform what a dead predecessor still owed. Call it once, first."""
        await self._outbox.take_up()
        self._relay.start()
        self._forget_daily()

    async def handle(self, key: str, event: Event, *, message_id: str, request: object = None) -> R:
        """Apply ``event`` to ``key`` once per ``message_id``; return the first application's answer.

        ``request`` is what makes two calls "the same request" where the event itself cannot
        (it holds something drawn by chance); by default the event. Raises what ``step`` raises
        (nothing was changed), `IdempotencyConflictError`, or what `StateStore.commit` raises.
        """
        if not 1 <= len(message_id) <= 255 or message_id.startswith("effect/"):
            raise InvalidMessageIdError
        self._outbox.verify_acting()
        fingerprint = _fingerprint(key, event if request is None else request)
        # A caller that is cancelled must not give up the key's lock while its commit is on the way.
        call = asyncio.create_task(self._handle(key, event, message_id, fingerprint))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return await asyncio.shield(call)

    async def answered(self, key: str, message_id: str, request: object) -> R | None:
        """The answer to a message applied before, or None: ask before drawing anything by chance.

        ``request`` must be the one that is then given to `handle`.
        """
        found = await self._answered(message_id, _fingerprint(key, request))
        return None if found is None else found[0]

    async def load(self, key: str) -> S:
        """The key's state as last committed, or its initial state."""
        self._outbox.verify_unfenced()  # fenced, what we remember may be old
        return (await self._load(key))[1]

    async def exists(self, key: str) -> bool:
        """Whether anything was ever committed under ``key``."""
        self._outbox.verify_unfenced()
        return (await self._load(key))[0] > 0

    async def keys(self, prefix: str = "") -> list[str]:
        """Every key that begins with ``prefix``."""
        return await self._store.keys(prefix)

    async def settled(self, key: str) -> None:
        """Wait until nothing is owed for ``key``.

        Raises `FencedError`, or `UnavailableError` when the engine is closed before.
        """
        await self._outbox.wait_settled(key)

    async def wait_decided(self) -> None:
        """Wait until each call that was made before has been committed, or never will be."""
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._clear_doubts()

    @property
    def owed_count(self) -> int:
        """How many commands are owed now, over all keys."""
        return self._outbox.owed_count

    async def check_health(self) -> None:
        """Raise `FencedError` when this copy may no longer act."""
        self._outbox.verify_unfenced()

    async def close(self) -> None:
        """Stop performing, let commits on their way end, release the store; debts stay owed."""
        self._outbox.begin_closing()
        await asyncio.gather(self._outbox.close(), *self._calls, return_exceptions=True)
        await self._relay.close()
        await self._store.close()

    # -- decide and commit --------------------------------------------------------------------

    async def _handle(self, key: str, event: Event, message_id: str, fingerprint: bytes) -> R:
        try:
            async with self._lock(key):
                await self._clear_doubt(key)
                answered = await self._answered(message_id, fingerprint)
                if answered is not None:
                    return answered[0]
                try:
                    return await self._apply(key, event, message_id, fingerprint, ())
                except MessageAppliedError:
                    answered = await self._answered(message_id, fingerprint)
                    if answered is None:
                        raise
                    return answered[0]
        except FencedError as error:
            await self._outbox.fence(error)
            raise

    async def _apply(
        self, key: str, event: Event, message_id: str, fingerprint: bytes, settles: tuple[int, ...]
    ) -> R:
        try:
            return await self._decide(key, event, message_id, fingerprint, settles)
        except VersionConflictError:
            # The state it was decided on was not the last one: decide once more.
            return await self._decide(key, event, message_id, fingerprint, settles)

    async def _decide(
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
        self._outbox.add(
            Owed(sequence, key, command) for sequence, command in zip(sequences, commands, strict=True)
        )
        if outcome.events:
            self._relay.notify()
        self._forget_daily()
        return answer

    async def _commit(self, commit: Commit) -> tuple[int, ...]:
        try:
            return await self._store.commit(commit)
        except FencedError as error:
            await self._outbox.fence(error)
            raise
        except DEFINITE:
            self._cache.pop(commit.key, None)
            raise
        except BaseException:
            # It may have happened. Forget what we believe and learn from the store what is owed.
            self._cache.pop(commit.key, None)
            self._doubts += 1
            self._doubtful[commit.key] = self._doubts
            self._outbox.persist(self._clear_doubts, "a commit stays in doubt")
            raise

    async def _clear_doubt(self, key: str) -> None:
        """Nothing new happens to ``key`` before it is known what did: or its commands change places."""
        if key in self._doubtful:
            await self._clear_doubts()

    async def _clear_doubts(self) -> None:
        cleared = dict(self._doubtful)
        if not cleared:
            return
        # Sequence 0 is never given: a write that changes nothing. Once it is through, each commit in
        # doubt is either in sight or will never be; a read alone could come too early to see it.
        await self._store.settle(0)
        await self._outbox.take_up()
        for key, doubt in cleared.items():
            if self._doubtful.get(key) == doubt:
                del self._doubtful[key]
        self._relay.notify()

    async def _answered(self, message_id: str, fingerprint: bytes) -> tuple[R] | None:
        applied = await self._store.applied(message_id)
        if applied is None:
            return None
        if applied.fingerprint != fingerprint:
            raise IdempotencyConflictError(message_id)
        return (self._rules.reply.decode(applied.reply),)

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

    async def _perform_one(self, owed: Owed) -> None:
        command = self._rules.command.decode(owed.command)
        effect_id = f"{self._store.actor}/{owed.sequence}"
        event = await self._perform(owed.key, command, effect_id)
        if event is None:
            await self._store.settle(owed.sequence)
            return
        message_id = f"effect/{owed.sequence}"
        async with self._lock(owed.key):
            await self._clear_doubt(owed.key)
            if await self._store.applied(message_id) is not None:
                return
            try:
                await self._apply(
                    owed.key, event, message_id, _fingerprint(owed.key, event), (owed.sequence,)
                )
            except MessageAppliedError:
                return

    def _forget_daily(self) -> None:
        # No timer: who commits nothing gathers no replies.
        now_unix_ms = self._clock.now_unix_ms()
        if now_unix_ms - self._forgot_unix_ms >= FORGET_EVERY_MS:
            self._forgot_unix_ms = now_unix_ms
            self._outbox.persist(self._forget_old_replies, "old replies could not be dropped")

    async def _forget_old_replies(self) -> None:
        await self._store.forget_replies(self._clock.now_unix_ms() - REPLY_RETENTION_MS)


def _fingerprint(key: str, request: object) -> bytes:
    return hashlib.sha256(msgspec.msgpack.encode((key, request))).digest()
