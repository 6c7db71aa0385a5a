"""A durable actor of your own: it counts visits, and owes each visitor one letter.

The four parts that every actor has: rules (`step`), a service, a shell, a builder. `own_actor.py`
runs it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from anya_actors.actors.shell import DurableActor, served
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.coordinator.kinds import Kind
from anya_actors.coordinator.root import Plan
from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import Command, Event, Step, SystemEvent
from anya_actors.domain.supervision.spec import ChildSpec, SupervisorSpec
from anya_actors.ports.actors import Actors
from anya_actors.ports.state_store import StateStore
from anya_actors.services.durable import DurableEngine, Rules

# -- rules: pure ---------------------------------------------------------------------------------


class Visited(Event, frozen=True):
    """Somebody came."""


class LetterSent(Event, frozen=True):
    """What was owed has been done."""


class SendLetter(Command, frozen=True):
    """Owed to the outside."""

    text: str


class GuestWelcomed(SystemEvent, frozen=True):
    """For whoever listens to the event bus."""

    guest: str


class Guest(msgspec.Struct, frozen=True):
    """What is kept of one guest."""

    name: str
    visits: int = 0
    letters: int = 0


def step(guest: Guest, event: Event) -> Step[Guest]:
    """State and event in; state, what is owed and what is published out."""
    if isinstance(event, Visited):
        welcomed = msgspec.structs.replace(guest, visits=guest.visits + 1)
        letter = SendLetter(f"Dear {guest.name}, thank you for visit {welcomed.visits}.")
        return Step(welcomed, (letter,), (GuestWelcomed(guest.name),))
    return Step(msgspec.structs.replace(guest, letters=guest.letters + 1))


GUEST: Schema[Guest] = Schema("guest", Guest)
RULES: Rules[Guest, Guest] = Rules(
    state=GUEST,
    command=Schema("guestbook command", SendLetter),
    event=Schema("guestbook event", GuestWelcomed),
    initial=Guest,
    step=step,
    reply=GUEST,
    answer=lambda guest, _: guest,
)


# -- service: the use cases, without Ray -----------------------------------------------------------


class Guestbook:
    """The guests, and a post box: a folder that takes each letter once."""

    def __init__(self, store: StateStore, post_box: Path) -> None:
        self._post_box = post_box
        self._engine = DurableEngine(
            store=store,
            rules=RULES,
            perform=self._perform,
            clock=SystemClock(),
            randomness=SystemRandomness(),
        )

    async def visit(self, name: str, *, message_id: str) -> Guest:
        """Count a visit, once per message id. When this returns it is on disk."""
        return await self._engine.handle(name, Visited(), message_id=message_id)

    async def settled(self, name: str) -> Guest:
        """The guest once every letter has been sent."""
        await self._engine.settled(name)
        return await self._engine.load(name)

    async def _perform(self, key: str, command: Command, effect_id: str) -> Event:
        # May be tried again after a crash: the effect's id makes both tries one letter.
        if isinstance(command, SendLetter):
            (self._post_box / effect_id.replace("/", "~")).write_text(command.text)
        return LetterSent()

    async def resume(self) -> None:
        """Called at each activation: perform what a dead predecessor still owed."""
        self._post_box.mkdir(parents=True, exist_ok=True)
        await self._engine.resume()

    async def check_health(self) -> None:
        """Asked every few seconds; raising gets the process replaced."""
        await self._engine.check_health()

    async def close(self) -> None:
        """Called at the end of an activation."""
        await self._engine.close()


# -- shell, builder, and a platform that has nothing else -------------------------------------------


class GuestbookActor(DurableActor[Guestbook]):
    """What others may call."""

    @served
    async def visit(self, name: str, *, message_id: str) -> Guest:
        return await self.service.visit(name, message_id=message_id)

    @served
    async def settled(self, name: str) -> Guest:
        return await self.service.settled(name)


@dataclass(frozen=True)
class GuestbookBuilder:
    """Makes the service, in the actor's own process."""

    folder: Path

    async def prepare(self) -> None:
        """Nothing that could be done before the store is taken."""

    async def build(self, name: str, actors: Actors) -> tuple[Guestbook, int]:
        store = await RocksdbStateStores(self.folder / "state").activate(name)
        return Guestbook(store, self.folder / "letters"), store.epoch


def plan(folder: Path) -> Plan:
    """One supervisor with one guestbook, which is there from the start."""
    books = SupervisorSpec("books", children=(ChildSpec("guestbook/main"),))
    return Plan(
        tree=SupervisorSpec("root", children=(books,)),
        kinds={"guestbook": Kind("guestbook", GuestbookActor, GuestbookBuilder(folder))},
        stores=partial(RocksdbStateStores, folder / "state"),
        clock=SystemClock,
        randomness=SystemRandomness,
    )
