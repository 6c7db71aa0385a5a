"""The audit chain: each entry carries the hash of the one before it.

An entry's hash is SHA-256 over the byte 0 and its MessagePack array without the hash itself, so
altering, removing or reordering any entry breaks every later one. Cutting off the end leaves a
chain that is whole: against that stands the checkpoint, which the HSM signs with its own Ed25519
key and keeps in its state store, away from the log. A checkpoint also signs for the root of the
Merkle tree over the entries (``merkle_log``), so that one entry, or an older checkpoint, can be
proved without the others.

A hash needs no key, so an unsealed HSM also tags each entry by a key that nobody else has: then the
entries that no checkpoint covers yet cannot be written anew either. Every checkpoint says what the
entries behind it must carry; only a sealed HSM, which has no key, writes entries without a tag.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.hsm.errors import AuditBrokenError
from anya_actors.domain.hsm.merkle_log import MerkleTree
from anya_actors.domain.hsm.views import AuditEntryView
from anya_actors.domain.keys.secret import Secret

GENESIS: Final = bytes(32)
OK: Final = "ok"
TAG_BYTES: Final = 16
TAGGED: Final = "tagged"
SEALED: Final = "sealed"

_ENTRY: Final = b"\x00"
_CHECKPOINT: Final = b"anya-hsm audit checkpoint v1\x00"
_CHECKPOINT_WITH_ROOT: Final = b"anya-hsm audit checkpoint v2\x00"
_CHECKPOINT_WITH_THEN: Final = b"anya-hsm audit checkpoint v3\x00"
_TAG_KEY: Final = b"anya-hsm audit entry tags v1\x00"


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
    """A record in its place in the chain. ``sequence`` counts from 1.

    ``tag`` is empty on entries of a sealed HSM, and on those from before there were tags.
    """

    sequence: int
    previous: bytes
    record: AuditRecord
    hash: bytes
    tag: bytes = b""


class TagKey:
    """Tags entries: HMAC-SHA-256 over an entry's hash, which covers all entries up to it, cut to 16 bytes.

    Derived from the key that signs checkpoints: who can make the one can make the other.
    """

    __slots__ = ("_key",)

    def __init__(self, private_key: Secret) -> None:
        self._key = Secret.taken(hmac.digest(private_key.buffer, _TAG_KEY, "sha256"))

    def __repr__(self) -> str:
        return "TagKey(...)"

    def tag(self, entry_hash: bytes) -> bytes:
        """The tag of the entry with this hash."""
        return hmac.digest(self._key.buffer, entry_hash, "sha256")[:TAG_BYTES]

    def verify(self, entry: AuditEntry) -> None:
        """Return if the entry's tag is ours; raise `AuditBrokenError`."""
        if not hmac.compare_digest(self.tag(entry.hash), entry.tag):
            raise AuditBrokenError(entry.sequence, "its tag is not the HSM's")

    def wipe(self) -> None:
        """Forget the key."""
        self._key.wipe()


class Head(msgspec.Struct, frozen=True):
    """Where a chain ends: how many entries, and the hash of the last."""

    entries: int = 0
    hash: bytes = GENESIS


class Checkpoint(msgspec.Struct, frozen=True):
    """The HSM's signed word that its log once ended at ``head``.

    ``peaks`` are the tree's (`MerkleTree`) over all entries up to there; a checkpoint from before
    there were any has none, and its signature covers no root. ``then`` tells of the entries behind it:
    each is ``tagged``; they may lack a tag, for the HSM was being ``sealed``; nothing, if it is older.
    """

    head: Head
    at_unix_ms: int
    signature: bytes
    peaks: tuple[bytes, ...] = ()
    then: str = ""

    @property
    def tree(self) -> MerkleTree:
        """The tree over the entries that it signs for."""
        return MerkleTree(self.head.entries, self.peaks)

    @property
    def message(self) -> bytes:
        """The bytes that its signature covers."""
        if self.head.entries and not self.peaks and not self.then:
            return _CHECKPOINT + _encoder.encode((self.head.entries, self.head.hash, self.at_unix_ms))
        return checkpoint_message(self.head, self.tree.root, self.at_unix_ms, self.then)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AuditEntry)


def chain(head: Head, record: AuditRecord, key: TagKey | None = None) -> tuple[Head, AuditEntry]:
    """Put a record behind ``head``; the new head and the entry, tagged if there is a key."""
    sequence = head.entries + 1
    digest = _hash(sequence, head.hash, record)
    tag = b"" if key is None else key.tag(digest)
    return Head(sequence, digest), AuditEntry(sequence, head.hash, record, digest, tag)


def encode_entry(entry: AuditEntry) -> bytes:
    """The entry as the log keeps it: without a tag one element less, as before there were tags."""
    if entry.tag:
        return _encoder.encode(entry)
    return _encoder.encode((entry.sequence, entry.previous, entry.record, entry.hash))


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


def verify_tag(entry: AuditEntry, key: TagKey | None, is_needed: bool) -> None:
    """Check the entry's tag, if the key is there, and that it has one where it must; `AuditBrokenError`."""
    if entry.tag:
        if key is not None:
            key.verify(entry)
    elif is_needed:
        raise AuditBrokenError(entry.sequence, "it lacks the tag of the HSM")


def checkpoint_message(head: Head, root: bytes, at_unix_ms: int, then: str = "") -> bytes:
    """The bytes that a checkpoint's signature covers; without ``then`` that of before there were tags."""
    if not then:
        return _CHECKPOINT_WITH_ROOT + _encoder.encode((head.entries, head.hash, root, at_unix_ms))
    return _CHECKPOINT_WITH_THEN + _encoder.encode((head.entries, head.hash, root, at_unix_ms, then))


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
