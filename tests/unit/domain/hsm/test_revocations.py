"""The list of revoked tokens."""

from __future__ import annotations

import pytest

from anya_actors.domain.hsm import machine
from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.errors import RevocationLimitError
from anya_actors.domain.hsm.issuer import MAX_TTL_S
from anya_actors.domain.hsm.records import RecordAudit
from anya_actors.domain.hsm.revocations import MAX_REVOKED, NameRevoked, Revocations, TokenRevoked
from anya_actors.domain.machine import Event

NOW = 1_700_000_000
AUDIT = AuditRecord("r1", NOW * 1000, "hsm/main", "alice", "revoke-token")


def after(revoked: Revocations, *events: Event) -> Revocations:
    for event in events:
        outcome = machine.step(revoked, event)
        assert outcome.commands == (RecordAudit(AUDIT),)
        assert isinstance(outcome.state, Revocations)
        revoked = outcome.state
    return revoked


def test_a_revoked_token_is_covered_and_no_other_of_its_subject() -> None:
    revoked = after(Revocations(), TokenRevoked("t1", NOW + 60, NOW, AUDIT))
    assert revoked.covers("t1", ("alice", ""), NOW)
    assert not revoked.covers("t2", ("alice", ""), NOW)
    assert revoked.version == 1


@pytest.mark.parametrize("names", [("alice", ""), ("someone", "alice")])
def test_a_name_covers_what_was_issued_to_it_as_subject_or_client_until_then(names: tuple[str, str]) -> None:
    revoked = after(Revocations(), NameRevoked("alice", NOW, AUDIT))
    assert revoked.covers("t", names, NOW)
    assert not revoked.covers("t", names, NOW + 1)
    assert not revoked.covers("t", ("bob", "bob"), NOW)


def test_everyone_is_covered_when_all_is_revoked_and_later_revocations_stay() -> None:
    revoked = after(Revocations(), NameRevoked("ahead", NOW + 9, AUDIT), NameRevoked("", NOW, AUDIT))
    assert revoked.covers("t", ("bob", "bob"), NOW)
    assert not revoked.covers("t", ("bob", "bob"), NOW + 1)
    assert revoked.covers("t", ("ahead", ""), NOW + 5)


def test_time_never_takes_a_revocation_back() -> None:
    revoked = after(Revocations(), NameRevoked("alice", NOW, AUDIT), NameRevoked("alice", NOW - 5, AUDIT))
    assert revoked.covers("t", ("alice", ""), NOW)


def test_what_has_expired_anyway_is_forgotten() -> None:
    revoked = after(
        Revocations(),
        TokenRevoked("t1", NOW + 60, NOW, AUDIT),
        NameRevoked("alice", NOW, AUDIT),
        TokenRevoked("t2", NOW + 120, NOW + 60, AUDIT),
    )
    assert set(revoked.tokens) == {"t2"}
    assert set(revoked.names) == {"alice"}
    assert after(revoked, NameRevoked("bob", NOW + MAX_TTL_S + 1, AUDIT)).names.keys() == {"bob"}


def test_a_full_list_refuses_by_name_and_still_ends_everything_by_one() -> None:
    full = Revocations(1, {f"t{number}": NOW + 60 for number in range(MAX_REVOKED)})
    with pytest.raises(RevocationLimitError):
        machine.step(full, TokenRevoked("one more", NOW + 60, NOW, AUDIT))
    assert after(full, NameRevoked("alice", NOW, AUDIT)).covers("any", ("alice", ""), NOW)


def test_a_stored_list_is_read_again() -> None:
    revoked = after(Revocations(), TokenRevoked("t1", NOW + 60, NOW, AUDIT), NameRevoked("a", NOW, AUDIT))
    assert machine.STATE.decode(machine.STATE.encode(revoked)) == revoked
