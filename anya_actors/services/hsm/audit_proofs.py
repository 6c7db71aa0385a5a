"""Proofs about the audit trail: that an entry is signed for, that nothing signed for was changed since.

The roots of 1024 entries each are computed from the log at the first need and then kept, so a proof
reads at most a few thousand entries however long the log is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from anya_actors.domain.hsm.audit import Checkpoint, parse_entry, view_of
from anya_actors.domain.hsm.merkle_log import (
    Range,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    root_of,
)
from anya_actors.domain.hsm.views import AuditProofView, CheckpointView, ConsistencyProofView
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm.audit import CHUNK, AuditTrail


class AuditProofs:
    """Made against the newest checkpoint, which ``signed`` gives, signed for everything up to now."""

    def __init__(self, trail: AuditTrail, signed: Callable[[], Awaitable[Checkpoint]]) -> None:
        self._trail = trail
        self._signed = signed
        self._chunks: list[bytes] = []
        self._turn = asyncio.Lock()

    async def checkpoint(self) -> CheckpointView:
        """The HSM's signature for the log as it is now."""
        return self._shown(await self._signed())

    async def inclusion(self, sequence: int) -> AuditProofView:
        """Proof that the newest checkpoint signs for the entry of this sequence (counted from 1)."""
        checkpoint = await self._signed()
        if not 1 <= sequence <= checkpoint.head.entries:
            raise InvalidInputError("sequence", f"the log has the entries 1 to {checkpoint.head.entries}")
        data = (await self._trail.raw_entries(sequence - 1, 1))[0]
        path = await self._roots(inclusion_ranges(sequence - 1, checkpoint.head.entries))
        return AuditProofView(
            entry=view_of(parse_entry(data, sequence)),
            leaf=leaf_hash(data).hex(),
            data=data.hex(),
            path=tuple(one.hex() for one in path),
            checkpoint=self._shown(checkpoint),
        )

    async def consistency(self, entries: int) -> ConsistencyProofView:
        """Proof that the first ``entries`` entries are the same under the newest checkpoint."""
        checkpoint = await self._signed()
        if not 1 <= entries <= checkpoint.head.entries:
            raise InvalidInputError("entries", f"choose 1 to {checkpoint.head.entries}")
        path = await self._roots(consistency_ranges(entries, checkpoint.head.entries))
        return ConsistencyProofView(
            entries=entries,
            root=(await self._root((0, entries))).hex(),
            path=tuple(one.hex() for one in path),
            checkpoint=self._shown(checkpoint),
        )

    async def _roots(self, ranges: list[Range]) -> list[bytes]:
        return [await self._root(one) for one in ranges]

    async def _root(self, leaves: Range) -> bytes:
        begin, end = leaves
        if end - begin <= CHUNK:
            return root_of(await self._leaves(begin, end))
        # Subtrees of more leaves than a chunk has begin where a chunk does.
        await self._fill_chunks(end // CHUNK)
        hashes = self._chunks[begin // CHUNK : end // CHUNK]
        rest = end - end % CHUNK
        return root_of(hashes + ([root_of(await self._leaves(rest, end))] if rest < end else []))

    async def _fill_chunks(self, count: int) -> None:
        async with self._turn:
            while len(self._chunks) < count:
                start = len(self._chunks) * CHUNK
                self._chunks.append(root_of(await self._leaves(start, start + CHUNK)))

    async def _leaves(self, begin: int, end: int) -> list[bytes]:
        return [leaf_hash(data) for data in await self._trail.raw_entries(begin, end - begin)]

    def _shown(self, checkpoint: Checkpoint) -> CheckpointView:
        return CheckpointView(
            entries=checkpoint.head.entries,
            head=checkpoint.head.hash.hex(),
            root=checkpoint.tree.root.hex(),
            at_unix_ms=checkpoint.at_unix_ms,
            signature=checkpoint.signature.hex(),
            message=checkpoint.message.hex(),
            key=self._trail.public_key.hex(),
            then=checkpoint.then,
        )
