"""A small durable actor to try the platform on, in tests, benchmarks and simulations.

Each account counts what was deposited; each deposit owes one receipt to a `Witness` outside.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import msgspec

from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import Command, Event, InvalidInputError, Step, SystemEvent
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import StateStore
from anya_actors.services.durable import DurableEngine, Rules


class Deposited(Event, frozen=True):
    """Somebody paid in."""

    amount_sat: int


class ReceiptIssued(Event, frozen=True):
    """The witness has the receipt."""


class IssueReceipt(Command, frozen=True):
    """Tell the witness."""

    amount_sat: int


class DepositSeen(SystemEvent, frozen=True):
    """For the event bus."""

    account: str
    amount_sat: int


class Account(msgspec.Struct, frozen=True):
    """``receipts`` counts the owed effects whose outcome was committed."""

    name: str
    balance_sat: int = 0
    deposits: int = 0
    receipts: int = 0


def step(account: Account, event: Event) -> Step[Account]:
    """The whole machine."""
    if isinstance(event, Deposited):
        if event.amount_sat <= 0:
            raise InvalidInputError("amount_sat", "must be positive")
        paid = msgspec.structs.replace(
            account, balance_sat=account.balance_sat + event.amount_sat, deposits=account.deposits + 1
        )
        return Step(paid, (IssueReceipt(event.amount_sat),), (DepositSeen(account.name, event.amount_sat),))
    return Step(msgspec.structs.replace(account, receipts=account.receipts + 1))


ACCOUNT: Schema[Account] = Schema("account", Account)
RULES: Rules[Account, Account] = Rules(
    state=ACCOUNT,
    command=Schema("ledger command", IssueReceipt),
    event=Schema("ledger event", DepositSeen),
    initial=Account,
    step=step,
    reply=ACCOUNT,
    answer=lambda account, _: account,
)


class Witness(Protocol):
    """The world outside: takes each receipt once, however often it is brought."""

    async def take(self, effect_id: str, amount_sat: int) -> None:
        """Take the receipt named ``effect_id``."""


class FolderWitness:
    """Keeps each receipt as a file, and counts in ``attempts`` how often each was brought."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    async def take(self, effect_id: str, amount_sat: int) -> None:
        name = effect_id.replace("/", "~")
        line = os.open(self._folder / "attempts", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(line, f"{name}\n".encode())
        os.close(line)
        try:
            receipt = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return
        os.write(receipt, str(amount_sat).encode())
        os.close(receipt)


class LedgerService:
    """The accounts of one ledger."""

    def __init__(
        self,
        store: StateStore,
        witness: Witness,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus | None = None,
    ) -> None:
        self._witness = witness
        self.engine = DurableEngine(
            store=store, rules=RULES, perform=self._perform, clock=clock, randomness=randomness, bus=bus
        )

    async def deposit(self, account: str, amount_sat: int, *, message_id: str) -> Account:
        """Pay in once per message id."""
        return await self.engine.handle(account, Deposited(amount_sat), message_id=message_id)

    async def account(self, account: str) -> Account:
        """The account now."""
        return await self.engine.load(account)

    async def accounts(self) -> list[str]:
        """Every account that was ever paid into."""
        return await self.engine.keys()

    async def settled(self, account: str) -> Account:
        """The account once nothing is owed for it."""
        await self.engine.settled(account)
        return await self.engine.load(account)

    @property
    def owed_count(self) -> int:
        """How many receipts are owed."""
        return self.engine.owed_count

    async def resume(self) -> None:
        await self.engine.resume()

    async def check_health(self) -> None:
        await self.engine.check_health()

    async def close(self) -> None:
        await self.engine.close()

    async def _perform(self, key: str, command: Command, effect_id: str) -> Event:
        assert isinstance(command, IssueReceipt)  # noqa: S101 - the only command there is
        await self._witness.take(effect_id, command.amount_sat)
        return ReceiptIssued()
