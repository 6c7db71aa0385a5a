"""When the consensus engine puts its state on disk, and what it lacks when it comes back from there.

An engine that was killed has forgotten all blocks since its last flush, and judging them again
takes as long as judging them took. So it is flushed whenever it has judged for a second or so.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.ports.clock import Clock
from anya_actors.ports.consensus import ConsensusEngine, EngineFailedError, Verdict

_JUDGED_S: Final = 1.0
_JUDGED_PER_FLUSH: Final = 10
"""A flush that takes long comes less often: no more than a tenth of the time goes to them."""
_COUNT_SIZE: Final = 8


def mark_of(nodes: Sequence[BlockNode]) -> bytes:
    """What to leave with a flush of an engine that was given these blocks."""
    digest = hashlib.sha256(b"".join(bytes(node.hash) for node in nodes)).digest()
    return len(nodes).to_bytes(_COUNT_SIZE) + digest


def lacking(mark: bytes, nodes: Sequence[BlockNode]) -> Sequence[BlockNode] | None:
    """The blocks that an engine with this mark has yet to be given; `None` if it had been given others.

    Others: the journal was put back from a backup, or a branch was invalidated or reconsidered.
    """
    count = int.from_bytes(mark[:_COUNT_SIZE])
    return nodes[count:] if mark_of(nodes[:count]) == mark else None


def is_where_it_should_be(tip: BlockHash, tree: BlockTree, *, caught_up: bool) -> bool:
    """Whether an engine that came back from a flush may be believed.

    One that was given every block before the flush stands where it stood then. One that
    ``caught_up`` may have been killed while it flushed, and must stand at the first block of the
    most work in the order they came, as if it had been given all of them anew. If that block is an
    invalid one, this says no too often, never yes.
    """
    node = tree.nodes.get(tip)
    if node is None or tree.is_invalidated(node):
        return False
    if not caught_up:
        return True
    best = max(tree.not_invalidated(), key=lambda found: found.work)
    return best.hash == tip


class Judging:
    """Counts the time that the engine judges, and flushes it. Called in the engine's thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._judged_s = 0.0
        self._allowed_s = _JUDGED_S

    @property
    def is_flush_due(self) -> bool:
        return self._judged_s >= self._allowed_s

    def process(self, engine: ConsensusEngine, raw: bytes, begun: threading.Event) -> Verdict:
        """Let it judge a block; ``begun`` is set when that has begun, or was broken off."""
        began_s = self._clock.monotonic_s()
        try:
            return engine.process_block(raw, begun.set)
        finally:
            begun.set()
            self._judged_s += self._clock.monotonic_s() - began_s

    def process_all(self, engine: ConsensusEngine, blocks: Sequence[bytes]) -> None:
        """Give it blocks again; what was refused then is refused now."""
        began_s = self._clock.monotonic_s()
        for raw in blocks:
            engine.process_block(raw)
        self._judged_s += self._clock.monotonic_s() - began_s

    def flush(self, engine: ConsensusEngine, mark: bytes) -> None:
        """Flush the engine; raises `EngineFailedError`."""
        tip, began_s = engine.tip(), self._clock.monotonic_s()
        engine.flush(mark)
        self._judged_s = 0.0
        self._allowed_s = max(_JUDGED_S, _JUDGED_PER_FLUSH * (self._clock.monotonic_s() - began_s))
        if engine.tip() != tip:
            raise EngineFailedError("flush", "it came back with another tip")
