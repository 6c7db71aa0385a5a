"""Coins add up, fees are what the feerate asks, change is never dust, and nothing is wasted."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.coin_search import Worth, branch_and_bound, lightest, random_draw
from anya_actors.domain.bitcoin.coin_selection import (
    MAX_STANDARD_WEIGHT,
    P2WPKH_INPUT_WEIGHT,
    Candidate,
    DustError,
    InsufficientFundsError,
    Selection,
    Target,
    TransactionTooLargeError,
    dust_limit_sat,
    select_coins,
)
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import p2pkh_script, p2sh_script, p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput

CHANGE = p2wpkh_script(bytes(20))
SCRIPTS = (CHANGE, p2tr_script(bytes(32)), p2pkh_script(bytes(20)), p2sh_script(bytes(20)))


def target(amount_sat: int, feerate: int = 1, *, script: bytes = CHANGE, **terms: object) -> Target:
    return Target((TxOutput(amount_sat, script),), feerate, CHANGE, **terms)  # type: ignore[arg-type]


def chosen_of(amounts: list[int], wanted: Target, seed: bytes | None = None) -> Selection:
    return select_coins("w", [Candidate(amount) for amount in amounts], wanted, seed)


# Core's dust limits at 3 sat/vB, as in its policy tests (test/functional/mempool_dust.py).
@pytest.mark.parametrize(("script", "limit"), list(zip(SCRIPTS, (294, 330, 546, 540), strict=True)))
def test_dust_limits_are_those_of_core(script: bytes, limit: int) -> None:
    assert dust_limit_sat(script) == limit
    with pytest.raises(DustError):
        chosen_of([10_000], target(limit - 1, script=script))
    assert chosen_of([10_000], target(limit, script=script)).chosen == (0,)


def signed_vsize(inputs: int, script: bytes, *, change: bool) -> int:
    outputs = (TxOutput(1, script), *((TxOutput(1, CHANGE),) if change else ()))
    witness = (bytes(72), b"\x02" + bytes(32))
    spent = tuple(TxInput(Outpoint(Txid(bytes(32)), at), witness=witness) for at in range(inputs))
    return Transaction(2, spent, outputs).vsize


@given(
    coins=st.lists(st.integers(1, 10**9), max_size=40),
    amount_sat=st.integers(546, 10**9),
    script=st.sampled_from(SCRIPTS),
    feerate=st.integers(1, 500),
    seed=st.none() | st.binary(min_size=4, max_size=4),
)
def test_a_selection_pays_the_amount_and_exactly_the_fee_of_its_own_size(
    coins: list[int], amount_sat: int, script: bytes, feerate: int, seed: bytes | None
) -> None:
    wanted = target(amount_sat, feerate, script=script)
    try:
        selection = chosen_of(coins, wanted, seed)
    except InsufficientFundsError:
        worthy = [value for value in coins if 4 * value > P2WPKH_INPUT_WEIGHT * feerate]
        needed = amount_sat + signed_vsize(max(1, len(worthy)), script, change=False) * feerate
        assert not worthy or sum(worthy) < needed
        return
    assert len(set(selection.chosen)) == len(selection.chosen)
    total_sat = sum(coins[at] for at in selection.chosen)
    assert total_sat == amount_sat + selection.fee_sat + selection.change_sat
    vsize = signed_vsize(len(selection.chosen), script, change=selection.change_sat > 0)
    if selection.change_sat:
        assert selection.fee_sat == vsize * feerate
        assert selection.change_sat >= dust_limit_sat(CHANGE)
    else:
        # What is too little for change goes to the fee, and it is never more than that.
        excess_sat = selection.fee_sat - vsize * feerate
        assert 0 <= excess_sat < wanted.least_change_sat + 32 * feerate


@settings(max_examples=200)
@given(
    values=st.lists(st.integers(1, 60), min_size=1, max_size=9),
    wastes=st.lists(st.integers(-6, 6), min_size=9, max_size=9),
    goal=st.integers(1, 120),
    window=st.integers(0, 25),
)
def test_branch_and_bound_finds_the_least_waste_that_any_changeless_set_has(
    values: list[int], wastes: list[int], goal: int, window: int
) -> None:
    # Equal coins have equal weights, so equal waste: as in every real list of coins.
    coins = [Worth(at, value, value % 3, wastes[value % 3]) for at, value in enumerate(values)]
    coins.sort(key=lambda coin: (-coin.value, coin.weight, coin.place))

    def waste_of(chosen: tuple[Worth, ...]) -> int:
        return sum(coin.waste for coin in chosen) + sum(coin.value for coin in chosen) - goal

    fitting = [
        waste_of(some)
        for size in range(1, len(coins) + 1)
        for some in combinations(coins, size)
        if goal <= sum(coin.value for coin in some) <= goal + window
    ]
    found = branch_and_bound(coins, goal, window, 10**6)
    if not fitting:
        assert found is None
    else:
        assert found is not None
        assert waste_of(tuple(coin for coin in coins if coin.place in found)) == min(fitting)


@settings(max_examples=200)
@given(
    coins=st.lists(st.tuples(st.integers(1, 60), st.integers(1, 9)), min_size=1, max_size=9),
    goal=st.integers(1, 150),
)
def test_the_lightest_set_is_as_light_as_any_that_suffices(coins: list[tuple[int, int]], goal: int) -> None:
    worths = [Worth(at, value, weight, 0) for at, (value, weight) in enumerate(coins)]
    worths.sort(key=lambda coin: (-coin.value, coin.weight, coin.place))
    sums = [
        sum(coin.weight for coin in some)
        for size in range(1, len(worths) + 1)
        for some in combinations(worths, size)
        if sum(coin.value for coin in some) >= goal
    ]
    found = lightest(worths, goal, 10**6)
    assert (found is None) == (not sums)
    if found is not None:
        assert sum(coins[at][1] for at in found) == min(sums)


@given(
    values=st.lists(st.integers(1, 100), min_size=1, max_size=12),
    goal=st.integers(1, 300),
    seed=st.binary(min_size=1, max_size=8),
)
def test_a_random_draw_suffices_and_the_same_seed_draws_the_same(
    values: list[int], goal: int, seed: bytes
) -> None:
    coins = [Worth(at, value, 1, 0) for at, value in enumerate(values)]
    found = random_draw(coins, goal, 12, seed)
    assert found == random_draw(coins, goal, 12, seed)
    assert (found is None) == (sum(values) < goal)
    assert found is None or sum(values[at] for at in found) >= goal
    light = random_draw(coins, goal, 2, seed)
    assert light is None or len(light) <= 2


@given(
    coins=st.lists(st.integers(1, 10**7), min_size=1, max_size=12),
    amounts=st.lists(st.integers(1_000, 10**7), min_size=1, max_size=4),
    feerate=st.integers(1, 200),
    everything=st.booleans(),
)
def test_a_fee_that_the_receivers_pay_is_taken_from_them_and_from_no_one_else(
    coins: list[int], amounts: list[int], feerate: int, everything: bool
) -> None:
    outputs = tuple(TxOutput(amount, CHANGE) for amount in amounts)
    wanted = Target(outputs, feerate, CHANGE, subtract_fee=True, send_all=everything)
    candidates = [Candidate(coin) for coin in coins]
    try:
        selection = select_coins("w", candidates, wanted)
    except (InsufficientFundsError, DustError):
        return
    total_sat = sum(coins[at] for at in selection.chosen)
    assert total_sat == sum(selection.sent_sat) + selection.fee_sat + selection.change_sat
    inputs = [candidates[at] for at in selection.chosen]
    assert selection.fee_sat >= wanted.fee_sat(inputs, change=selection.change_sat > 0)
    if everything:
        assert selection.change_sat == 0
        assert set(selection.chosen) == {
            at for at, coin in enumerate(coins) if 4 * coin > P2WPKH_INPUT_WEIGHT * feerate
        }
    else:
        assert all(sent <= asked for sent, asked in zip(selection.sent_sat, amounts, strict=True))


def test_required_coins_are_spent_and_others_only_where_they_are_needed() -> None:
    coins = [1_000_000, 50_000, 70_000]
    assert chosen_of(coins, target(20_000, required=(1,))).chosen == (1,)
    assert chosen_of(coins, target(200_000, required=(1,))).chosen == (0, 1)
    with pytest.raises(InsufficientFundsError):
        chosen_of(coins, target(100_000, required=(1,), only_required=True))
    assert chosen_of(coins, target(100_000, required=(1, 2), only_required=True)).chosen == (1, 2)


def test_coins_that_fit_exactly_are_taken_without_change() -> None:
    fee_sat = signed_vsize(2, SCRIPTS[0], change=False)
    selection = chosen_of([70_000, 30_000 + fee_sat, 500_000], target(100_000))
    assert (selection.chosen, selection.change_sat, selection.fee_sat) == ((0, 1), 0, fee_sat)


def test_the_smallest_coin_that_suffices_alone_is_taken_when_fees_are_high() -> None:
    assert chosen_of([10**6, 10**5, 10**7], target(50_000, 50)).chosen == (1,)


def test_coins_that_cost_more_than_they_bring_are_left_alone() -> None:
    selection = chosen_of([600] * 20 + [100_000, 100_000], target(150_000, 10))
    assert selection.chosen == (20, 21)


def test_a_payment_that_no_node_would_relay_is_refused() -> None:
    with pytest.raises(TransactionTooLargeError):
        chosen_of([1000] * 3000, target(1_500_000))


def test_the_heaviest_inputs_still_make_a_transaction_that_nodes_relay() -> None:
    amounts = [2_000] * 2000 + [900_000]
    candidates = [Candidate(amount) for amount in amounts]
    for seed in (b"a", b"b"):
        selection = select_coins("w", candidates, target(1_500_000), seed)
        weight = target(1).weight([candidates[at] for at in selection.chosen], change=True)
        assert weight <= MAX_STANDARD_WEIGHT


def test_random_draws_keep_apart_coins_that_a_fixed_order_would_always_join() -> None:
    # At low fees more inputs waste less, so draws take part; different seeds, different coins.
    amounts = [100_000 + at for at in range(20)]
    drawn = {chosen_of(amounts, target(150_000), bytes([at])).chosen for at in range(10)}
    assert len(drawn) > 1
