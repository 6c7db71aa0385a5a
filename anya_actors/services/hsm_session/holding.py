"""What a session holds: its keys, from their release by the HSM until its time is over."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.hsm.errors import OperationRefusedError, SessionClosedError
from anya_actors.domain.hsm.parcel import KeyParcel, ParcelKey, unpack_parcel
from anya_actors.domain.hsm.policy import check_not_expired, check_path_allowed
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.operations import KeyPath, check_path
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.clock import Clock
from anya_actors.ports.key_algorithms import KeyAlgorithms, PrivateKey
from anya_actors.ports.sealing import Recipient, SealedBoxes
from anya_actors.services.hardening import Hardening

TELLING_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A key ready for use, and its policy."""

    facts: ParcelKey
    private: PrivateKey

    def __repr__(self) -> str:
        return f"HeldKey({self.facts.name!r})"


class SessionKeys:
    """The keys of one session, in this process alone.

    The HSM releases them to the key pair of this process, those that the session is opened for
    later too. They are wiped when the session ends, also if nobody ever calls again.
    """

    def __init__(
        self,
        session_id: str,
        *,
        actors: Actors,
        algorithms: KeyAlgorithms,
        boxes: SealedBoxes,
        hardening: Hardening,
        clock: Clock,
    ) -> None:
        self._session_id = session_id
        self._actors = actors
        self._algorithms = algorithms
        self._hardening = hardening
        self._clock = clock
        self._recipient: Recipient | None = boxes.recipient()
        self._held: dict[str, dict[int, HeldKey]] = {}  # each one's versions, oldest first
        self._fetching = asyncio.Lock()
        self._told: tuple[str, ...] = ()  # what the HSM knows that the system refuses
        self._forgotten = 0  # how often a key had changed
        self._over: str | None = "its keys are not there yet"
        self._ends_s = 0.0
        self._idle_timeout_s = 0
        self._used_s = 0.0
        self._watch: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._over is None

    @property
    def held(self) -> tuple[HeldKey, ...]:
        """What is in this process now."""
        return tuple(held for versions in self._held.values() for held in versions.values())

    async def begin(self) -> None:
        """Take the keys and let the session's time run; raise `SessionClosedError`."""
        self._begin(await self._fetch(()))

    async def key(self, name: str, version: int = 0) -> HeldKey:
        """One version of a key, 0 for the newest; fetched from the HSM if it was added later.

        Raises `SessionClosedError`, `UnknownKeyError` and `InvalidInputError`.
        """
        self.check_open()
        while name not in self._held:  # it may have changed again before we got to use it
            async with self._fetching:
                if name not in self._held:
                    await self._fetch((name,))
            self.check_open()
        versions = self._held[name]
        held = versions.get(version or max(versions))
        if held is None:
            raise InvalidInputError("version", f"version {version} of key {name} may not be used")
        check_not_expired(held.facts.policy, name, self._clock.now_unix_ms())
        return held

    async def permitted(
        self, name: str, needed: str | None, path: KeyPath, version: int = 0, *, alone: bool = False
    ) -> HeldKey:
        """As `key`, if the key may do what is ``needed`` at ``path``, else `OperationRefusedError`.

        What takes approvals is done ``alone``, by `HsmSessionService.perform`: the HSM counts them there.
        """
        if path:
            check_path(path)
        held = await self.key(name, version)
        if needed is not None and needed not in held.facts.operations:
            raise OperationRefusedError(name, needed)
        if needed in held.facts.policy.guarded and not alone:
            raise InvalidInputError("operations", f"what takes approvals of key {name} is asked for alone")
        check_path_allowed(held.facts.policy, name, path)
        return held

    def holds(self, held: HeldKey) -> bool:
        """Whether this key is still in use, not wiped meanwhile."""
        return self._held.get(held.facts.name, {}).get(held.facts.version) is held

    def forget(self, name: str) -> None:
        """Wipe a key that has changed; the next use fetches it as it is then."""
        self._forgotten += 1
        self._told = ()
        for held in self._held.pop(name, {}).values():
            held.private.wipe()

    def is_guarded(self, name: str) -> bool:
        """Whether anything of a key that is held takes approvals."""
        return any(held.facts.policy.guarded for held in self._held.get(name, {}).values())

    def newest_version(self, name: str) -> int:
        """The newest version of a key that is held, else 0."""
        return max(self._held.get(name, {0: None}))

    def check_open(self) -> None:
        """Raise `SessionClosedError` once the session is over."""
        self._check_time()
        if self._over is not None:
            raise SessionClosedError(self._session_id, self._over)

    def touch(self) -> None:
        """The session was used just now."""
        self._used_s = self._clock.monotonic_s()

    def end(self, reason: str) -> None:
        """Wipe everything; every later call hears why."""
        self._over = reason
        for name in tuple(self._held):
            self.forget(name)
        if self._recipient is not None:
            self._recipient.wipe()
        self._recipient = None
        if self._watch is not None and self._watch is not _current_task():
            self._watch.cancel()
        self._watch = None

    @property
    def _open_recipient(self) -> Recipient:
        """What opens the keys' boxes; raise `SessionClosedError` once the session is over."""
        if self._recipient is None:
            raise SessionClosedError(self._session_id, str(self._over))
        return self._recipient

    async def _fetch(self, names: tuple[str, ...]) -> SessionView:
        """Have the HSM seal keys to this process, and load them: those named, or all of the session."""
        forgotten, box = -1, b""
        while forgotten != self._forgotten:  # a box that was on its way may hold what a key was before
            forgotten = self._forgotten
            arguments = (self._session_id, self._open_recipient.public_key, *((names,) if names else ()))
            box = await self._actors.call(HSM, "release_keys", *arguments)
        with self._hardening.locked(self._open_recipient.open(box)) as packed:
            parcel = unpack_parcel(packed)
        try:
            self._load(parcel)
        finally:
            parcel.wipe()
        await self._tell_refused()
        return parcel.session

    async def _tell_refused(self) -> None:
        """Have the HSM show what the system refuses this process; it forgets that when it is restarted."""
        refused = self._hardening.refused
        if refused != self._told:
            with contextlib.suppress(AnyaError):  # nothing depends on it, and this process's log says it
                await self._actors.call(
                    HSM, "note_hardening", self._session_id, refused, timeout_s=TELLING_TIMEOUT_S
                )
                self._told = refused

    def _load(self, parcel: KeyParcel) -> None:
        for facts in parcel.keys:
            with Secret(facts.private_key) as private_key:
                private = self._loaded(facts, private_key)
            public = ParcelKey(
                facts.name,
                facts.key_type,
                facts.version,
                facts.operations,
                facts.public_key,
                b"",
                facts.policy,
                facts.encrypts,
            )
            self._held.setdefault(facts.name, {})[facts.version] = HeldKey(public, private)

    def _loaded(self, facts: ParcelKey, private_key: Secret) -> PrivateKey:
        if facts.policy.derived:
            convergent = facts.policy.convergent
            return self._algorithms.load_family(facts.key_type, private_key, convergent=convergent)
        return self._algorithms.load_any(facts.key_type, private_key)

    def _begin(self, session: SessionView) -> None:
        now_s = self._clock.monotonic_s()
        left_ms = session.opened_unix_ms + session.absolute_timeout_s * 1000 - self._clock.now_unix_ms()
        self._ends_s = now_s + left_ms / 1000
        self._idle_timeout_s = session.idle_timeout_s
        self._used_s = now_s
        self._over = None
        self._watch = asyncio.create_task(self._end_in_time())

    async def _end_in_time(self) -> None:
        while self._over is None:
            left_s = min(self._ends_s, self._used_s + self._idle_timeout_s) - self._clock.monotonic_s()
            if left_s > 0:
                await self._clock.sleep(left_s)
            self._check_time()

    def _check_time(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._over is None and now_s >= self._ends_s:
            self.end("its time is over")
        if self._over is None and now_s >= self._used_s + self._idle_timeout_s:
            self.end(f"it was idle for {self._idle_timeout_s} s")


def _current_task() -> asyncio.Task[None] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs: the process is ending
        return None
