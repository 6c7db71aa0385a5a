"""What came of a run, and the world outside that judges it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed. ``problems`` is empty if every promise held."""

    seed: int
    fingerprint: str
    problems: tuple[str, ...]
    acknowledged: int
    crashes: int
    trace: tuple[str, ...] = ()


@dataclass(slots=True)
class Outside:
    """The world outside: takes each effect once and remembers what it was."""

    receipts: dict[str, tuple[str, int]] = field(default_factory=dict)
    altered: list[str] = field(default_factory=list)

    def take(self, effect_id: str, transfer: str, amount_sat: int) -> None:
        first = self.receipts.setdefault(effect_id, (transfer, amount_sat))
        if first != (transfer, amount_sat):
            self.altered.append(f"effect {effect_id} was {first}, then {(transfer, amount_sat)}")
