"""One of the node's wallets as bytes, and back again: the journal's records of it, in their order.

Not Core's format (a SQLite database): a line that says what it is, a SHA-256 over the rest, the
records. Private keys are in it in the clear, as they are in the journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from anya_actors.domain.bitcoin.descriptors import DescriptorError
from anya_actors.domain.bitcoin.errors import MalformedTransactionError
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.encoding import Schema, UnreadableRecordError
from anya_actors.domain.machine import AnyaError
from anya_actors.services.bitcoin_node.chain import Chain
from anya_actors.services.bitcoin_node.wallets.records import (
    WalletDescriptorAdded,
    WalletLoadedOrNot,
    WalletMade,
    WalletRecord,
)
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

_FIRST_LINE: Final = b"anya-actors node wallet\n"
_CHECKSUM_BYTES: Final = 32
_MOST_SCRIPTS: Final = 1_000_000
_SCHEMA: Final[Schema[tuple[WalletRecord, ...]]] = Schema("wallet backup", tuple[WalletRecord, ...])


class BadWalletBackupError(AnyaError):
    """A file is no backup that this node wrote, or not whole."""

    code = "bad-wallet-backup"
    message = "the wallet backup cannot be read: {}"
    remedy = "Give a file that this node's backupwallet wrote."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


def encode_backup(records: Sequence[WalletRecord]) -> bytes:
    """The records of one wallet, `WalletMade` first."""
    data = _SCHEMA.encode(tuple(records))
    return _FIRST_LINE + hashlib.sha256(data).digest() + data


def read_backup(data: bytes, name: str) -> tuple[WalletRecord, ...]:
    """The records of a backup, for a wallet of this name; raises `BadWalletBackupError`."""
    if not data.startswith(_FIRST_LINE):
        raise BadWalletBackupError("it begins as no backup does")
    rest = data[len(_FIRST_LINE) :]
    checksum, record = rest[:_CHECKSUM_BYTES], rest[_CHECKSUM_BYTES:]
    if hashlib.sha256(record).digest() != checksum:
        raise BadWalletBackupError("its checksum does not match")
    try:
        found = _SCHEMA.decode(record)
    except UnreadableRecordError as error:
        raise BadWalletBackupError(str(error)) from error
    if [isinstance(one, WalletMade) for one in found] != [True, *[False] * (len(found) - 1)]:
        raise BadWalletBackupError("it is not of one wallet")
    if len({one.wallet for one in found}) != 1:
        raise BadWalletBackupError("it is not of one wallet")
    return tuple(replace(one, wallet=name) for one in found if not isinstance(one, WalletLoadedOrNot))


def rehearsed(records: Sequence[WalletRecord], chain: Chain, pool: Mempool) -> Wallet:
    """The wallet that the records make; raises `BadWalletBackupError` where the journal could not be read."""
    made, *rest = records
    if not isinstance(made, WalletMade):
        raise BadWalletBackupError("it is not of one wallet")
    for record in rest:
        if isinstance(record, WalletDescriptorAdded):
            _verify_bounds(record)
    wallet = Wallet(made, chain, pool)
    try:
        for record in rest:
            wallet.note(record)
    except (DescriptorError, MalformedTransactionError, ValueError, LookupError, AnyaError) as error:
        # Its text may quote a descriptor, and that holds keys.
        raise BadWalletBackupError(f"a record cannot be taken: {type(error).__name__}") from None
    return wallet


def _verify_bounds(record: WalletDescriptorAdded) -> None:
    span = range(record.first, record.last + 2)
    if record.first < 0 or not 0 < len(span) <= _MOST_SCRIPTS or record.next_index not in span:
        raise BadWalletBackupError("a descriptor's range is invalid")
