"""Which coins make a payment, at what fee. All arithmetic is whole.

Several searches each propose a set of coins, and the set of least *waste* is taken, as in Core:
waste is what these inputs cost more now than at the long-term feerate, plus either what making
and later spending a change output costs, or what is given away because there is none. The same
coins, target and seed always give the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.coin_search import (
    Chosen,
    Worth,
    branch_and_bound,
    fewest,
    lightest,
    random_draw,
)
from anya_actors.domain.bitcoin.script import witness_program
from anya_actors.domain.bitcoin.transaction import TxOutput
from anya_actors.domain.bitcoin.wire import compact_size
from anya_actors.domain.machine import AnyaError, InvalidInputError

# Weight units (BIP141) of a P2WPKH input: outpoint, empty script, sequence (41 bytes x 4), then the
# witness: count, DER signature of at most 71 bytes (low S) with type byte and length, key with length.
P2WPKH_INPUT_WEIGHT: Final = 41 * 4 + 1 + (1 + 72) + (1 + 33)
MAX_STANDARD_WEIGHT: Final = 400_000
"""Core relays nothing heavier (``policy.h``)."""

LONG_TERM_FEERATE_SAT_PER_VB: Final = 10
"""What coins are expected to cost later: Core's ``-consolidatefeerate``."""

