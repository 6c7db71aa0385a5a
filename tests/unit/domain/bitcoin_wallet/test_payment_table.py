"""Every phase meets every event: the table is the law, and what is not in it is refused."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace

from anya_actors.domain.bitcoin.payment import (
    RESERVING,
    BroadcastPayment,
    Payment,
    PaymentBroadcast,
    PaymentConfirmed,
    PaymentConflicted,
    PaymentInput,
    PaymentRefused,
    PaymentReplaced,
    PaymentSettled,
    PaymentSigned,
    PaymentSigningRefused,
    PaymentUnconfirmed,
    PaymentVanished,
    Phase,
    SignPayment,
    Version,
)
from anya_actors.domain.bitcoin.payment_steps import TRANSITIONS, step
from anya_actors.domain.machine import Event, IllegalTransitionError, InvalidInputError

REPLACEMENT = Version(
    b"bare2", b"\x01" * 32, (PaymentInput(bytes(32), 0, 1141, "wallet.w.0", b"\x02" + bytes(32)),), 2, 282, 0
)
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
    PaymentReplaced("w.1", REPLACEMENT),
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
            if isinstance(command, SignPayment):
                continue
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


def test_a_replacement_is_signed_and_broadcast_before_it_counts_as_taken() -> None:
    replaced = step(payment(Phase.BROADCAST), PaymentReplaced("w.1", REPLACEMENT))
    assert replaced.commands == (SignPayment("w.1", b"bare2", REPLACEMENT.inputs),)
    assert (replaced.state.phase, replaced.state.txid) == (Phase.REQUESTED, REPLACEMENT.txid)
    signed = step(replaced.state, PaymentSigned("w.1", b"signed2", REPLACEMENT.txid))
    assert signed.commands == (BroadcastPayment("w.1", b"signed2"),)
    assert step(signed.state, PaymentBroadcast("w.1", REPLACEMENT.txid)).state.phase is Phase.BROADCAST


@pytest.mark.parametrize(
    "refusal",
    [
        PaymentSigningRefused("w.1", "policy", REPLACEMENT.txid),
        PaymentRefused("w.1", "insufficient fee", 7, REPLACEMENT.txid),
    ],
)
def test_a_refused_replacement_leaves_the_payment_as_it_was(refusal: Event) -> None:
    replaced = step(payment(Phase.BROADCAST), PaymentReplaced("w.1", REPLACEMENT)).state
    if isinstance(refusal, PaymentRefused):
        replaced = step(replaced, PaymentSigned("w.1", b"signed2", REPLACEMENT.txid)).state
    after = step(replaced, refusal).state
    assert (after.phase, after.txid, after.transaction) == (Phase.BROADCAST, bytes(32), b"bare")
    assert after.outpoints == payment(Phase.BROADCAST).outpoints


@pytest.mark.parametrize("txid", [bytes(32), REPLACEMENT.txid])
def test_of_a_payment_and_its_replacement_the_one_in_the_block_counts(txid: bytes) -> None:
    replaced = step(payment(Phase.BROADCAST), PaymentReplaced("w.1", REPLACEMENT)).state
    confirmed = step(replaced, PaymentConfirmed("w.1", 8, txid)).state
    assert (confirmed.phase, confirmed.txid) == (Phase.CONFIRMED, txid)
    assert [other.alive for other in confirmed.others] == [False]
    # What was owed for the other version comes too late to change anything.
    for event in (PaymentSigned("w.1", b"late", REPLACEMENT.txid), PaymentBroadcast("w.1", bytes(32))):
        late = step(confirmed, event)
        assert late.commands == ()
        assert (late.state.phase, late.state.txid) == (Phase.CONFIRMED, txid)


def test_a_conflict_with_what_only_the_replacement_spends_leaves_the_original() -> None:
    more = PaymentInput(b"\x05" * 32, 1, 900, "wallet.w.0", b"\x02" + bytes(32))
    larger = replace(REPLACEMENT, inputs=(*REPLACEMENT.inputs, more))
    replaced = step(payment(Phase.BROADCAST), PaymentReplaced("w.1", larger)).state
    assert more.outpoint in replaced.outpoints
    after = step(replaced, PaymentConflicted("w.1", b"\x09" * 32, (more.outpoint,)))
    assert (after.state.phase, after.state.txid) == (Phase.BROADCAST, bytes(32))
    assert more.outpoint not in after.state.outpoints
    assert after.commands == (BroadcastPayment("w.1", b"bare"),)
    lost = step(replaced, PaymentConflicted("w.1", b"\x09" * 32, (REPLACEMENT.inputs[0].outpoint,))).state
    assert lost.phase is Phase.CONFLICTED


def test_a_replacement_must_spend_every_coin_of_the_original() -> None:
    with pytest.raises(InvalidInputError):
        step(payment(Phase.BROADCAST), PaymentReplaced("w.1", replace(REPLACEMENT, inputs=())))
