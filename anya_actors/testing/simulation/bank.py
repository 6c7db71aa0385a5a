"""Banks that send each other money: the work that a simulated system does.

A transfer debits an account, owes a message to another bank's actor, and ends when that answered;
the receiving bank owes a receipt to the world outside. So every promise of the engine is in use:
calls answered once, effects owed and performed, outcomes committed with their settling.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import AnyaError, Command, Event, Step, SystemEvent
from anya_actors.ports.actors import Actors
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import StateStore
from anya_actors.services.durable import DurableEngine, rules_answering_with_state

CLOSED = "closed"
"""The account that takes no money: what is sent to it comes back."""


class AccountClosedError(AnyaError):
    """The account takes no money."""

    code = "account-closed"
    message = "account {} is closed"
    remedy = "Send to another account."

    def __init__(self, account: str) -> None:
        super().__init__(account)


class InsufficientFundsError(AnyaError):
    """The account holds less than it is to send."""

    code = "insufficient-funds"
    message = "account {} holds {} sat, less than {} sat"
    remedy = "Send less."

    def __init__(self, account: str, balance_sat: int, amount_sat: int) -> None:
        super().__init__(account, balance_sat, amount_sat)


class Opened(Event, frozen=True):
    """The account was opened with this much in it."""

    balance_sat: int


class TransferOrdered(Event, frozen=True):
    """The owner wants to send."""

    transfer: str
    bank: str
    account: str
    amount_sat: int


class MoneyArrived(Event, frozen=True):
    """Another account sent."""

    transfer: str
    amount_sat: int


class TransferEnded(Event, frozen=True):
    """The other bank has taken the money, or has refused it for good."""

    transfer: str
    amount_sat: int
    refused: bool


class SendMoney(Command, frozen=True):
    """Hand the money to the other bank."""

    transfer: str
    bank: str
    account: str
    amount_sat: int


class IssueReceipt(Command, frozen=True):
    """Tell the world outside that the money has arrived."""

    transfer: str
    amount_sat: int


class MoneyMoved(SystemEvent, frozen=True):
    """For the event bus."""

    transfer: str
    amount_sat: int


class Account(msgspec.Struct, frozen=True):
    """``pending_sat`` has left the balance and is not known to have arrived."""

    name: str
    balance_sat: int = 0
    pending_sat: int = 0
    sent: tuple[str, ...] = ()
    received: tuple[str, ...] = ()
    returned: tuple[str, ...] = ()


def step(account: Account, event: Event) -> Step[Account]:
    """The whole machine."""
    change = msgspec.structs.replace
    if isinstance(event, Opened):
        return Step(change(account, balance_sat=account.balance_sat + event.balance_sat))
    if isinstance(event, TransferOrdered):
        return _ordered(account, event)
    if isinstance(event, MoneyArrived):
        if account.name == CLOSED:
            raise AccountClosedError(account.name)
        richer = change(
            account,
            balance_sat=account.balance_sat + event.amount_sat,
            received=(*account.received, event.transfer),
        )
        told = (MoneyMoved(event.transfer, event.amount_sat),)
        return Step(richer, (IssueReceipt(event.transfer, event.amount_sat),), told)
    assert isinstance(event, TransferEnded)  # noqa: S101 - the only other event there is
    settled = change(account, pending_sat=account.pending_sat - event.amount_sat)
    if not event.refused:
        return Step(settled)
    back = account.balance_sat + event.amount_sat
    return Step(change(settled, balance_sat=back, returned=(*account.returned, event.transfer)))


def _ordered(account: Account, event: TransferOrdered) -> Step[Account]:
    if event.amount_sat > account.balance_sat:
        raise InsufficientFundsError(account.name, account.balance_sat, event.amount_sat)
    sending = msgspec.structs.replace(
        account,
        balance_sat=account.balance_sat - event.amount_sat,
        pending_sat=account.pending_sat + event.amount_sat,
        sent=(*account.sent, event.transfer),
    )
    return Step(sending, (SendMoney(event.transfer, event.bank, event.account, event.amount_sat),))


RULES = rules_answering_with_state(
    state=Schema("account", Account),
    command=Schema("bank command", SendMoney | IssueReceipt),
    event=Schema("bank event", MoneyMoved),
    initial=Account,
    step=step,
)

Witness = Callable[[str, str, int], Awaitable[None]]
"""``witness(effect_id, transfer, amount_sat)``: takes each effect id once."""


class BankService:
    """The accounts of one bank."""

    def __init__(
        self,
        store: StateStore,
        *,
        actors: Actors,
        witness: Witness,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus,
    ) -> None:
        self._actors = actors
        self._witness = witness
        self.engine = DurableEngine(
            store=store, rules=RULES, perform=self._perform, clock=clock, randomness=randomness, bus=bus
        )

    async def open_account(self, account: str, balance_sat: int, *, message_id: str) -> Account:
        """Open the account with money in it, once per message id."""
        return await self.engine.handle(account, Opened(balance_sat), message_id=message_id)

    async def transfer(
        self, account: str, to_bank: str, to_account: str, amount_sat: int, *, message_id: str
    ) -> Account:
        """Send money; the message id names the transfer."""
        ordered = TransferOrdered(message_id, to_bank, to_account, amount_sat)
        return await self.engine.handle(account, ordered, message_id=message_id)

    async def receive(self, account: str, transfer: str, amount_sat: int, *, message_id: str) -> Account:
        """Take money from another bank; raises `AccountClosedError`."""
        return await self.engine.handle(account, MoneyArrived(transfer, amount_sat), message_id=message_id)

    async def statement(self) -> list[Account]:
        """Every account, once nothing is owed for any."""
        accounts = await self.engine.keys()
        for account in accounts:
            await self.engine.settled(account)
        return [await self.engine.load(account) for account in accounts]

    async def resume(self) -> None:
        await self.engine.resume()

    async def check_health(self) -> None:
        await self.engine.check_health()

    async def close(self) -> None:
        await self.engine.close()

    async def _perform(self, key: str, command: Command, effect_id: str) -> Event | None:
        if isinstance(command, IssueReceipt):
            await self._witness(effect_id, command.transfer, command.amount_sat)
            return None
        assert isinstance(command, SendMoney)  # noqa: S101 - the only other command there is
        refused = False
        try:
            await self._actors.call(
                command.bank,
                "receive",
                command.account,
                command.transfer,
                command.amount_sat,
                message_id=effect_id,
                timeout_s=10.0,
            )
        except AccountClosedError:
            refused = True
        return TransferEnded(command.transfer, command.amount_sat, refused)
