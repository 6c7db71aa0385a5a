"""Every phase meets every event: the table is the law, and what is not in it is refused."""

from __future__ import annotations

import itertools

import pytest

from anya_actors.domain.bitcoin.payment import (
    RESERVING,
    TRANSITIONS,
    BroadcastPayment,
    Payment,
    PaymentBroadcast,
    PaymentConfirmed,
    PaymentConflicted,
    PaymentInput,
    PaymentRefused,
    PaymentSettled,
    PaymentSigned,
    PaymentSigningRefused,
    PaymentUnconfirmed,
    PaymentVanished,
    Phase,
    step,
)
from anya_actors.domain.machine import Event, IllegalTransitionError

EVENTS: tuple[Event, ...] = (
    PaymentSigned("w.1", b"signed"),
    PaymentSigningRefused("w.1", "policy"),
    PaymentBroadcast("w.1"),
    PaymentRefused("w.1", "mempool full", 7),
    PaymentVanished("w.1"),
    PaymentConfirmed("w.1", 8),
    PaymentUnconfirmed("w.1"),
    PaymentSettled("w.1"),
    PaymentConflicted("w.1", bytes(32)),
)


def payment(phase: Phase, *, height: int | None = None, broadcast_owed: bool = False) -> Payment:
    return Payment(
        payment_id="w.1",
        phase=phase,
        address="bcrt1q",
        amount_sat=1000,
        feerate_sat_per_vb=1,
        fee_sat=141,
        change_sat=0,
        inputs=(PaymentInput(bytes(32), 0, 1141, "wallet.w.0", b"\x02" + bytes(32)),),
        transaction=b"bare",
        txid=bytes(32),
        final_confirmations=6,
        requested_unix_ms=1,
        height=height,
        broadcast_owed=broadcast_owed,
    )


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(Phase, EVENTS)))
def test_whatever_is_not_in_the_table_is_refused(phase: Phase, event: Event) -> None:
    before = payment(phase, height=8)
    if (phase, type(event)) in TRANSITIONS:
        step(before, event)
    else:
        with pytest.raises(IllegalTransitionError, match=f"not legal in {phase.value}"):
            step(before, event)
    assert before == payment(phase, height=8)


@pytest.mark.parametrize("phase", list(Phase))
def test_signed_bytes_reach_the_node_only_through_a_commit(phase: Phase) -> None:
    for event in EVENTS:
        if (phase, type(event)) not in TRANSITIONS:
            continue
        outcome = step(payment(phase, height=8), event)
        for command in outcome.commands:
            assert isinstance(command, BroadcastPayment)
            assert command.transaction == outcome.state.transaction


@pytest.mark.parametrize("phase", list(Phase))
def test_a_block_confirms_a_payment_from_every_phase_that_is_not_in_a_block(phase: Phase) -> None:
    if phase in (Phase.CONFIRMED, Phase.SETTLED):
        return
    assert step(payment(phase), PaymentConfirmed("w.1", 8)).state.phase is Phase.CONFIRMED


def test_coins_are_free_again_only_after_a_rejection_or_a_conflict() -> None:
    for (phase, kind), _ in TRANSITIONS.items():
        event = next(event for event in EVENTS if type(event) is kind)
        after = step(payment(phase, height=8), event).state
        if phase in RESERVING and after.phase not in RESERVING:
            assert after.phase in (Phase.REJECTED, Phase.CONFLICTED, Phase.CONFIRMED)


def test_no_second_broadcast_is_owed_while_one_is() -> None:
    outcome = step(payment(Phase.BROADCAST, broadcast_owed=True), PaymentVanished("w.1"))
    assert outcome.commands == ()
    outcome = step(payment(Phase.BROADCAST), PaymentVanished("w.1"))
    assert outcome.commands == (BroadcastPayment("w.1", b"bare"),)


@pytest.mark.parametrize("phase", [Phase.REJECTED, Phase.CONFLICTED])
def test_a_payment_that_is_told_dead_is_never_broadcast_again_by_us(phase: Phase) -> None:
    for event in EVENTS:
        if (phase, type(event)) in TRANSITIONS:
            assert step(payment(phase), event).commands == ()
