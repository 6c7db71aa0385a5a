"""Coins add up, fees are what the feerate asks, and change is never dust."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.coin_selection import (
    CHANGE_DUST_SAT,
    SPEND_CHANGE_VSIZE,
    DustError,
    InsufficientFundsError,
    TransactionTooLargeError,
    dust_limit_sat,
    select_coins,
)
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.payment import PaymentInput
from anya_actors.domain.bitcoin.payment_plan import with_witnesses
from anya_actors.domain.bitcoin.script import p2pkh_script, p2sh_script, p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput

SCRIPTS = (
    p2wpkh_script(bytes(20)),
    p2tr_script(bytes(32)),
    p2pkh_script(bytes(20)),
    p2sh_script(bytes(20)),
)


# Core's dust limits at 3 sat/vB, as in its policy tests (test/functional/mempool_dust.py).
@pytest.mark.parametrize(("script", "limit"), list(zip(SCRIPTS, (294, 330, 546, 540), strict=True)))
def test_dust_limits_are_those_of_core(script: bytes, limit: int) -> None:
    assert dust_limit_sat(script) == limit
    with pytest.raises(DustError):
        select_coins("w", [10_000], limit - 1, script, 1)
    assert select_coins("w", [10_000], limit, script, 1).chosen == (0,)


def signed_vsize(inputs: int, script: bytes, *, change: bool) -> int:
    outputs = (TxOutput(1, script), *((TxOutput(1, p2wpkh_script(bytes(20))),) if change else ()))
    spent = tuple(PaymentInput(bytes(32), at, 1, "k", b"\x02" + bytes(32)) for at in range(inputs))
    bare = Transaction(2, tuple(TxInput(Outpoint(Txid(bytes(32)), at)) for at in range(inputs)), outputs)
    return with_witnesses(bare, spent, (bytes(72),) * inputs).vsize


@given(
    coins=st.lists(st.integers(1, 10**9), max_size=40),
    amount_sat=st.integers(546, 10**9),
    script=st.sampled_from(SCRIPTS),
    feerate=st.integers(1, 500),
)
def test_a_selection_pays_the_amount_and_exactly_the_fee_of_its_own_size(
    coins: list[int], amount_sat: int, script: bytes, feerate: int
) -> None:
    try:
        selection = select_coins("w", coins, amount_sat, script, feerate)
    except InsufficientFundsError:
        worthy = [value for value in coins if value > 68 * feerate]
        needed = amount_sat + signed_vsize(max(1, len(worthy)), script, change=False) * feerate
        assert not worthy or sum(worthy) < needed
        return
    assert len(set(selection.chosen)) == len(selection.chosen)
    total_sat = sum(coins[at] for at in selection.chosen)
    assert total_sat == amount_sat + selection.fee_sat + selection.change_sat
    vsize = signed_vsize(len(selection.chosen), script, change=selection.change_sat > 0)
    if selection.change_sat:
        assert selection.fee_sat == vsize * feerate
        assert selection.change_sat >= CHANGE_DUST_SAT
    else:
        # What is too little for change goes to the fee, and it is never more than that.
        excess_sat = selection.fee_sat - vsize * feerate
        assert 0 <= excess_sat < max(CHANGE_DUST_SAT, SPEND_CHANGE_VSIZE * feerate) + 32 * feerate


def test_coins_that_fit_exactly_are_taken_without_change() -> None:
    fee_sat = signed_vsize(2, SCRIPTS[0], change=False)
    selection = select_coins("w", [70_000, 30_000 + fee_sat, 500_000], 100_000, SCRIPTS[0], 1)
    assert (selection.chosen, selection.change_sat, selection.fee_sat) == ((0, 1), 0, fee_sat)


def test_the_smallest_coin_that_suffices_alone_is_taken() -> None:
    assert select_coins("w", [10**6, 10**5, 10**7], 50_000, SCRIPTS[0], 1).chosen == (1,)


def test_coins_that_cost_more_than_they_bring_are_left_alone() -> None:
    selection = select_coins("w", [600] * 20 + [100_000, 100_000], 150_000, SCRIPTS[0], 10)
    assert selection.chosen == (20, 21)


def test_a_payment_that_no_node_would_relay_is_refused() -> None:
    with pytest.raises(TransactionTooLargeError):
        select_coins("w", [1000] * 3000, 1_500_000, SCRIPTS[0], 1)
