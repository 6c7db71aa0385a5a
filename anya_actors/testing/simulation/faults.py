"""What goes wrong in one run, drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

_Rate = float


@dataclass(slots=True)
class Faults:
    """Rates in [0, 1] for each single act; `heal` ends them all.

    Each run draws which faults it has at all: runs with few kinds of faults get further into the
    system than runs in which everything breaks at once.
    """

    chance: Random
    drop: _Rate = 0.0
    double: _Rate = 0.0
    slowest_s: float = 0.05
    disk_full: _Rate = 0.0
    sync_error: _Rate = 0.0
    crash_at_write: _Rate = 0.0
    power_share: _Rate = 0.0
    crash_every_s: float = 0.0
    partition_every_s: float = 0.0
    move_every_s: float = 0.0
    lying_disk: bool = False
    cut: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def drawn(cls, chance: Random) -> Faults:
        """Faults for one run."""

        def perhaps(value: float, share: float = 0.5) -> float:
            return value * chance.uniform(0.2, 1.0) if chance.random() < share else 0.0

        return cls(
            chance,
            drop=perhaps(0.2),
            double=perhaps(0.3),
            slowest_s=chance.choice((0.005, 0.05, 0.5)),
            disk_full=perhaps(0.1, 0.3),
            sync_error=perhaps(0.1, 0.3),
            crash_at_write=perhaps(0.05),
            power_share=chance.choice((0.0, 0.5, 1.0)),
            crash_every_s=perhaps(4.0),
            partition_every_s=perhaps(4.0),
            move_every_s=perhaps(3.0),
        )

    def strikes(self, rate: _Rate) -> bool:
        """Whether a fault of this rate happens now."""
        return rate > 0.0 and self.chance.random() < rate

    def delay_s(self) -> float:
        """How long one message travels."""
        return self.chance.random() ** 3 * self.slowest_s + 0.0002

    def restart_delay_s(self) -> float:
        """How long a dead process stays away."""
        return self.chance.choice((0.01, 0.5, 3.0)) * self.chance.uniform(0.5, 1.5)

    def heal(self) -> None:
        """From here on nothing breaks, except a disk that lies."""
        self.drop = self.double = self.disk_full = self.sync_error = self.crash_at_write = 0.0
        self.crash_every_s = self.partition_every_s = self.move_every_s = 0.0
        self.cut.clear()
