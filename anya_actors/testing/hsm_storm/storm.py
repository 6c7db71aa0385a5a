"""Callers that create, rotate, sign, encrypt, decrypt and issue, and a killer among them.

The claim under test: no key is lost, no nonce comes twice, the audit chain is whole and no answered
operation is missing from it. Calls and kills are drawn from a seed; their interleaving is the machine's.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.keys.operations import (
    OPERATION_OF,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    MusigRound,
    Request,
    SignRequest,
)
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import Actors
from anya_actors.testing.crash_safety import hold
from anya_actors.testing.hsm_storm.doors import Door, RayDoor
from anya_actors.testing.hsm_storm.record import SIGNATURES, KnownKey, MusigPart, Record, decryption_of

SESSION: Final = "hsm-session/"
PATIENCE: Final = 400
LASTING: Final = frozenset({"invalid-input", "key-exists", "unknown-key", "operation-refused"})
USED_UP: Final = frozenset({"musig2-nonce-used", "musig2-nonce-lost"})

COUNTED: Final = KeyPolicy(counter_nonces=True)
KINDS: Final = (
    ("ed25519", KeyPolicy()),
    ("secp256k1", KeyPolicy()),
    ("p256", KeyPolicy()),
    ("bip32", KeyPolicy()),
    ("aes256-gcm", COUNTED),
    ("aes256-gcm", KeyPolicy()),
    ("chacha20-poly1305", COUNTED),
    ("hmac-sha256", KeyPolicy()),
)

Victim = Callable[[random.Random], Awaitable[tuple[str, int] | None]]
"""Names a process to kill now, with its pid; None if there is none of its kind."""


@dataclass(frozen=True)
class Storm:
    """One run: so many kills, all drawn from ``seed``.

    Before each one so many operations at most are waited for, and no longer than ``patience_s``: a
    busy machine is to be killed in mid-work, not in mid-recovery alone.
    """

    kills: int
    seed: int
    workers_per_owner: int = 3
    most_between: int = 60
    patience_s: float = 5.0
    report: Callable[[str], None] = lambda _: None


class Worker:
    """One caller. Several share an owner's keys, each through sessions of its own."""

    def __init__(self, name: str, owner: str, door: Door, record: Record, seed: int) -> None:
        self._name = name
        self._owner = owner
        self._door = door
        self._record = record
        self._chance = random.Random(f"{seed}/{name}")  # noqa: S311 - replayable, not secret
        self._session: str | None = None
        self._names: frozenset[str] = frozenset()
        self._lost: str | None = None
        self._numbers = 0

    async def run(self, over: asyncio.Event) -> None:
        """Act until it is over; a refusal is counted, and a session that is lost replaced."""
        await self.create(*self._chance.choice(KINDS))
        acts: list[Callable[[], Awaitable[None]]] = [*[self.perform] * 12, self.rotate, self.make_key]
        if isinstance(self._door, RayDoor):
            acts += [self.sign_together, self.sign_together, self.take_token]
        while not over.is_set():
            try:
                await self._chance.choice(acts)()
            except AnyaError as error:
                self._record.refusals[error.code] += 1
                self._lost, self._session = self._session or self._lost, None

    async def make_key(self) -> None:
        """One more key of any kind, until the owner has two dozen."""
        if sum(known.owner == self._owner for known in self._record.keys.values()) < 24:
            await self.create(*self._chance.choice(KINDS))

    async def create(self, key_type: str, policy: KeyPolicy) -> None:
        """A key that the HSM acknowledges, whatever happens meanwhile."""
        name, message_id = f"{self._name}-{self._fresh()}", f"create-{self._name}-{self._fresh()}"
        view = await self._until_answered(lambda: self._door.create(name, key_type, policy, message_id))
        known = KnownKey(name, key_type, self._owner, policy.counter_nonces)
        known.learn(view)
        self._record.keys[name] = known

    async def rotate(self) -> None:
        """A version that the HSM acknowledges."""
        known = self._chance.choice(self._keys())
        message_id = f"rotate-{self._name}-{self._fresh()}"
        view = await self._until_answered(lambda: self._door.rotate(known.name, message_id))
        self._record.rotations[known.name] += 1
        known.learn(view)

    async def perform(self) -> None:
        """A batch of one to six operations."""
        opened: dict[int, bytes] = {}
        requests = [self._request(index, opened) for index in range(self._chance.randint(1, 6))]
        session = await self._opened()
        for request in requests:
            self._record.try_to(request.key, OPERATION_OF[type(request)], request.algorithm)
        answers = await self._door.perform(session, requests)
        for index, (request, answer) in enumerate(zip(requests, answers, strict=True)):
            self._record.keep(request, answer)
            if isinstance(request, DecryptRequest):
                self._record.check_opened(request, answer, opened[index])

    async def sign_together(self) -> None:
        """A MuSig2 nonce and its one signature; a second one must not be had, here or elsewhere."""
        keys = [known for known in self._keys() if known.key_type == "bip32"]
        if not keys or not isinstance(self._door, RayDoor):
            return
        known, session = self._chance.choice(keys), await self._opened()
        nonce = await self._musig(session, known, "musig2-nonce", "musig2_nonce", known.name)
        self._record.nonces.append((known.name, nonce))
        public_key = bytes.fromhex(known.versions[max(known.versions)])
        for tried in range(2):
            message = self._chance.randbytes(32)
            signing = MusigRound((public_key,), nonce, message)
            try:
                arguments = ("musig2_partial_sign", known.name, nonce, signing)
                part = await self._musig(session, known, "musig2-sign", *arguments)
            except AnyaError as error:
                if tried and error.code not in USED_UP:
                    raise
                self._record.refusals[error.code] += 1
                session = await self._opened()
            else:
                hold(not tried, f"a nonce of {known.name} signed twice")
                self._record.parts.append(MusigPart(known.name, nonce, message, part))

    async def take_token(self) -> None:
        """A token that the HSM acknowledges."""
        if isinstance(self._door, RayDoor):
            door, message_id = self._door, f"token-{self._name}-{self._fresh()}"
            self._record.tokens[message_id] = await self._until_answered(lambda: door.token(message_id))

    async def _musig(
        self, session: str, known: KnownKey, operation: str, method: str, *arguments: Any
    ) -> bytes:
        self._record.try_to(known.name, operation, "musig2-bip327")
        if not isinstance(self._door, RayDoor):
            raise TypeError("no MuSig2 over HTTP")
        found: bytes = await self._door.in_session(session, method, *arguments)
        self._record.was_told(known.name, operation, "musig2-bip327", 0)
        return found

    def _request(self, index: int, opened: dict[int, bytes]) -> Request:
        known = self._chance.choice(self._keys())
        message = self._chance.randbytes(32)
        if known.key_type in SIGNATURES:
            return SignRequest(known.name, message, self._chance.choice(SIGNATURES[known.key_type]))
        if known.key_type == "hmac-sha256":
            return MacRequest(known.name, message, known.key_type)
        if known.sealed and self._chance.random() < 0.4:
            request, answer = self._chance.choice(known.sealed)
            opened[index] = request.plaintext
            return decryption_of(request, answer)
        return EncryptRequest(known.name, message, known.key_type, known.name.encode())

    async def _opened(self) -> str:
        """The worker's session, for all of the owner's keys that there are by now."""
        if self._lost is not None:
            lost, self._lost = self._lost, None
            await self._door.close(lost, f"close-{self._name}-{self._fresh()}")
        if self._session is None:
            names = [known.name for known in self._keys()]
            self._record.sessions[self._owner] += 1
            self._session = await self._door.open(names, f"open-{self._name}-{self._fresh()}")
            self._names = frozenset(names)
        return self._session

    def _keys(self) -> list[KnownKey]:
        keys = [known for known in self._record.keys.values() if known.owner == self._owner]
        return [known for known in keys if self._session is None or known.name in self._names] or keys

    async def _until_answered(self, call: Callable[[], Awaitable[Any]]) -> Any:
        """The answer, however often the HSM dies meanwhile; the call is one that is applied once."""
        for _ in range(PATIENCE):
            try:
                return await call()
            except AnyaError as error:
                self._record.refusals[error.code] += 1
                if error.code in LASTING:
                    raise
                await asyncio.sleep(0.1)
        raise TimeoutError("the HSM did not come back")

    def _fresh(self) -> int:
        self._numbers += 1
        return self._numbers


