"""The promises, as questions to the books after a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from anya_actors.ports.event_bus import Delivered
from anya_actors.testing.simulation.bank import RULES, Account, MoneyMoved

if TYPE_CHECKING:
    from anya_actors.testing.simulation.scenario import Order


@dataclass(frozen=True, slots=True)
class Books:
    """Everything that was found when all had come to rest. Accounts are by bank and name."""

    orders: Mapping[str, Order]
    acknowledged: set[str]
    accounts: Mapping[tuple[str, str], Account]
    opened_sat: int
    receipts: Mapping[str, tuple[str, int]]
    altered: Sequence[str]
    delivered: Sequence[Delivered]
    commit_epochs: Mapping[str, Sequence[int]]


def find_problems(books: Books) -> list[str]:
    """Every promise that was broken, in words; empty if none was."""
    checks = (_money, _acknowledged, _received_once, _receipts_once, _events_once, _one_writer)
    return [problem for check in checks for problem in check(books)]


def _money(books: Books) -> Iterator[str]:
    found = sum(account.balance_sat for account in books.accounts.values())
    pending = sum(account.pending_sat for account in books.accounts.values())
    if (found, pending) != (books.opened_sat, 0):
        yield f"{books.opened_sat} sat were paid in; there are {found} sat and {pending} sat pending"


def _acknowledged(books: Books) -> Iterator[str]:
    # Of a refused transfer nothing is asked: a double of it that came through later, when there
    # was money, was rightly applied.
    sent = Counter(transfer for account in books.accounts.values() for transfer in account.sent)
    for transfer in sorted(books.acknowledged):
        order = books.orders[transfer]
        account = books.accounts.get((order.bank, order.account))
        if account is None or account.sent.count(transfer) != 1:
            yield f"{transfer} was acknowledged and is not there exactly once"
    for transfer, times in sent.items():
        if times > 1:
            yield f"{transfer} was applied {times} times"


def _received_once(books: Books) -> Iterator[str]:
    received: Counter[str] = Counter()
    for (bank, name), account in books.accounts.items():
        for transfer in account.received:
            received[transfer] += 1
            order = books.orders[transfer]
            if (order.to_bank, order.to_account) != (bank, name):
                yield f"{transfer} arrived at {bank} {name}"
    returned = Counter(transfer for account in books.accounts.values() for transfer in account.returned)
    for account in books.accounts.values():
        for transfer in account.sent:
            if received[transfer] + returned[transfer] != 1:
                yield f"{transfer} arrived {received[transfer]} and came back {returned[transfer]} times"


def _receipts_once(books: Books) -> Iterator[str]:
    yield from books.altered
    receipts = Counter(books.receipts.values())
    expected = Counter(
        (transfer, books.orders[transfer].amount_sat)
        for account in books.accounts.values()
        for transfer in account.received
    )
    if receipts != expected:
        yield f"receipts outside: missing {expected - receipts}, too many {receipts - expected}"


def _events_once(books: Books) -> Iterator[str]:
    by_source: dict[str, list[int]] = defaultdict(list)
    moved: Counter[str] = Counter()
    for delivered in books.delivered:
        by_source[delivered.source].append(delivered.source_sequence)
        event = RULES.event.decode(delivered.event)
        assert isinstance(event, MoneyMoved)  # noqa: S101 - the only event there is
        moved[event.transfer] += 1
    for source, sequences in by_source.items():
        if sequences != list(range(1, len(sequences) + 1)):
            yield f"the bus has the events {sequences} of {source}"
    expected = Counter(transfer for account in books.accounts.values() for transfer in account.received)
    if moved != expected:
        yield f"events on the bus: missing {expected - moved}, too many {moved - expected}"


def _one_writer(books: Books) -> Iterator[str]:
    for actor, epochs in books.commit_epochs.items():
        if any(later < earlier for earlier, later in pairwise(epochs)):
            yield f"{actor}: an older activation committed after a newer one: {epochs}"