DUST_FEERATE_SAT_PER_VB: Final = 3
_RANDOM_CHANGE_SAT: Final = 50_000  # Core's CHANGE_LOWER: change of a random draw is worth having
_HIGH_FEERATE_FACTOR: Final = 3  # from here on Core looks for the lightest inputs


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
class Candidate:
    """A coin that may be chosen, and the greatest weight of the input that spends it."""

    amount_sat: int
    input_weight: int = P2WPKH_INPUT_WEIGHT


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be paid, and under which terms.

    ``change_input_weight`` is that of later spending the change. ``required`` are places of
    candidates that must be spent. With ``subtract_fee`` the outputs pay the fee; with ``send_all``
    every worthwhile coin is spent and no change is made: the outputs then share what is left.
    """

    outputs: tuple[TxOutput, ...]
    feerate_sat_per_vb: int
    change_script: bytes
    change_input_weight: int = P2WPKH_INPUT_WEIGHT
    long_term_feerate_sat_per_vb: int = LONG_TERM_FEERATE_SAT_PER_VB
    required: tuple[int, ...] = ()
    only_required: bool = False
    subtract_fee: bool = False
    send_all: bool = False

    @property
    def amount_sat(self) -> int:
        return sum(output.amount_sat for output in self.outputs)

    @property
    def change_weight(self) -> int:
        return len(TxOutput(0, self.change_script).serialize()) * 4

    @property
    def least_change_sat(self) -> int:
        """Change below this is dust, or costs more to spend than it is worth."""
        spend_sat = (self.change_input_weight + 3) // 4 * self.long_term_or_now
        return max(dust_limit_sat(self.change_script), spend_sat)

    @property
    def long_term_or_now(self) -> int:
        """The lower of the two feerates: what spending the change is expected to cost."""
        return min(self.feerate_sat_per_vb, self.long_term_feerate_sat_per_vb)

    def weight(self, inputs: Sequence[Candidate], *, change: bool) -> int:
        """The weight of the whole transaction with signatures of the greatest length."""
        count = len(self.outputs) + change
        sizes = 4 + 4 + len(compact_size(len(inputs))) + len(compact_size(count))
        bare = sizes * 4 + 2 + sum(len(output.serialize()) for output in self.outputs) * 4
        bare += self.change_weight if change else 0
        return bare + sum(one.input_weight for one in inputs)

    def fee_sat(self, inputs: Sequence[Candidate], *, change: bool) -> int:
        return (self.weight(inputs, change=change) + 3) // 4 * self.feerate_sat_per_vb


@dataclass(frozen=True, slots=True)
class Selection:
    """Places of the chosen candidates, ascending; ``change_sat`` 0 means no change output.

    ``sent_sat`` is what each output gets, in order. ``waste`` in quarter satoshis.
    """

    chosen: tuple[int, ...]
    fee_sat: int
    change_sat: int
    sent_sat: tuple[int, ...]
    waste: int = 0


def dust_limit_sat(script_pubkey: bytes) -> int:
    """The least amount that Core relays to this script (``GetDustThreshold``, 3 sat/vB)."""
    size = 8 + len(compact_size(len(script_pubkey))) + len(script_pubkey)
    spend = 67 if witness_program(script_pubkey) is not None else 148
    return DUST_FEERATE_SAT_PER_VB * (size + spend)


def select_coins(
    wallet: str, candidates: Sequence[Candidate], target: Target, seed: bytes | None = None
) -> Selection:
    """Choose among the candidates; ``seed`` lets a random draw take part.

    Raises `InsufficientFundsError`, `TransactionTooLargeError`, `DustError`.
    """
    if not (target.subtract_fee or target.send_all):
        _verify_no_dust(target.outputs, [output.amount_sat for output in target.outputs])
    choice = _Choice(wallet, candidates, target)
    if target.send_all:
        return choice.everything()
    return choice.best(seed)


def _verify_no_dust(outputs: Sequence[TxOutput], amounts_sat: Sequence[int]) -> None:
    for output, amount_sat in zip(outputs, amounts_sat, strict=True):
        if output.script_pubkey[:1] == b"\x6a" and amount_sat == 0:
            continue  # an OP_RETURN output holds no money and needs none
        least_sat = dust_limit_sat(output.script_pubkey)
        if amount_sat < least_sat:
            raise DustError(amount_sat, least_sat)


class _Choice:
    """One selection: the candidates with their effective values, and the proposals compared."""

    def __init__(self, wallet: str, candidates: Sequence[Candidate], target: Target) -> None:
        self._wallet, self._candidates, self._target = wallet, candidates, target
        feerate = target.feerate_sat_per_vb
        paid = 0 if target.subtract_fee else feerate
        required = set(target.required)
        free: list[Worth] = []
        for at, one in enumerate(candidates):
            value = 4 * one.amount_sat - one.input_weight * paid
            # A coin that costs more than it brings is never worth an input.
            if at not in required and 4 * one.amount_sat > one.input_weight * feerate:
                waste = one.input_weight * (feerate - target.long_term_feerate_sat_per_vb)
                free.append(Worth(at, value, one.input_weight, waste))
        free.sort(key=lambda coin: (-coin.value, coin.weight, coin.place))
        self._free = [] if target.only_required else free
        self._required = tuple(sorted(required))
        self._max_weight = MAX_STANDARD_WEIGHT - target.weight(self._at(self._required), change=True)

    def _at(self, places: Sequence[int]) -> list[Candidate]:
        return [self._candidates[at] for at in places]

    def best(self, seed: bytes | None) -> Selection:
        """The proposal of least waste; of two equals the one that spends more coins."""
        proposals = [self._completed(chosen) for chosen in self._proposals(seed)]
        found = [one for one in proposals if one is not None]
        if not found:
            # The searches look for up to three weight units too much; the last coins may be exact.
            everything = self._completed(tuple(coin.place for coin in self._free))
            found = [] if everything is None else [everything]
        fitting = [one for one in found if self._weight(one) <= MAX_STANDARD_WEIGHT]
        if fitting:
            selection = min(fitting, key=lambda one: (one.waste, -len(one.chosen)))
            _verify_no_dust(self._target.outputs, selection.sent_sat)
            return selection
        if found:
            raise TransactionTooLargeError(min(len(one.chosen) for one in found))
        raise self._insufficient()

    def everything(self) -> Selection:
        """All worthwhile coins, without change."""
        chosen = tuple(sorted((*self._required, *(coin.place for coin in self._free))))
        inputs = self._at(chosen)
        total_sat = sum(one.amount_sat for one in inputs)
        fee_sat = self._target.fee_sat(inputs, change=False)
        if self._target.weight(inputs, change=False) > MAX_STANDARD_WEIGHT:
            raise TransactionTooLargeError(len(chosen))
        if not chosen or total_sat <= fee_sat:
            raise self._insufficient()
        sent_sat = _shared(total_sat - fee_sat, len(self._target.outputs))
        _verify_no_dust(self._target.outputs, sent_sat)
        return Selection(chosen, fee_sat, 0, sent_sat)

    def _proposals(self, seed: bytes | None) -> list[Chosen]:
        target = self._target
        bare = self._goal(change=False)
        with_change = self._goal(change=True) + 4 * target.least_change_sat
        if bare <= 0 and self._required:
            return [()] if self._completed(()) is not None else [*self._fallbacks(bare, with_change, seed)]
        window = self._change_cost()
        exact = branch_and_bound(self._free, bare, window, self._max_weight)
        if exact is None:
            # The goal is up to three weight units too high; coins that fit to the satoshi miss it.
            slack = 0 if target.subtract_fee else 3 * target.feerate_sat_per_vb
            exact = branch_and_bound(self._free, bare - slack, slack, self._max_weight)
        fallbacks = self._fallbacks(bare, with_change, seed)
        return fallbacks if exact is None else [exact, *fallbacks]

    def _fallbacks(self, bare: int, with_change: int, seed: bytes | None) -> list[Chosen]:
        target, found = self._target, [fewest(self._free, with_change), fewest(self._free, bare)]
        if seed is not None:
            goal = self._goal(change=True) + 4 * max(_RANDOM_CHANGE_SAT, target.least_change_sat)
            found.append(random_draw(self._free, goal, self._max_weight, seed))
        if target.feerate_sat_per_vb > _HIGH_FEERATE_FACTOR * target.long_term_feerate_sat_per_vb:
            found.append(lightest(self._free, with_change, self._max_weight))
        return [chosen for chosen in found if chosen is not None]

    def _goal(self, *, change: bool) -> int:
        """What free coins must bring, in quarter satoshis; up to three weight units too much."""
        target, given = self._target, self._at(self._required)
        amount = 4 * (target.amount_sat - sum(one.amount_sat for one in given))
        if target.subtract_fee:
            return amount
        weight = target.weight(given, change=change) + 3
        return amount + weight * target.feerate_sat_per_vb

    def _change_cost(self) -> int:
        """Making a change output now and spending it later, in quarter satoshis."""
        target = self._target
        later = target.change_input_weight * target.long_term_or_now
        return target.change_weight * target.feerate_sat_per_vb + later

    def _completed(self, chosen: Chosen) -> Selection | None:
        """The selection with exactly its fee, or None if these coins are too few."""
        target = self._target
        places = tuple(sorted((*self._required, *chosen)))
        inputs = self._at(places)
        if not inputs:
            return None
        total_sat = sum(one.amount_sat for one in inputs)
        fees_sat = [target.fee_sat(inputs, change=change) for change in (False, True)]
        if target.subtract_fee:
            return self._subtracted(places, total_sat, fees_sat)
        over_sat = total_sat - target.amount_sat - fees_sat[False]
        if over_sat < 0:
            return None
        change_sat = total_sat - target.amount_sat - fees_sat[True]
        if change_sat < target.least_change_sat:
            change_sat = 0
        fee_sat = total_sat - target.amount_sat - change_sat
        sent_sat = tuple(output.amount_sat for output in target.outputs)
        return Selection(
            places,
            fee_sat,
            change_sat,
            sent_sat,
            self._waste(inputs, 0 if change_sat else over_sat, change_sat),
        )

    def _subtracted(self, places: Chosen, total_sat: int, fees_sat: Sequence[int]) -> Selection | None:
        target = self._target
        change_sat = total_sat - target.amount_sat
        if change_sat < 0:
            return None
        given_away_sat = 0
        if change_sat < target.least_change_sat:
            change_sat, given_away_sat = 0, change_sat
        due_sat = max(0, fees_sat[change_sat > 0] - given_away_sat)
        shares = _shared(due_sat, len(target.outputs))
        sent = tuple(one.amount_sat - share for one, share in zip(target.outputs, shares, strict=True))
        waste = self._waste(self._at(places), given_away_sat, change_sat)
        return Selection(places, due_sat + given_away_sat, change_sat, sent, waste)

    def _waste(self, inputs: Sequence[Candidate], over_sat: int, change_sat: int) -> int:
        target = self._target
        step = target.feerate_sat_per_vb - target.long_term_feerate_sat_per_vb
        spent = sum(one.input_weight for one in inputs) * step
        return spent + (self._change_cost() if change_sat else 4 * over_sat)

    def _weight(self, selection: Selection) -> int:
        return self._target.weight(self._at(selection.chosen), change=selection.change_sat > 0)

    def _insufficient(self) -> InsufficientFundsError:
        inputs = self._at((*self._required, *(coin.place for coin in self._free)))
        fee_sat = self._target.fee_sat(inputs or [Candidate(0)], change=False)
        needed_sat = self._target.amount_sat + (0 if self._target.subtract_fee else fee_sat)
        return InsufficientFundsError(self._wallet, needed_sat, sum(one.amount_sat for one in inputs))


def _shared(total_sat: int, count: int) -> tuple[int, ...]:
    """The total in equal parts; the first takes what does not divide, as in Core."""
    each, left = divmod(total_sat, count)
    return (each + left, *[each] * (count - 1))
