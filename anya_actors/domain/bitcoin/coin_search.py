"""The searches behind `select_coins`: each looks for a set of coins, none decides.

All of them count in quarters of a satoshi, because a weight unit is a quarter of a virtual byte
(BIP141): so a coin's *effective value*, what it brings after paying for its own input, is whole.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MAX_TRIES: Final = 30_000

Chosen = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Worth:
    """One coin as the searches see it: ``place`` in the caller's list, values in quarter satoshis.

    ``waste`` is what spending it now costs more than at the long-term feerate; it may be negative.
    """

    place: int
    value: int
    weight: int
    waste: int


def branch_and_bound(coins: Sequence[Worth], target: int, window: int, max_weight: int) -> Chosen | None:
    """The set of least waste whose value lies from ``target`` to ``target + window``, or None.

    After Murch's thesis (2016) and Core's ``SelectCoinsBnB``: depth first, a coin is taken before
    it is left out, and what cannot reach the target, or cannot become better, is not looked into.
    ``coins`` stand by falling value.
    """
    search = _Search(coins, target, window, max_weight)
    search.run()
    return search.best


class _Search:
    """The state of one branch-and-bound search."""

    def __init__(self, coins: Sequence[Worth], target: int, window: int, max_weight: int) -> None:
        self._coins, self._target, self._window, self._max_weight = coins, target, window, max_weight
        self._rest = [0] * (len(coins) + 1)
        self._gain = [0] * (len(coins) + 1)  # the most that waste can still fall
        for at in range(len(coins) - 1, -1, -1):
            self._rest[at] = self._rest[at + 1] + coins[at].value
            self._gain[at] = self._gain[at + 1] + min(0, coins[at].waste)
        self.best: Chosen | None = None
        self._least = 0

    def run(self) -> None:
        # (next coin, value, weight, waste, the chosen as a linked list)
        stack: list[tuple[int, int, int, int, tuple[int, object] | None]] = [(0, 0, 0, 0, None)]
        for _ in range(MAX_TRIES):
            if not stack:
                return
            at, value, weight, waste, taken = stack.pop()
            excess = value - self._target
            if taken is not None and excess >= 0:
                self._consider(waste + excess, taken)
            if at == len(self._coins) or value + self._rest[at] < self._target:
                continue
            if self.best is not None and waste + max(0, excess) + self._gain[at] >= self._least:
                continue
            coin = self._coins[at]
            stack.append((self._next_other(at), value, weight, waste, taken))
            if excess + coin.value <= self._window and weight + coin.weight <= self._max_weight:
                more = (coin.place, taken)
                stack.append((at + 1, value + coin.value, weight + coin.weight, waste + coin.waste, more))

    def _next_other(self, at: int) -> int:
        """Where to go on without this coin: its equals would only repeat what was tried with it."""
        coins, after = self._coins, at + 1
        while after < len(coins) and (coins[after].value, coins[after].weight) == (
            coins[at].value,
            coins[at].weight,
        ):
            after += 1
        return after

    def _consider(self, waste: int, taken: tuple[int, object]) -> None:
        if self.best is None or waste < self._least:
            self._least = waste
            places: list[int] = []
            link: object = taken
            while isinstance(link, tuple):
                places.append(link[0])
                link = link[1]
            self.best = tuple(places)


def fewest(coins: Sequence[Worth], target: int) -> Chosen | None:
    """The smallest coin that suffices alone, else the largest until they suffice, or None."""
    for coin in reversed(coins):
        if coin.value >= target:
            return (coin.place,)
    return _until(coins, target)


def random_draw(coins: Sequence[Worth], target: int, max_weight: int, seed: bytes) -> Chosen | None:
    """Coins in an order that ``seed`` decides until they suffice, the smallest let go when too heavy.

    Core's ``SelectCoinsSRD``. The seed is drawn by the caller, so the same seed gives the same coins.
    """
    taken: list[Worth] = []
    value = weight = 0
    for coin in _shuffled(coins, seed):
        taken.append(coin)
        value, weight = value + coin.value, weight + coin.weight
        while weight > max_weight:
            least = min(taken, key=lambda one: one.value)
            taken.remove(least)
            value, weight = value - least.value, weight - least.weight
        if value >= target:
            return tuple(one.place for one in taken)
    return None


def lightest(coins: Sequence[Worth], target: int, max_weight: int) -> Chosen | None:
    """The set of least weight that reaches ``target``, or None: for times of high fees.

    What Core's ``CoinGrinder`` looks for. Coins stand by falling value, then rising weight.
    """
    rest, light = [0] * (len(coins) + 1), [max_weight + 1] * (len(coins) + 1)
    for at in range(len(coins) - 1, -1, -1):
        rest[at] = rest[at + 1] + coins[at].value
        light[at] = min(light[at + 1], coins[at].weight)
    best: Chosen | None = None
    least = max_weight
    stack: list[tuple[int, int, int, Chosen]] = [(0, 0, 0, ())]
    for _ in range(MAX_TRIES):
        if not stack:
            break
        at, value, weight, taken = stack.pop()
        if value >= target:
            if best is None or weight < least:
                best, least = taken, weight
            continue
        if at == len(coins) or value + rest[at] < target:
            continue
        # Values fall, so at least so many more coins are needed, none lighter than the lightest left.
        needed = -(-(target - value) // coins[at].value)
        if weight + needed * light[at] > least - (best is not None):
            continue
        coin = coins[at]
        stack.append((at + 1, value, weight, taken))
        stack.append((at + 1, value + coin.value, weight + coin.weight, (*taken, coin.place)))
    return best


def _until(coins: Sequence[Worth], target: int) -> Chosen | None:
    value, taken = 0, []
    for coin in coins:
        value += coin.value
        taken.append(coin.place)
        if value >= target:
            return tuple(taken)
    return None


def _shuffled(coins: Sequence[Worth], seed: bytes) -> list[Worth]:
    keyed = [(hashlib.sha256(seed + coin.place.to_bytes(4, "big")).digest(), coin) for coin in coins]
    return [coin for _, coin in sorted(keyed, key=lambda one: one[0])]