class Killer:
    """Sends SIGKILL to one victim after another."""

    def __init__(self, storm: Storm, victims: Sequence[Victim]) -> None:
        self._storm = storm
        self._victims = victims
        self.killed: Counter[str] = Counter()

    async def run(self, record: Record) -> None:
        """Return when all kills are through."""
        chance = random.Random(f"{self._storm.seed}/killer")  # noqa: S311 - replayable, not secret
        while self.killed.total() < self._storm.kills:
            await self._wait_for(record, record.operations + chance.randrange(self._storm.most_between))
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            found = await chance.choice(self._victims)(chance)
            if found is None:
                continue
            name, pid = found
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it died in the meantime
            self.killed[name] += 1
            told = f"{record.operations} operations answered"
            self._storm.report(f"kill {self.killed.total()}: {name} (pid {pid}); {told}")

    async def _wait_for(self, record: Record, operations: int) -> None:
        for _ in range(round(self._storm.patience_s / 0.01)):
            if record.operations >= operations:
                return
            await asyncio.sleep(0.01)


def session_victim(actors: Actors) -> Victim:
    """Any session's process."""

    async def find(chance: random.Random) -> tuple[str, int] | None:
        system = await actors.call("coordinator", "system", timeout_s=120.0)
        pids = [actor.pid for actor in system.actors if actor.name.startswith(SESSION) and actor.pid]
        return ("a session", int(chance.choice(pids))) if pids else None

    return find


def actor_victim(actors: Actors, name: str) -> Victim:
    """The process of one actor; ``coordinator`` is a name too."""

    async def find(_: random.Random) -> tuple[str, int] | None:
        system = await actors.call("coordinator", "system", timeout_s=120.0)
        if name == "coordinator":
            return name, int(system.coordinator_pid)
        pids = [actor.pid for actor in system.actors if actor.name == name and actor.pid]
        return (name, int(pids[0])) if pids else None

    return find


async def run_storm(
    storm: Storm, doors: dict[str, Door], victims: Sequence[Victim]
) -> tuple[Record, Counter[str]]:
    """Let the callers of each owner work until all kills are through; what they were told."""
    record, over = Record(), asyncio.Event()
    workers = [
        Worker(f"{owner}-{number}", owner, door, record, storm.seed)
        for owner, door in doors.items()
        for number in range(storm.workers_per_owner)
    ]
    killer = Killer(storm, victims)
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run(over))
        await killer.run(record)
        over.set()
    return record, killer.killed
