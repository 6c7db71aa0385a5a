"""The audit chain: each entry carries the hash of the one before it.

An entry's hash is SHA-256 over the byte 0 and its MessagePack array without the hash itself, so
altering, removing or reordering any entry breaks every later one. Cutting off the end leaves a
chain that is whole: against that stands the checkpoint, which the HSM signs with its own Ed25519
key and keeps in its state store, away from the log. A checkpoint also signs for the root of the
Merkle tree over the entries (``merkle_log``), so that one entry, or an older checkpoint, can be
proved without the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.hsm.errors import AuditBrokenError
from anya_actors.domain.hsm.merkle_log import MerkleTree
from anya_actors.domain.hsm.views import AuditEntryView

GENESIS: Final = bytes(32)
OK: Final = "ok"

_ENTRY: Final = b"\x00"
_CHECKPOINT: Final = b"anya-hsm audit checkpoint v1\x00"
_CHECKPOINT_WITH_ROOT: Final = b"anya-hsm audit checkpoint v2\x00"


class AuditRecord(msgspec.Struct, frozen=True):
    """What is to be recorded: who did what with which key, and how it ended. Never the payload.

    ``request_id`` names the request that it belongs to; recording it again changes nothing.
    """

    request_id: str
    at_unix_ms: int
    actor: str
    owner: str
    operation: str
    key: str = ""
    key_version: int = 0
    algorithm: str = ""
    outcome: str = OK
    count: int = 1
    # Left out of the bytes where there is none: entries of before it was known keep their hash.
    detail: str | msgspec.UnsetType = msgspec.UNSET

    def of_request(self, request_id: str) -> AuditRecord:
        """The same record under the name of the request that it belongs to."""
        return msgspec.structs.replace(self, request_id=request_id)


class OperationRecord(msgspec.Struct, frozen=True):
    """What a session reports of one operation; the HSM adds who and when.

    ``detail`` names what is public and tells this operation apart, such as a nonce by its hash. ``digest``
    is for approvals alone: hex SHA-256 of what a guarded operation was done to; it is not recorded.
    """

    operation: str
    key: str
    key_version: int = 0
    algorithm: str = ""
    outcome: str = OK
    count: int = 1
    detail: str = ""
    digest: str = ""


class AuditEntry(msgspec.Struct, frozen=True, array_like=True):
    """A record in its place in the chain. ``sequence`` counts from 1."""

    sequence: int
    previous: bytes
    record: AuditRecord
    hash: bytes


class Head(msgspec.Struct, frozen=True):
    """Where a chain ends: how many entries, and the hash of the last."""

    entries: int = 0
    hash: bytes = GENESIS


class Checkpoint(msgspec.Struct, frozen=True):
    """The HSM's signed word that its log once ended at ``head``.

    ``peaks`` are the tree's (`MerkleTree`) over all entries up to there; a checkpoint from before
    there were any has none, and its signature covers no root.
    """

    head: Head
    at_unix_ms: int
    signature: bytes
    peaks: tuple[bytes, ...] = ()

    @property
    def tree(self) -> MerkleTree:
        """The tree over the entries that it signs for."""
        return MerkleTree(self.head.entries, self.peaks)

    @property
    def message(self) -> bytes:
        """The bytes that its signature covers."""
        if self.head.entries and not self.peaks:
            return _CHECKPOINT + _encoder.encode((self.head.entries, self.head.hash, self.at_unix_ms))
        return checkpoint_message(self.head, self.tree.root, self.at_unix_ms)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AuditEntry)


def chain(head: Head, record: AuditRecord) -> tuple[Head, AuditEntry]:
    """Put a record behind ``head``; the new head and the entry."""
    sequence = head.entries + 1
    digest = _hash(sequence, head.hash, record)
    return Head(sequence, digest), AuditEntry(sequence, head.hash, record, digest)


def encode_entry(entry: AuditEntry) -> bytes:
    """The entry as the log keeps it."""
    return _encoder.encode(entry)


def parse_entry(data: bytes, sequence: int) -> AuditEntry:
    """Read the entry that stands at ``sequence``; raise `AuditBrokenError`."""
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise AuditBrokenError(sequence, "it cannot be read") from error


def verify_entries(head: Head, entries: Sequence[bytes]) -> tuple[Head, list[AuditEntry]]:
    """Check that ``entries`` follow ``head``; the new head and the entries, or `AuditBrokenError`."""
    found: list[AuditEntry] = []
    for data in entries:
        sequence = head.entries + 1
        entry = parse_entry(data, sequence)
        if entry.sequence != sequence:
            raise AuditBrokenError(sequence, f"entry {entry.sequence} stands in its place")
        if entry.previous != head.hash:
            raise AuditBrokenError(sequence, "it does not follow the entry before it")
        if _hash(sequence, head.hash, entry.record) != entry.hash:
            raise AuditBrokenError(sequence, "its content was altered")
        # What stands in the log must be exactly what we would write: no second encoding of a truth.
        if encode_entry(entry) != data:
            raise AuditBrokenError(sequence, "its encoding was altered")
        head = Head(sequence, entry.hash)
        found.append(entry)
    return head, found


def checkpoint_message(head: Head, root: bytes, at_unix_ms: int) -> bytes:
    """The bytes that a new checkpoint's signature covers."""
    return _CHECKPOINT_WITH_ROOT + _encoder.encode((head.entries, head.hash, root, at_unix_ms))


def view_of(entry: AuditEntry) -> AuditEntryView:
    """The entry as shown to people and programs."""
    record = entry.record
    return AuditEntryView(
        sequence=entry.sequence,
        at_unix_ms=record.at_unix_ms,
        actor=record.actor,
        owner=record.owner,
        operation=record.operation,
        key=record.key,
        key_version=record.key_version,
        algorithm=record.algorithm,
        outcome=record.outcome,
        count=record.count,
        previous=entry.previous.hex(),
        hash=entry.hash.hex(),
        detail=record.detail or "",
    )


def _hash(sequence: int, previous: bytes, record: AuditRecord) -> bytes:
    return hashlib.sha256(_ENTRY + _encoder.encode((sequence, previous, record))).digest()
