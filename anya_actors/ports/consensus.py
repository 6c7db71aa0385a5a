"""The consensus rules of Bitcoin, as an engine that keeps its own view of the chain.

Calls block and may take long: services make them in a thread, one mutating call at a time.
Nothing an engine holds is durable before `ConsensusEngine.flush` or `ConsensusEngine.close` returns:
a service keeps its own log of blocks and replays what came since then after a crash. The mark that it
leaves with a flush tells it what the engine had been given.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.machine import AnyaError


class EngineFailedError(AnyaError):
    """The engine could not be opened, or is broken; it must be closed and opened anew."""

    code = "consensus-engine-failed"
    message = "the consensus engine failed to {}: {}"
    remedy = "The node restarts it by itself; if it comes back, check the disk and the data directory."

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)


class EngineLockedError(AnyaError):
    """Another engine has this data directory open."""

    code = "consensus-engine-locked"
    message = "the consensus engine's directory {} is in use"
    remedy = "Stop the other node that uses this data directory, or choose another --data-dir."

    def __init__(self, directory: str) -> None:
        super().__init__(directory)


class Standing(enum.Enum):
    """What became of a block."""

    VALID = "valid"  # checked in full, and part of the active chain
    STORED = "stored"  # kept, on a branch with no more work than the active one, not checked in full
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one block. ``reason`` is Core's reject reason of an invalid one, else empty."""

    standing: Standing
    is_new: bool = True
    reason: str = ""
    detail: str = ""


class ConsensusEngine(Protocol):
    """One chain. After any call but `close`, `tip` is the best valid chain of the blocks given."""

    @property
    def mark(self) -> bytes | None:
        """What was left with the flush that this engine was opened from; none if it began with nothing."""

    def tip(self) -> tuple[BlockHash, int]:
        """Hash and height of the active chain's last block."""

    def process_block(self, raw: bytes, begun: Callable[[], None] = lambda: None) -> Verdict:
        """Check a serialised block, keep it if it may be valid, follow it if it makes the best chain.

        Bytes behind the block are ignored; at least a header must be there. ``begun`` is called, if
        it comes to that, when the long part begins that leaves the interpreter to other threads.

        Raises `EngineFailedError` if it could not be judged; the engine must be opened anew.
        """

    def spent_coins(self, block_hash: BlockHash) -> tuple[tuple[Coin, ...], ...]:
        """The coins spent by each transaction of a once connected block, the coinbase left out.

        Raises `KeyError` for a block that never was connected.
        """

    def verify_scripts(self, transaction: Transaction, spent: Sequence[TxOutput]) -> None:
        """Check every input's script under all consensus rules; ``spent`` in the inputs' order.

        Raises `RejectedTransactionError`.
        """

    def flush(self, mark: bytes) -> None:
        """Put everything on disk, then the mark: a crash in between leaves the mark before, or none.

        An engine with its databases in memory has nothing to flush and keeps no mark. Raises
        `EngineFailedError`; the engine must be opened anew.
        """

    def close(self, mark: bytes | None = None) -> None:
        """Put everything on disk, then the mark if there is one, and release the engine; the last call."""


class ConsensusEngines(Protocol):
    """Opens the engine of one data directory."""

    def open(self, *, wipe: bool) -> ConsensusEngine:
        """Open it as it was last flushed and later; wiped or without a mark, with the genesis block alone.

        The mark is away while it opens: what a process died of when it opened it is not opened
        twice. Raises `EngineLockedError` or `EngineFailedError`.
        """

    def set_time(self, unix_s: int) -> None:
        """Let every engine of this process judge blocks as if it were then; 0: by the machine's clock."""
