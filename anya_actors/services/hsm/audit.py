"""The audit trail: the hash chain over an append log, written in groups, signed for at intervals."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.hsm.audit import (
    SEALED,
    TAGGED,
    AuditEntry,
    AuditRecord,
    Checkpoint,
    Head,
    TagKey,
    chain,
    checkpoint_message,
    encode_entry,
    parse_entry,
    verify_entries,
    verify_tag,
)
from anya_actors.domain.hsm.errors import AuditBrokenError
from anya_actors.domain.hsm.merkle_log import MerkleTree, leaf_hash
from anya_actors.domain.hsm.views import AuditReport
from anya_actors.domain.keys.algorithms import InvalidSignatureError
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.append_log import AppendLog, DamagedLogError
from anya_actors.ports.clock import Clock
from anya_actors.ports.key_algorithms import KeyAlgorithms, SigningKey

CHUNK: Final = 1024
REMEMBERED_REQUESTS: Final = 16384


@dataclass(frozen=True, slots=True)
class AuditKeys:
    """What an unsealed HSM has for its trail: the key of checkpoints, and that of entries."""

    signer: SigningKey
    tags: TagKey

    def wipe(self) -> None:
        """Forget both."""
        self.signer.wipe()
        self.tags.wipe()


class AuditTrail:
    """One writer at a time; what waits meanwhile is appended together in one sync.

    `append` returns when its records are on disk. A record whose request was recorded before is
    not recorded again; that memory reaches back over the last 16384 entries. With ``sealing`` its
    checkpoints allow entries without a tag behind them.
    """

    def __init__(self, log: AppendLog, clock: Clock, algorithms: KeyAlgorithms) -> None:
        self._log = log
        self._clock = clock
        self._algorithms = algorithms
        self._head = Head()
        self._tree = MerkleTree()
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._waiting: list[tuple[tuple[AuditRecord, ...], asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._public_key = b""
        self._keys: AuditKeys | None = None
        self.sealing = False
        self._promised = ""
        self._pending: Checkpoint | None = None
        self._untagged = 0
        self._opened = asyncio.Event()
        self._growth: set[tuple[int, asyncio.Future[None]]] = set()
        self._lost: UnavailableError | None = None

    @property
    def head(self) -> Head:
        """Where the chain ends."""
        return self._head

    @property
    def public_key(self) -> bytes:
        """The key that verifies its checkpoints; empty before it is open."""
        return self._public_key

    @property
    def waiting(self) -> int:
        """How many records wait for the write that runs now."""
        return sum(len(records) for records, _ in self._waiting)

    def verify_writable(self) -> None:
        """Raise `UnavailableError` once the log takes nothing more until it is opened anew."""
        if self._lost is not None:
            raise UnavailableError(*self._lost.args)

    @property
    def signs(self) -> bool:
        """Whether it can make checkpoints: not while the HSM is sealed."""
        return self._keys is not None

    @property
    def then(self) -> str:
        """What its checkpoints say of the entries behind them."""
        return SEALED if self.sealing else TAGGED

    def promised(self, checkpoint: Checkpoint) -> None:
        """This checkpoint is stored: the next to read the log will hold it to that."""
        self._promised, self._pending = checkpoint.then, None

    @property
    def pending(self) -> Checkpoint | None:
        """What is to be stored before an entry without a tag is taken: else the log would seem altered."""
        return self._pending

    def drop_keys(self) -> None:
        """Wipe its keys; entries are taken and verified as before, and have no tag."""
        if self._keys is not None and self._promised == TAGGED:
            self.sealing = True
            self._pending = self.sign()
        self._wipe_keys()

    async def open(
        self, public_key: bytes, checkpoint: Checkpoint | None, keys: AuditKeys | None = None
    ) -> None:
        """Read the chain from the checkpoint on; raise `AuditBrokenError` if the log fails it.

        Opened before, it only takes the keys, which must be those that it was verified by.
        """
        try:
            if not self._opened.is_set():
                await self._begin(public_key, checkpoint)
            if keys is not None:
                if keys.signer.public_key != self._public_key:
                    raise AuditBrokenError(self._head.entries, "its checkpoints were verified by another key")
                await self._verify_tags(keys.tags, checkpoint)
        except BaseException:
            if keys is not None:
                keys.wipe()
            raise
        if keys is not None:
            self._wipe_keys()
            self._keys, self._pending = keys, None
        self._opened.set()

    async def _begin(self, public_key: bytes, checkpoint: Checkpoint | None) -> None:
        self._public_key = public_key
        head = Head()
        if checkpoint is not None:
            self._verify_checkpoint(checkpoint)
            head = checkpoint.head
            self._tree = checkpoint.tree if checkpoint.peaks else MerkleTree()
            self._promised = checkpoint.then
        await self._check_entry_at(head)
        while self._tree.size < head.entries:  # its checkpoint is from before there was a tree
            self._grow(await self._read(self._tree.size, min(CHUNK, head.entries - self._tree.size)))
        # The last entries are read also when signed for: their requests must be remembered.
        start = max(0, min(head.entries, len(self._log) - REMEMBERED_REQUESTS))
        if start < head.entries:
            for entry in await self._tail_before(head, start):
                self._remember(entry)
        self._head = head
        await self._follow_log()

    async def append(self, *records: AuditRecord) -> None:
        """Return when the records are durable; raise `LogFullError` and the like if they are not."""
        await self._opened.wait()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((records, done))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_all())
        await done

    async def grown(self, entries: int) -> None:
        """Wait until the chain has at least so many entries."""
        while self._head.entries < entries:
            waiting = (entries, asyncio.get_running_loop().create_future())
            self._growth.add(waiting)
            try:
                await waiting[1]
            finally:
                self._growth.discard(waiting)

    async def entries(self, after: int, limit: int) -> list[AuditEntry]:
        """Up to ``limit`` entries with a greater sequence, each checked to follow the one before."""
        if after >= self._head.entries or limit < 1:
            return []
        limit = min(limit, self._head.entries - after)
        before = Head()
        if after > 0:
            before = Head(after, _stored_hash((await self._read(after - 1, 1))[0], after))
        head, found = verify_entries(before, await self._read(after, limit))
        if len(found) < limit:
            raise AuditBrokenError(head.entries + 1, "the log ends before it")
        return found

    async def verify(self, checkpoint: Checkpoint | None) -> AuditReport:
        """Recompute the whole chain; raise `AuditBrokenError` at the first entry that does not hold.

        Entries appended while it runs are left to the next verification.
        """
        target, head, tree, root = self._head, Head(), MerkleTree(), self._tree.root
        if checkpoint is not None:
            self._verify_checkpoint(checkpoint)
        while head.entries < target.entries:
            data = await self._read(head.entries, min(CHUNK, target.entries - head.entries))
            head, entries = verify_entries(head, data)
            tree = tree.grow([leaf_hash(one) for one in data])
            self._verify_tags_of(entries, 0 if checkpoint is None else checkpoint.head.entries)
            if checkpoint is not None and entries[0].sequence <= checkpoint.head.entries <= head.entries:
                signed = entries[checkpoint.head.entries - entries[0].sequence]
                if signed.hash != checkpoint.head.hash:
                    raise AuditBrokenError(signed.sequence, "the HSM signed for another entry here")
        if head != target or tree.root != root:
            raise AuditBrokenError(target.entries, "the HSM wrote another entry here")
        return AuditReport(
            entries=head.entries,
            head=head.hash.hex(),
            signed_entries=0 if checkpoint is None else checkpoint.head.entries,
            signed_at_unix_ms=0 if checkpoint is None else checkpoint.at_unix_ms,
            checkpoint_key=self.public_key.hex(),
        )

    def sign(self) -> Checkpoint:
        """Sign for the chain as it is now. Its entries are durable already."""
        now = self._clock.now_unix_ms()
        if self._keys is None:
            raise UnavailableError("the audit trail's signing key", "the HSM is sealed")
        message = checkpoint_message(self._head, self._tree.root, now, self.then)
        signature = self._keys.signer.sign(message, "ed25519")
        return Checkpoint(self._head, now, signature, self._tree.peaks, self.then)

    async def raw_entries(self, start: int, limit: int) -> list[bytes]:
        """Exactly so many entries from a place on (counted from 0), as the log keeps them."""
        if start + limit > self._head.entries:
            raise InvalidInputError("entries", f"the log has {self._head.entries}")
        found: list[bytes] = []
        while len(found) < limit:
            found += await self._read(start + len(found), limit - len(found))
        return found

    async def close(self) -> None:
        """Finish what is being written and release the log."""
        if self._writer is not None:
            await asyncio.gather(self._writer, return_exceptions=True)
        self._wipe_keys()
        await self._log.close()

    # -- writing ------------------------------------------------------------------------------

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                outcome: BaseException | None = None
                try:
                    await self._write([record for records, _ in batch for record in records])
                except Exception as error:  # noqa: BLE001 - handed to every caller that waits
                    outcome = error
                    if isinstance(error, UnavailableError) and self._pending is None:
                        self._lost = error
                for _, done in batch:
                    if done.done():
                        continue  # its caller was cancelled
                    if outcome is None:
                        done.set_result(None)
                    else:
                        done.set_exception(outcome)
        finally:
            self._writer = None

    async def _write(self, records: Sequence[AuditRecord]) -> None:
        if self._pending is not None:
            raise UnavailableError("the audit trail", "that the HSM is sealed could not be stored yet")
        if len(self._log) != self._head.entries:
            await self._follow_log()  # an append that raised had happened after all
        head, entries, fresh = self._head, [], set[str]()
        key = None if self._keys is None else self._keys.tags
        for record in records:
            if record.request_id in self._recent or record.request_id in fresh:
                continue
            fresh.add(record.request_id)
            head, entry = chain(head, record, key)
            entries.append(entry)
        if not entries:
            return
        encoded = [encode_entry(entry) for entry in entries]
        await self._log.append(*encoded)
        self._head = head
        self._grow(encoded)
        for entry in entries:
            self._remember(entry)
        for wanted, reached in self._growth:
            if head.entries >= wanted and not reached.done():
                reached.set_result(None)

    async def _follow_log(self) -> None:
        """Take over the entries that stand in the log behind our head."""
        while self._head.entries < len(self._log):
            data = await self._read(self._head.entries, CHUNK)
            self._head, entries = verify_entries(self._head, data)
            self._grow(data)
            for entry in entries:
                self._remember(entry)
        if len(self._log) < self._head.entries:
            missing = self._head.entries - len(self._log)
            raise AuditBrokenError(len(self._log) + 1, f"the last {missing} entries are missing")

    def _grow(self, entries: Sequence[bytes]) -> None:
        self._tree = self._tree.grow([leaf_hash(data) for data in entries])

    def _remember(self, entry: AuditEntry) -> None:
        if not entry.tag:
            self._untagged = max(self._untagged, entry.sequence)
        self._recent[entry.record.request_id] = None
        if len(self._recent) > REMEMBERED_REQUESTS:
            self._recent.popitem(last=False)

    # -- verifying ----------------------------------------------------------------------------

    def _verify_checkpoint(self, checkpoint: Checkpoint) -> None:
        try:
            self._algorithms.verify(
                "ed25519", self._public_key, checkpoint.message, checkpoint.signature, "ed25519"
            )
        except InvalidSignatureError:
            raise AuditBrokenError(checkpoint.head.entries, "the checkpoint's signature is wrong") from None

    async def _verify_tags(self, key: TagKey, checkpoint: Checkpoint | None) -> None:
        """Check the tags of all entries that the checkpoint does not cover, up to now."""
        head = Head() if checkpoint is None else checkpoint.head
        is_needed = checkpoint is not None and checkpoint.then == TAGGED
        while head.entries < self._head.entries:
            data = await self._read(head.entries, min(CHUNK, self._head.entries - head.entries))
            head, entries = verify_entries(head, data)
            for entry in entries:
                verify_tag(entry, key, is_needed)
        if head != self._head:
            raise AuditBrokenError(head.entries, "the HSM wrote another entry here")

    def _verify_tags_of(self, entries: Sequence[AuditEntry], signed: int) -> None:
        """Check the tags of entries, which only those signed for or taken without one may lack."""
        key = None if self._keys is None else self._keys.tags
        for entry in entries:
            verify_tag(entry, key, entry.sequence > max(signed, self._untagged))

    def _wipe_keys(self) -> None:
        keys, self._keys = self._keys, None
        if keys is not None:
            keys.wipe()

    async def _check_entry_at(self, head: Head) -> None:
        """Check that the entry which ``head`` names stands in the log and is whole."""
        if head.entries == 0:
            return
        if len(self._log) < head.entries:
            missing = head.entries - len(self._log)
            reason = f"{missing} entries that the HSM signed for are missing"
            raise AuditBrokenError(len(self._log) + 1, reason)
        data = (await self._read(head.entries - 1, 1))[0]
        if _stored_hash(data, head.entries) != head.hash:
            raise AuditBrokenError(head.entries, "the HSM signed for another entry here")

    async def _tail_before(self, head: Head, start: int) -> list[AuditEntry]:
        """The entries from index ``start`` up to ``head``, checked among each other."""
        data = await self._read(start, head.entries - start)
        before = Head()
        if start > 0:
            before = Head(start, _stored_hash((await self._read(start - 1, 1))[0], start))
        found, entries = verify_entries(before, data)
        if found != head:
            raise AuditBrokenError(head.entries, "the HSM signed for another entry here")
        return entries

    async def _read(self, start: int, limit: int) -> list[bytes]:
        """At least one and up to ``limit`` records, fewer only where the log was cut off."""
        try:
            data = await self._log.read(start, limit)
        except DamagedLogError as error:
            raise AuditBrokenError(int(error.args[1]) + 1, "its bytes are damaged on disk") from error
        if not data:
            raise AuditBrokenError(start + 1, "the log ends before it")
        return data


def _stored_hash(data: bytes, sequence: int) -> bytes:
    """The hash that the entry at ``sequence`` claims; the next entry must carry it."""
    return parse_entry(data, sequence).hash
