"""What the HSM counts: every audited operation of its sessions and its own, and the time it took."""

from __future__ import annotations

import pytest

from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.hsm.errors import KeyExistsError, KeyRateError, WrongPassphraseError
from anya_actors.domain.hsm.metrics import OTHER, HsmMetricsView, OperationMetric
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.operations import MacRequest, SignRequest
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm


async def opened(hsm: HsmService, *key_types: str, policy: KeyPolicy = NO_POLICY) -> SessionView:
    for key_type in key_types:
        await hsm.create_key(key_type, key_type, "alice", policy=policy, message_id=key_type)
    return await hsm.open_session("alice", key_types, message_id="open")


def series(view: HsmMetricsView, key: str, operation: str) -> OperationMetric:
    (found,) = [each for each in view.operations if (each.key, each.operation) == (key, operation)]
    return found


class TickingClock(ManualClock):
    """Time goes on whenever someone looks."""

    ticks = 0

    def monotonic_s(self) -> float:
        self.ticks += 1
        return super().monotonic_s() + self.ticks / 1000


async def test_a_session_tells_how_long_its_operations_took(bench: LocalHsm) -> None:
    bench.clock = TickingClock()
    hsm = await bench.start()
    session = await opened(hsm, "ed25519")
    await bench.actors.call(session.actor, "sign_batch", "ed25519", (b"a", b"b", b"c"), "ed25519")
    found = series(await hsm.metrics("alice"), "ed25519", "sign")
    assert (found.outcomes, found.algorithm, found.latency.count) == ({"ok": 3}, "ed25519", 3)
    assert found.latency.seconds > 0


async def test_the_operations_of_one_call_share_its_time(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "ed25519")
    await bench.actors.call(session.actor, "sign", "ed25519", b"", "ed25519")  # its keys are released
    records = (OperationRecord("verify", "ed25519", 1, "ed25519", count=3),)
    await hsm.append_audit(session.session_id, records, 0.006, message_id="a")
    found = series(await hsm.metrics(), "ed25519", "verify").latency
    assert (found.count, found.buckets[5]) == (3, 3)  # up to 2.5 ms
    assert found.seconds == pytest.approx(0.006)


async def test_what_a_session_refuses_is_counted_and_not_timed(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "ed25519", "hmac-sha256")
    requests = (SignRequest("ed25519", b"", "ed25519"), MacRequest("hmac-sha256", b"", "aes256-cmac"))
    await bench.actors.call(session.actor, "perform_each", requests)
    with pytest.raises(InvalidInputError):
        await bench.actors.call(session.actor, "sign", "ed25519", b"", "rsa-pss-sha256")
    view = await hsm.metrics("alice")
    assert series(view, "hmac-sha256", "mac").outcomes == {"invalid-input": 1}
    assert series(view, "hmac-sha256", "mac").latency.count == 0
    refused = [each.outcomes for each in view.operations if each.algorithm == "rsa-pss-sha256"]
    assert refused == [{"invalid-input": 1}]


async def test_the_seal_is_counted_and_timed_as_every_other_operation(
    bench: LocalHsm, hsm: HsmService
) -> None:
    bench.source.next_passphrase = b"the next one"
    await hsm.change_passphrase("root", message_id="c")
    await hsm.rekey("root", message_id="r")
    await hsm.seal("root", message_id="s")
    bench.source.passphrase = b"not that one"
    with pytest.raises(WrongPassphraseError):
        await hsm.unseal("root", message_id="u1")
    bench.source.passphrase = b"the next one"
    await hsm.unseal("root", message_id="u2")
    found = {each.operation: each for each in (await hsm.metrics("root")).operations}
    assert found["unseal"].outcomes == {"ok": 1, "wrong-passphrase": 1}
    assert [found[each].latency.count for each in ("unseal", "rekey", "change-passphrase")] == [1, 1, 1]


async def test_a_key_that_acts_too_often_is_counted_as_refused(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "ed25519", policy=KeyPolicy(rate_per_s=1))
    await bench.actors.call(session.actor, "sign", "ed25519", b"", "ed25519")
    with pytest.raises(KeyRateError):
        await bench.actors.call(session.actor, "sign", "ed25519", b"", "ed25519")
    assert series(await hsm.metrics(), "ed25519", "sign").outcomes == {"ok": 1, "key-rate": 1}


async def test_the_hsms_own_operations_are_counted_by_key(hsm: HsmService) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="c1")
    with pytest.raises(KeyExistsError):
        await hsm.create_key("k", "ed25519", "alice", message_id="c2")
    await hsm.rotate_key("k", "alice", message_id="r")
    await hsm.random_bytes("alice", 8)
    await hsm.issue_token("alice", ("security",), 60, message_id="t")
    view = await hsm.metrics("alice")
    for key, operation in (
        ("k", "create-key"),
        ("k", "rotate-key"),
        ("", "random"),
        ("api-jwt", "issue-token"),
    ):
        made = [each for each in view.operations if (each.key, each.operation) == (key, operation)]
        assert sum(each.outcomes.get("ok", 0) for each in made) == 1
        assert sum(each.latency.count for each in made) == 1
    refused = [each.outcomes for each in view.operations if "key-exists" in each.outcomes]
    assert refused == [{"key-exists": 1}]


async def test_an_owner_sees_what_is_the_owners_alone(hsm: HsmService) -> None:
    await hsm.create_key("a", "ed25519", "alice", message_id="a")
    await hsm.create_key("b", "ed25519", "bob", message_id="b")
    assert {each.key for each in (await hsm.metrics("alice")).operations} == {"a"}
    assert {"a", "b"} <= {each.key for each in (await hsm.metrics()).operations}
    assert {each.key for each in (await hsm.metrics(by_key=False)).operations} == {""}


async def test_a_name_that_is_nobodys_is_not_shown_as_a_key(hsm: HsmService) -> None:
    with pytest.raises(InvalidInputError):
        await hsm.create_key("no such name!", "ed25519", "alice", message_id="a")
    assert series(await hsm.metrics(), OTHER, "create-key").outcomes == {"invalid-input": 1}


async def test_sessions_seal_and_audit_are_gauged(bench: LocalHsm, hsm: HsmService) -> None:
    await opened(hsm, "ed25519")
    view = await hsm.metrics()
    assert (view.sealed, view.open_sessions, view.audit_waiting) == (False, 1, 0)
    assert view.audit_entries > 0
    assert view.audit_commit.count > 0
    await hsm.close()
    assert (await hsm.metrics()).sealed


async def test_a_restart_begins_anew(bench: LocalHsm, hsm: HsmService) -> None:
    await opened(hsm, "ed25519")
    bench.kill("hsm/main")
    again = await bench.start()
    assert "ed25519" not in {each.key for each in (await again.metrics()).operations}
