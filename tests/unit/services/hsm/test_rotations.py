"""Keys rotate by themselves once their newest version is as old as their policy says."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.domain.hsm.errors import SessionClosedError
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.operations import DecryptRequest, EncryptRequest
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm
from tests.unit.services.faulty_store import refusing
from tests.unit.services.hsm.faulty_hsm import FaultyHsm

HOUR_S = 3600
HOURLY = KeyPolicy(auto_rotate_s=HOUR_S)
ALL = ("decrypt", "encrypt")


async def make(hsm: HsmService, name: str = "k", policy: KeyPolicy = HOURLY) -> KeyView:
    return await hsm.create_key(name, "aes256-gcm", "alice", ALL, policy, message_id=f"make {name}")


async def pass_s(bench: LocalHsm, seconds: float) -> None:
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(seconds)


async def version(hsm: HsmService, name: str = "k") -> int:
    return (await hsm.key(name)).version


async def test_a_key_rotates_when_it_is_due_and_not_before(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    await make(hsm, "other", KeyPolicy())
    for hours, seconds in enumerate((HOUR_S - 1, 1, HOUR_S - 1, 1)):
        await pass_s(bench, seconds)
        assert await version(hsm) == 1 + (hours + 1) // 2
    assert await version(hsm, "other") == 1
    told = [entry for entry in await hsm.audit(0, 100) if entry.operation == "rotate-key"]
    assert [(each.owner, each.key, each.key_version, each.detail) for each in told] == [
        ("alice", "k", 2, "by its policy"),
        ("alice", "k", 3, "by its policy"),
    ]


async def test_an_open_session_encrypts_by_the_new_version(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    session = await hsm.open_session("alice", ("k",), message_id="open")
    encrypt = EncryptRequest("k", b"text", "aes256-gcm")
    (old,) = await bench.actors.call(session.actor, "perform", (encrypt,))
    for _ in range(6):  # not idle
        await pass_s(bench, 600)
        (new,) = await bench.actors.call(session.actor, "perform", (encrypt,))
    assert (old.version, new.version) == (1, 2)
    decrypt = DecryptRequest("k", old.data, "aes256-gcm", version=1)
    (opened,) = await bench.actors.call(session.actor, "perform", (decrypt,))
    assert opened.data == b"text"


async def test_a_session_uses_the_version_that_an_hsm_made_and_died_before_it_told(
    bench: LocalHsm, hsm: HsmService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(hsm)
    await make(hsm, "other", KeyPolicy())
    session = await hsm.open_session("alice", ("k", "other"), message_id="open")
    encrypt = (EncryptRequest("k", b"text", "aes256-gcm"),)
    await bench.actors.call(session.actor, "perform", encrypt)

    async def die(_: str) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(hsm._sealing.opened.desk, "refresh_key", die)
    for _ in range(6):  # not idle
        await pass_s(bench, 600)
        (answer,) = await bench.actors.call(session.actor, "perform", encrypt)
    assert (answer.version, await version(hsm)) == (1, 2)
    bench.kill("hsm/main")
    hsm = await bench.start()
    versions = [(await bench.actors.call(session.actor, "perform", encrypt))[0].version for _ in range(3)]
    assert versions == [1, 2, 2]  # what it did before it was heard of is as if done in the old life
    told = [each for each in await hsm.audit(0, 1000) if each.operation == "release-keys"]
    assert [each.key for each in told] == ["k,other", "k"]  # and once, and only what it uses


async def test_a_session_that_cannot_be_told_after_a_restart_is_closed(bench: LocalHsm) -> None:
    hsm = await bench.start()
    await make(hsm)
    session = await hsm.open_session("alice", ("k",), message_id="open")
    encrypt = (EncryptRequest("k", b"text", "aes256-gcm"),)
    await bench.actors.call(session.actor, "perform", encrypt)
    bench.kill("hsm/main")
    hsm = await bench.start()

    async def deaf() -> None:
        raise UnavailableError(session.actor, "it does not hear")

    bench.actors._services[session.actor].forget_keys = deaf
    with pytest.raises(SessionClosedError):
        await bench.actors.call(session.actor, "perform", encrypt)
    assert await hsm.sessions() == []


async def test_what_fell_due_while_nobody_ran_rotates_once_at_the_start(bench: LocalHsm) -> None:
    hsm = await bench.start()
    await make(hsm)
    await hsm.close()
    bench.kill("hsm/main")
    await pass_s(bench, 5 * HOUR_S)
    again = await bench.start()
    await pass_s(bench, 1)
    assert await version(again) == 2


async def test_a_rotation_by_hand_begins_the_time_anew(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    await pass_s(bench, HOUR_S - 1)
    await hsm.rotate_key("k", "alice", message_id="by hand")
    await pass_s(bench, HOUR_S - 1)
    assert await version(hsm) == 2
    await pass_s(bench, 1)
    assert await version(hsm) == 3


async def test_the_period_may_come_and_go(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm, policy=KeyPolicy())
    await pass_s(bench, 10 * HOUR_S)
    await hsm.configure_key("k", "alice", 1, 0, HOURLY, message_id="on")
    await pass_s(bench, 1)  # long due
    assert await version(hsm) == 2
    await hsm.configure_key("k", "alice", 1, 0, KeyPolicy(), message_id="off")
    await pass_s(bench, 10 * HOUR_S)
    assert await version(hsm) == 2


async def test_a_disabled_key_waits_until_it_is_enabled(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    await hsm.disable_key("k", "alice", message_id="off")
    await pass_s(bench, 2 * HOUR_S)
    assert await version(hsm) == 1
    await hsm.enable_key("k", "alice", message_id="on")
    await pass_s(bench, 1)
    assert await version(hsm) == 2


async def test_a_deleted_key_stops_no_other(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm, "gone")
    await make(hsm)
    await hsm.delete_key("gone", "alice", message_id="delete")
    await pass_s(bench, HOUR_S)
    assert (await version(hsm), await version(hsm, "gone")) == (2, 1)


async def test_a_rotation_that_fails_is_tried_again(
    bench: LocalHsm, hsm: HsmService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(hsm)
    with monkeypatch.context() as broken:

        def fail(_: str) -> None:
            raise OSError("no chance left")

        broken.setattr(bench.algorithms, "generate", fail)
        await pass_s(bench, HOUR_S)
        assert await version(hsm) == 1
    await pass_s(bench, 60)
    assert await version(hsm) == 2


async def test_a_store_that_fails_at_the_start_puts_rotation_off_and_does_not_end_it() -> None:
    # It ended until the next start: the keys were read once, and nothing caught that.
    bench = FaultyHsm()
    hsm = await bench.start()
    await make(hsm)
    await hsm.close()
    bench.kill("hsm/main")
    await pass_s(bench, HOUR_S)
    hsm = await bench.start()
    bench.faulty.last.around = failing = refusing("keys", 2)
    await pass_s(bench, 119)
    assert (failing.remaining, await version(hsm)) == (0, 1)
    await pass_s(bench, 1)
    assert await version(hsm) == 2
    await bench.close()


@pytest.mark.parametrize(
    "policy",
    [
        KeyPolicy(auto_rotate_s=HOUR_S - 1),
        KeyPolicy(auto_rotate_s=-1),
        KeyPolicy(auto_rotate_s=2**40),
        KeyPolicy(auto_rotate_s=HOUR_S, guarded=("rotate",), approvers=("bob",), approvals_needed=1),
    ],
)
async def test_periods_that_cannot_be_are_refused(hsm: HsmService, policy: KeyPolicy) -> None:
    with pytest.raises(InvalidInputError, match="auto_rotate_s"):
        await make(hsm, policy=policy)
