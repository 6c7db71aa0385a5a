"""One of the node's wallets as bytes, and back again: the journal's records of it, in their order.

Not Core's format (a SQLite database): a line that says what it is, a SHA-256 over the rest, the
records. Private keys are in it as they are in the journal: in the clear, or sealed if the wallet is
encrypted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, cast

from msgspec.structs import replace

from anya_actors.domain.bitcoin.descriptors import DescriptorError
from anya_actors.domain.bitcoin.errors import MalformedTransactionError
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.encoding import Schema, UnreadableRecordError
from anya_actors.domain.machine import AnyaError
from anya_actors.services.bitcoin_node.chain import Chain
from anya_actors.services.bitcoin_node.wallets.records import (
    WalletDescriptorAdded,
    WalletEncrypted,
    WalletLoadedOrNot,
    WalletMade,
    WalletRecord,
    WalletSeedChanged,
)
from anya_actors.services.bitcoin_node.wallets.sealing import verify_sane
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
    _verify_sealing(found)
    return tuple(replace(one, wallet=name) for one in found if not isinstance(one, WalletLoadedOrNot))


def _verify_sealing(records: Sequence[WalletRecord]) -> None:
    """All keys are in the clear, or all are sealed under one master key."""
    seals = [one for one in records if isinstance(one, WalletEncrypted)]
    sealed = [one for one in records if isinstance(one, WalletSeedChanged) or _sealed(one)]
    clear = [one for one in records if _is_clear(one)]
    try:
        for one in seals:
            verify_sane(one)
    except ValueError as error:
        raise BadWalletBackupError(str(error)) from error
    if len(seals) > 1 or (seals and clear) or (sealed and not seals):
        raise BadWalletBackupError("its keys are not sealed as one wallet's")


def _sealed(record: WalletRecord) -> bool:
    return isinstance(record, WalletMade | WalletDescriptorAdded) and record.sealed is not None


def _is_clear(record: WalletRecord) -> bool:
    if isinstance(record, WalletMade):
        return bool(record.seed)
    return isinstance(record, WalletDescriptorAdded) and record.sealed is None


def rehearsed(records: Sequence[WalletRecord], chain: Chain, pool: Mempool) -> Wallet:
    """The wallet that the records make; raises `BadWalletBackupError` where the journal could not be read."""
    made, *rest = records
    if not isinstance(made, WalletMade):
        raise BadWalletBackupError("it is not of one wallet")
    for record in rest:
        if isinstance(record, WalletDescriptorAdded):
            _verify_bounds(record)
    try:
        return rebuilt(records, chain, pool)
    except (DescriptorError, MalformedTransactionError, ValueError, LookupError, AnyaError) as error:
        # Its text may quote a descriptor, and that holds keys.
        raise BadWalletBackupError(f"a record cannot be taken: {type(error).__name__}") from None


def rebuilt(records: Sequence[WalletRecord], chain: Chain, pool: Mempool) -> Wallet:
    """The wallet that records make, `WalletMade` first."""
    wallet = Wallet(cast(WalletMade, records[0]), chain, pool)
    for record in records[1:]:
        wallet.note(record)
    return wallet


def _verify_bounds(record: WalletDescriptorAdded) -> None:
    span = range(record.first, record.last + 2)
    if record.first < 0 or not 0 < len(span) <= _MOST_SCRIPTS or record.next_index not in span:
        raise BadWalletBackupError("a descriptor's range is invalid")
