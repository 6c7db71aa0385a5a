"""What the node must not lose, as one list of records that only grows.

The journal is the node's truth: the consensus engine and every index are built from it. A block
or transaction is acknowledged only after its record is synced.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Final

from anya_actors.domain.encoding import Schema
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.append_log import AppendLog
from anya_actors.services.bitcoin_node.records import Record
from anya_actors.services.bitcoin_node.wallets.records import WalletRecord

_BATCH: Final = 256


class BlockKept(Record, frozen=True):
    """A block that may be valid, as it came."""

    raw: bytes


class TransactionKept(Record, frozen=True):
    """A transaction that entered the mempool."""

    raw: bytes
    entered_unix_ms: int


class TransactionsDropped(Record, frozen=True):
    """Waiting transactions that left the mempool without being confirmed."""

    txids: tuple[bytes, ...]


class TransactionPrioritised(Record, frozen=True):
    """A change to what a transaction counts as paying, added to those before it."""

    txid: bytes
    delta_sat: int


class BranchInvalidated(Record, frozen=True):
    """A person declared this block, and so its descendants, invalid."""

    block_hash: bytes


class BranchReconsidered(Record, frozen=True):
    """The declaration about this block was taken back."""

    block_hash: bytes


class WalletSeeded(Record, frozen=True):
    """The seed of the node's one wallet, as earlier versions kept it."""

    seed: bytes

    def __repr__(self) -> str:
        return "WalletSeeded(seed=<hidden>)"


class KeyGiven(Record, frozen=True):
    """The next key of that wallet was given out, as this kind of address."""

    kind: str
    label: str


AnyRecord = (
    BlockKept
    | TransactionKept
    | TransactionsDropped
    | TransactionPrioritised
    | BranchInvalidated
    | BranchReconsidered
    | WalletSeeded
    | KeyGiven
    | WalletRecord
)
RECORDS: Final[Schema[AnyRecord]] = Schema("node record", AnyRecord)


class Journal:
    """The node's records, read and written as types."""

    def __init__(self, log: AppendLog) -> None:
        self._log = log
        self.is_lost = False

    def __len__(self) -> int:
        return len(self._log)

    async def append(self, *records: AnyRecord) -> int:
        """Add records, synced when it returns; the position of the first."""
        try:
            return await self._log.append(*(RECORDS.encode(record) for record in records))
        except UnavailableError:
            # What lies on disk is no longer known: only opening it anew can tell.
            self.is_lost = True
            raise

    async def rewrite(self, change: Callable[[AnyRecord], AnyRecord], *more: AnyRecord) -> None:
        """Put ``change(record)`` in every record's place, and add more; all or nothing, synced.

        ``change`` is called in another thread. What was replaced is in the journal's folder no more.
        """

        def changed(data: bytes) -> bytes:
            record = RECORDS.decode(data)
            after = change(record)
            return data if after is record else RECORDS.encode(after)

        try:
            await self._log.rewrite(changed, *(RECORDS.encode(record) for record in more))
        except UnavailableError:
            self.is_lost = True
            raise

    async def read(self, first: int, last: int) -> list[AnyRecord]:
        """The records from one position to another, both included."""
        return [RECORDS.decode(data) for data in await self._log.read(first, last - first + 1)]

    async def all(self) -> AsyncIterator[tuple[int, AnyRecord]]:
        """Every record with its position, in order."""
        position = 0
        while position < len(self._log):
            batch = await self._log.read(position, _BATCH)
            for data in batch:
                yield position, RECORDS.decode(data)
                position += 1

    async def close(self) -> None:
        await self._log.close()
