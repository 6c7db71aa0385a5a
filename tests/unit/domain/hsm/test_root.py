"""The root of all keys: rekeyed, resealed, sealed, each change made from the seal that is there."""

from __future__ import annotations

import msgspec
import pytest

from anya_actors.domain.hsm import machine
from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.key_life import KeyRewrapped, KeyRotated, WrappedAnew, check_wrapping
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.records import RecordAudit, SecurityRekeyed, SecuritySealed, SecurityUnsealed
from anya_actors.domain.hsm.root import (
    KdfParameters,
    KeksDropped,
    Root,
    RootRekeyed,
    RootResealed,
    RootSealed,
    RootUnsealed,
    Seal,
    WrappedKek,
)
from anya_actors.domain.hsm.slots import KeySlot, KeyVersion, SlotPhase
from anya_actors.domain.machine import Event, IllegalTransitionError, UnavailableError

AUDIT = AuditRecord("r1", 1_700_000_000_000, "hsm/main", "alice", "test")
SEAL = Seal(KdfParameters(), b"salt", b"sealed")
OTHER = msgspec.structs.replace(SEAL, salt=b"other")
ONE, TWO, THREE = (WrappedKek(version, b"wrapped") for version in (1, 2, 3))
ROOT = Root(SEAL, (ONE,))
SLOT = KeySlot(
    "k",
    SlotPhase.DELETED,
    "ed25519",
    "alice",
    ("sign",),
    (KeyVersion(1, b"p", b"first", 1, 0), KeyVersion(2, b"q", b"second", 1, 0, encryptions=7)),
)


def test_a_root_written_before_there_was_a_seal_to_keep_still_loads() -> None:
    written = msgspec.to_builtins(ROOT)
    del written["sealed"]
    assert msgspec.convert(written, Root) == ROOT


def test_a_rekeying_adds_one_and_drops_the_older_ones_at_its_end() -> None:
    rekeyed = machine.step(ROOT, RootRekeyed(SEAL, OTHER, (ONE, TWO), AUDIT))
    assert rekeyed.state == Root(OTHER, (ONE, TWO))
    assert rekeyed.commands == (RecordAudit(AUDIT),)
    dropped = machine.step(rekeyed.state, KeksDropped(2, AUDIT))
    assert (dropped.state, dropped.events) == (Root(OTHER, (TWO,)), (SecurityRekeyed(2),))
    again = machine.step(dropped.state, KeksDropped(2, AUDIT))
    assert (again.state, again.commands, again.events) == (dropped.state, (), ())


def test_a_seal_is_kept_until_someone_unseals_and_told_once() -> None:
    sealed = machine.step(ROOT, RootSealed("by alice", AUDIT))
    assert isinstance(sealed.state, Root)
    assert (sealed.state.sealed, sealed.events) == ("by alice", (SecuritySealed("by alice"),))
    assert machine.step(sealed.state, RootSealed("by bob", AUDIT)).commands == ()
    unsealed = machine.step(sealed.state, RootUnsealed(AUDIT))
    assert (unsealed.state, unsealed.events) == (ROOT, (SecurityUnsealed(),))


@pytest.mark.parametrize(
    "event",
    [
        RootRekeyed(OTHER, SEAL, (ONE, TWO), AUDIT),  # made from a seal that is no longer there
        RootResealed(OTHER, SEAL, AUDIT),
        RootRekeyed(SEAL, SEAL, (ONE,), AUDIT),
        RootRekeyed(SEAL, SEAL, (TWO,), AUDIT),  # it would lose the first
        RootRekeyed(SEAL, SEAL, (ONE, THREE), AUDIT),
        RootRekeyed(SEAL, SEAL, (ONE, TWO, THREE), AUDIT),
        KeksDropped(2, AUDIT),
    ],
)
def test_a_change_that_would_lose_a_key_is_refused(event: Event) -> None:
    with pytest.raises(IllegalTransitionError):
        machine.step(ROOT, event)


def test_a_rewrapping_leaves_alone_what_changed_meanwhile_and_every_nonce() -> None:
    changes = (WrappedAnew(b"gone", b"lost", 2), WrappedAnew(b"second", b"anew", 2))
    outcome = machine.step(SLOT, KeyRewrapped(changes, AUDIT))
    assert isinstance(outcome.state, KeySlot)
    kept = [(each.wrapped, each.kek_version, each.encryptions) for each in outcome.state.versions]
    assert kept == [(b"first", 1, 0), (b"anew", 2, 7)]
    nothing = machine.step(SLOT, KeyRewrapped(changes[:1], AUDIT))
    assert (nothing.state, nothing.commands) == (SLOT, ())


def test_nothing_comes_in_under_a_key_encryption_key_on_its_way_out() -> None:
    check_wrapping(SLOT, SLOT, 2)  # what is there waits to be rewrapped
    late = msgspec.structs.replace(SLOT, versions=(*SLOT.versions, KeyVersion(3, b"r", b"third", 1, 0)))
    with pytest.raises(UnavailableError, match="rekeyed meanwhile"):
        check_wrapping(SLOT, late, 2)
    check_wrapping(SLOT, late, 1)


def test_a_version_wrapped_under_another_policy_is_refused_by_name() -> None:
    enabled = msgspec.structs.replace(SLOT, phase=SlotPhase.ENABLED, policy=KeyPolicy(rate_per_s=5))
    with pytest.raises(IllegalTransitionError, match="another policy"):
        machine.step(enabled, KeyRotated(KeyVersion(3, b"r", b"third", 1, 0), AUDIT))
