"""One run: clients order transfers while everything breaks; then all heals, and promises are checked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import Actors
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import StoreFullError
from anya_actors.testing.simulation.actors import RETRYABLE
from anya_actors.testing.simulation.bank import CLOSED, Account, InsufficientFundsError
from anya_actors.testing.simulation.checks import Books, find_problems
from anya_actors.testing.simulation.loop import StuckError
from anya_actors.testing.simulation.outcome import Outcome
from anya_actors.testing.simulation.supervised import SupervisedSystem
from anya_actors.testing.simulation.system import BANKS, BankSystem, Defects, System
from anya_actors.testing.simulation.world import World

ACCOUNTS = ("x", "y")
OPENING_SAT = 1000
TRANSFERS = 12
_FAULTS_LAST_S = 10.0
_PATIENCE_S = 600.0


@dataclass(frozen=True, slots=True)
class Order:
    """One transfer that a client wants."""

    transfer: str
    bank: str
    account: str
    to_bank: str
    to_account: str
    amount_sat: int
    at_s: float


def simulate(seed: int, defects: Defects | None = None, *, keep_trace: bool = False) -> Outcome:
    """Run one seed to its end."""
    world = World(seed, keep_trace=keep_trace)
    kind: type[System] = world.chance.choice((BankSystem, BankSystem, SupervisedSystem))
    run = _Run(world, kind(world, defects or Defects()))
    problems: list[str]
    try:
        problems = world.run(run.main())
    except StuckError as error:
        problems = [f"stuck: {error}"]
    world.trace(f"ends, {world.chance.random()}")
    return Outcome(
        seed,
        world.fingerprint,
        tuple(problems),
        len(run.acknowledged),
        world.crashes,
        tuple(world.lines or ()),
    )


class _Run:
    def __init__(self, world: World, system: System) -> None:
        self._world = world
        self._system = system
        self.acknowledged: dict[str, Account] = {}
        self._odd: list[str] = []
        self._orders = list(self._draw_orders())

    async def main(self) -> list[str]:
        """Break, heal, check."""
        self._system.boot()
        await asyncio.sleep(0.1)
        breakers = [asyncio.create_task(each) for each in (self._crash(), self._partition(), self._move())]
        self._world.after(_FAULTS_LAST_S, self._world.faults.heal)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._system.client.spawn(self._use())
                await self._heal(breakers)
                problems: list[str] = await self._system.client.spawn(self._judge())
                return problems
        except AnyaError as error:
            return [f"a user was told: {error!r}", *self._odd]
        except TimeoutError:
            return [f"after {_PATIENCE_S} s something still does not end", *self._odd]
        finally:
            for breaker in breakers:
                breaker.cancel()

    def _draw_orders(self) -> Iterator[Order]:
        chance = self._world.chance
        for number in range(TRANSFERS):
            yield Order(
                f"t{number}",
                chance.choice(BANKS),
                chance.choice(ACCOUNTS),
                chance.choice(BANKS),
                chance.choice((*ACCOUNTS, *ACCOUNTS, CLOSED)),
                chance.randrange(1, 700),
                chance.random() * _FAULTS_LAST_S * 0.9,
            )

    # -- what users do ----------------------------------------------------------------------------

    async def _use(self) -> None:
        actors = self._system.actors()
        opened = {
            (bank, account): asyncio.create_task(self._open(actors, bank, account))
            for bank in BANKS
            for account in ACCOUNTS
        }
        orders = [self._order(actors, order, opened[order.bank, order.account]) for order in self._orders]
        await asyncio.gather(*opened.values(), *orders)

    async def _open(self, actors: Actors, bank: str, account: str) -> None:
        message_id = f"open {bank} {account}"
        await self._until_answered(
            lambda: actors.call(
                bank, "open_account", account, OPENING_SAT, message_id=message_id, timeout_s=5.0
            )
        )

    async def _order(self, actors: Actors, order: Order, opened: asyncio.Task[None]) -> None:
        await asyncio.sleep(order.at_s)
        await opened

        async def send() -> Account:
            arguments = (order.account, order.to_bank, order.to_account, order.amount_sat)
            answer: Account = await actors.call(
                order.bank, "transfer", *arguments, message_id=order.transfer, timeout_s=5.0
            )
            return answer

        try:
            answer = await self._until_answered(send)
        except InsufficientFundsError:
            return
        self.acknowledged[order.transfer] = answer
        self._world.trace(f"client has the answer to {order.transfer}")
        if self._world.chance.random() < 0.5:
            await asyncio.sleep(self._world.chance.random() * 3)
            again = await self._until_answered(send)
            if again != answer:
                self._odd.append(f"{order.transfer} was answered {answer}, and then {again}")

    async def _until_answered(self, call: Callable[[], Awaitable[Account]]) -> Account:
        while True:
            try:
                return await call()
            except (*RETRYABLE, StoreFullError):
                await asyncio.sleep(self._world.chance.random() * 0.5)

    # -- what breaks ------------------------------------------------------------------------------

    async def _crash(self) -> None:
        while rate := self._world.faults.crash_every_s:
            await asyncio.sleep(self._world.chance.expovariate(1 / rate))
            if self._world.faults.crash_every_s:
                power = self._world.chance.random() < self._world.faults.power_share
                self._system.break_one(power=power)

    async def _partition(self) -> None:
        names = list(self._world.machines)
        while rate := self._world.faults.partition_every_s:
            await asyncio.sleep(self._world.chance.expovariate(1 / rate))
            lonely = self._world.chance.choice(names)
            both_ways = self._world.chance.random() < 0.7
            faults = self._world.faults
            if faults.partition_every_s:
                self._world.trace(f"{lonely} is cut off, {'both ways' if both_ways else 'outwards'}")
                faults.cut = {(lonely, name) for name in names}
                faults.cut |= {(name, lonely) for name in names} if both_ways else set()
                await asyncio.sleep(self._world.chance.uniform(0.1, 4.0))
                faults.cut = set()

    async def _move(self) -> None:
        while rate := self._world.faults.move_every_s:
            await asyncio.sleep(self._world.chance.expovariate(1 / rate))
            if self._world.faults.move_every_s:
                self._system.disturb_one()

    async def _heal(self, breakers: list[asyncio.Task[None]]) -> None:
        left_s = _FAULTS_LAST_S - self._world.now_s
        await asyncio.sleep(max(left_s, 0.0) + 0.01)
        self._world.faults.heal()
        for breaker in breakers:
            breaker.cancel()
        self._world.trace("all is healed")
        await asyncio.sleep(10.0)  # longer than any process stays away

    # -- what must hold ---------------------------------------------------------------------------

    async def _judge(self) -> list[str]:
        actors = self._system.actors()
        accounts: dict[tuple[str, str], Account] = {}
        # Money on its way makes the next bank owe something: look until a look finds none.
        for _ in range(3):
            for bank in BANKS:
                for account in await self._statement(actors, bank):
                    accounts[bank, account.name] = account
        received = sum(len(account.received) for account in accounts.values())
        books = Books(
            orders={order.transfer: order for order in self._orders},
            acknowledged=set(self.acknowledged),
            accounts=accounts,
            opened_sat=OPENING_SAT * len(BANKS) * len(ACCOUNTS),
            receipts=self._system.outside.receipts,
            altered=self._system.outside.altered,
            delivered=await self._delivered(received),
            commit_epochs=self._system.commit_epochs(),
        )
        return self._odd + find_problems(books)

    async def _statement(self, actors: Actors, bank: str) -> list[Account]:
        while True:
            try:
                statement: list[Account] = await actors.call(bank, "statement", timeout_s=20.0)
            except RETRYABLE:
                continue
            return statement

    async def _delivered(self, expected: int) -> list[Delivered]:
        bus = self._system.bus()
        delivered: list[Delivered] = []
        for _ in range(200):
            try:
                delivered = await bus.events_after(0, 1000, 0.0)
            except AnyaError:
                delivered = []
            if len(delivered) >= expected:
                break
            await asyncio.sleep(1.0)
        return delivered
