"""Which coins make a payment, at what fee. Every coin here is P2WPKH; all arithmetic is whole.

First a search for coins that need no change (branch and bound, as in Murch's thesis of 2016 on
coin selection); failing that the smallest coin that suffices alone; failing that the largest
coins until they suffice. The same coins and request always give the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.script import witness_program
from anya_actors.domain.bitcoin.wire import compact_size
from anya_actors.domain.machine import AnyaError, InvalidInputError

# Weight units (BIP141). Input: outpoint, empty script, sequence (41 bytes x 4), then the witness:
# count, DER signature of at most 71 bytes (low S) with type byte and length, key with length.
INPUT_WEIGHT: Final = 41 * 4 + 1 + (1 + 72) + (1 + 33)
CHANGE_WEIGHT: Final = 31 * 4
SPEND_CHANGE_VSIZE: Final = (INPUT_WEIGHT + 3) // 4
MAX_STANDARD_WEIGHT: Final = 400_000
"""Core relays nothing heavier (``policy.h``)."""

MAX_TRIES: Final = 20_000
_DUST_FEERATE_SAT_PER_VB: Final = 3
CHANGE_DUST_SAT: Final = 294


class InsufficientFundsError(AnyaError):
    """The spendable coins do not cover the amount and its fee."""

    code = "insufficient-funds"
    message = "{} needs {} sat and has {} sat to spend"
    remedy = "Receive more, wait until coins are confirmed or mature, or send less."

    def __init__(self, wallet: str, needed_sat: int, spendable_sat: int) -> None:
        super().__init__(wallet, needed_sat, spendable_sat)


class TransactionTooLargeError(AnyaError):
    """So many small coins are needed that no node would relay the transaction."""

    code = "transaction-too-large"
    message = "the payment needs {} coins, more than fit into one transaction"
    remedy = "Send a smaller amount, or first join small coins by paying to an own address."

    def __init__(self, coins: int) -> None:
        super().__init__(coins)


class DustError(InvalidInputError):
    """An output that would cost more to spend than it is worth; nodes do not relay it."""

    code = "dust"
    message = "{} sat is dust: this address takes at least {} sat"
    remedy = "Send at least that much."

    def __init__(self, amount_sat: int, least_sat: int) -> None:
        AnyaError.__init__(self, amount_sat, least_sat)


@dataclass(frozen=True, slots=True)
class Selection:
    """Indexes of the chosen candidates, ascending; ``change_sat`` 0 means no change output."""

    chosen: tuple[int, ...]
    fee_sat: int
    change_sat: int


def dust_limit_sat(script_pubkey: bytes) -> int:
    """The least amount that Core relays to this script (``GetDustThreshold``, 3 sat/vB)."""
    size = 8 + len(compact_size(len(script_pubkey))) + len(script_pubkey)
    spend = 67 if witness_program(script_pubkey) is not None else 148
    return _DUST_FEERATE_SAT_PER_VB * (size + spend)


@dataclass(frozen=True, slots=True)
class _Target:
    amount_sat: int
    script_pubkey: bytes
    feerate_sat_per_vb: int

    def fee_sat(self, inputs: int, *, change: bool) -> int:
        outputs = 8 + len(compact_size(len(self.script_pubkey))) + len(self.script_pubkey)
        # version, lock time, count of outputs (one byte), count of inputs; marker and flag.
        bare = (4 + 4 + 1 + len(compact_size(inputs)) + outputs) * 4 + 2
        weight = bare + inputs * INPUT_WEIGHT + (CHANGE_WEIGHT if change else 0)
        return (weight + 3) // 4 * self.feerate_sat_per_vb

    def needed_sat(self, inputs: int, *, change: bool) -> int:
        return self.amount_sat + self.fee_sat(inputs, change=change)


def select_coins(
    wallet: str, amounts_sat: Sequence[int], amount_sat: int, script_pubkey: bytes, feerate_sat_per_vb: int
) -> Selection:
    """Choose among coins of these amounts to pay ``amount_sat`` to the script.

    Raises `InsufficientFundsError`, `TransactionTooLargeError`, `DustError`.
    """
    least_sat = dust_limit_sat(script_pubkey)
    if amount_sat < least_sat:
        raise DustError(amount_sat, least_sat)
    target = _Target(amount_sat, script_pubkey, feerate_sat_per_vb)
    # A coin that costs more than it brings is never worth an input.
    cost_sat = (INPUT_WEIGHT + 3) // 4 * feerate_sat_per_vb
    worthy = [at for at, value in enumerate(amounts_sat) if value > cost_sat]
    worthy.sort(key=lambda at: (-amounts_sat[at], at))
    chosen = _changeless(target, amounts_sat, worthy) or _largest(target, amounts_sat, worthy)
    if chosen is None:
        spendable_sat = sum(amounts_sat[at] for at in worthy)
        needed_sat = target.needed_sat(max(len(worthy), 1), change=False)
        raise InsufficientFundsError(wallet, needed_sat, spendable_sat)
    if len(chosen) * INPUT_WEIGHT > MAX_STANDARD_WEIGHT - 1000:
        raise TransactionTooLargeError(len(chosen))
    return _completed(target, amounts_sat, chosen)


def _completed(target: _Target, amounts_sat: Sequence[int], chosen: Sequence[int]) -> Selection:
    total_sat = sum(amounts_sat[at] for at in chosen)
    change_sat = total_sat - target.needed_sat(len(chosen), change=True)
    # Change that would be dust, or cost more to spend than it is worth, goes to the fee.
    if change_sat < max(CHANGE_DUST_SAT, SPEND_CHANGE_VSIZE * target.feerate_sat_per_vb):
        change_sat = 0
    return Selection(tuple(sorted(chosen)), total_sat - target.amount_sat - change_sat, change_sat)


def _changeless(target: _Target, amounts_sat: Sequence[int], worthy: Sequence[int]) -> tuple[int, ...] | None:
    """Coins whose excess over amount and fee is less than making and spending change costs."""
    tolerance_sat = (CHANGE_WEIGHT // 4 + SPEND_CHANGE_VSIZE) * target.feerate_sat_per_vb
    rest = [0] * (len(worthy) + 1)
    for at in range(len(worthy) - 1, -1, -1):
        rest[at] = rest[at + 1] + amounts_sat[worthy[at]]
    best: tuple[int, tuple[int, ...]] | None = None
    # Depth first, including a coin before leaving it out: (next candidate, total, chosen).
    stack: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    for _ in range(MAX_TRIES):
        if not stack:
            break
        at, total_sat, chosen = stack.pop()
        excess_sat = total_sat - target.needed_sat(len(chosen), change=False)
        if chosen and 0 <= excess_sat <= tolerance_sat and (best is None or excess_sat < best[0]):
            best = (excess_sat, chosen)
        if excess_sat >= 0 or at == len(worthy) or excess_sat + rest[at] < 0:
            continue
        stack.append((at + 1, total_sat, chosen))
        stack.append((at + 1, total_sat + amounts_sat[worthy[at]], (*chosen, worthy[at])))
    return best[1] if best is not None else None


def _largest(target: _Target, amounts_sat: Sequence[int], worthy: Sequence[int]) -> tuple[int, ...] | None:
    alone_sat = target.needed_sat(1, change=True) + CHANGE_DUST_SAT
    for at in reversed(worthy):
        if amounts_sat[at] >= alone_sat:
            return (at,)
    total_sat = 0
    for count, at in enumerate(worthy, start=1):
        total_sat += amounts_sat[at]
        if total_sat >= target.needed_sat(count, change=False):
            return tuple(worthy[:count])
    return None
