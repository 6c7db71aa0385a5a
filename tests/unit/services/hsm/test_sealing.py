"""Sealed, unsealed, rekeyed, resealed: with sessions at work, and with crashes at every call of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest

from anya_actors.domain.hsm import machine
from anya_actors.domain.hsm.errors import SealedError, SessionClosedError, WrongPassphraseError
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.root import KdfParameters, Root
from anya_actors.domain.hsm.slots import KeySlot
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.passphrase import PassphraseSourceError
from anya_actors.ports.state_store import Commit
from anya_actors.services.hsm import HsmService, HsmSettings
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import CHEAP, LocalHsm
from tests.unit.services.faulty_store import Gate, losing_the_answer, refusing, undisturbed
from tests.unit.services.hsm.faulty_hsm import FaultyHsm, wait_rekeyed

OPEN = b"a passphrase of a test"


async def stored(bench: LocalHsm, key: str) -> Any:
    """A record, behind the back of the HSM that is alive: it is fenced by this."""
    found = await (await bench.stores.activate("hsm/main")).load(key)
    assert found is not None
    return machine.STATE.decode(found.state)


async def operations(hsm: HsmService) -> list[str]:
    return [entry.operation for entry in await hsm.audit(0, 1000)]


# -- seal and unseal ---------------------------------------------------------------------------------


async def test_a_sealed_hsm_refuses_every_use_of_a_key_and_says_how_to_unseal(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    session = await hsm.open_session("alice", ("k",), message_id="m2")
    await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
    view = await hsm.seal("root", message_id="s")
    assert (view.sealed, view.reason) == (True, "by root")
    attempts: list[Awaitable[object]] = [
        hsm.keys(),
        hsm.create_key("l", "ed25519", "alice", message_id="m3"),
        hsm.transport_key(),
        hsm.open_session("alice", ("k",), message_id="m4"),
        hsm.random_bytes("alice", 8),
        hsm.issue_token("alice", ("admin",), 60, message_id="m5"),
        hsm.rotate_token_key(message_id="m6"),
        hsm.rekey("root", message_id="m7"),
        hsm.change_passphrase("root", message_id="m8"),
    ]
    for attempt in attempts:
        with pytest.raises(SealedError, match="anya hsm unseal"):
            await attempt


async def test_sealing_wipes_the_keys_of_the_hsm_and_of_every_session(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    session = await hsm.open_session("alice", ("k",), message_id="m2")
    await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
    keks = list(hsm._sealing.opened.vault._keks.values())
    held = bench.actors._services[session.actor]
    assert len(held.held_keys) == 1
    await hsm.seal("root", message_id="s")
    assert [bytes(kek.buffer) for kek in keks] == [bytes(32)]
    assert held.held_keys == ()
    with pytest.raises(SessionClosedError, match="sealed: by root"):
        await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
    await hsm.unseal("root", message_id="u")
    assert await hsm.sessions() == []
    with pytest.raises(SessionClosedError):
        await hsm.append_audit(session.session_id, (), message_id="late")


async def test_health_the_audit_trail_and_the_keys_of_tokens_outlive_the_seal(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    jwks = await hsm.jwks()
    await hsm.seal("root", message_id="s")
    await hsm.check_health()
    assert await hsm.jwks() == jwks
    report = await hsm.verify_audit()
    checkpoint = await hsm.audit_checkpoint()
    assert report.entries == checkpoint.entries == len(await hsm.audit())
    assert (await hsm.audit_inclusion(2)).entry.operation == "create-key"
    bench.source.passphrase = b"another"
    with pytest.raises(WrongPassphraseError):  # audited, and no checkpoint can follow
        await hsm.unseal("root", message_id="u")
    assert (await hsm.audit(0, 1000))[-1].outcome == "refused: wrong-passphrase"
    assert (await hsm.audit_checkpoint()).entries == checkpoint.entries
    assert (await hsm.verify_audit()).entries == checkpoint.entries + 1


async def test_unsealing_reads_the_passphrase_again_and_serves_on(bench: LocalHsm, hsm: HsmService) -> None:
    made = await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    await hsm.seal("root", message_id="s")
    assert not (await hsm.unseal("root", message_id="u")).sealed
    assert await hsm.key("k") == made
    session = await hsm.open_session("alice", ("k",), message_id="m2")
    await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
    assert (await hsm.audit_checkpoint()).entries == len(await hsm.audit(0, 1000))
    assert [each for each in await operations(hsm) if each.endswith("seal")] == ["unseal", "seal", "unseal"]


async def test_a_repeated_seal_or_unseal_is_the_first_one(hsm: HsmService) -> None:
    await hsm.seal("root", message_id="s")
    await hsm.unseal("root", message_id="u")
    assert not (await hsm.seal("root", message_id="s")).sealed
    await hsm.seal("root", message_id="s2")
    assert (await hsm.unseal("root", message_id="u")).sealed


async def test_what_was_sealed_stays_sealed_over_a_restart(bench: LocalHsm, hsm: HsmService) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    await hsm.seal("root", message_id="s")
    hsm = await bench.start()
    await hsm.check_health()
    assert (await hsm.seal_status()).reason == "by root"
    with pytest.raises(SealedError, match="by root"):
        await hsm.keys()
    assert len((await hsm.jwks())["keys"]) == 1
    await hsm.verify_audit()
    await hsm.unseal("root", message_id="u")
    assert [key.name for key in await hsm.keys("alice")] == ["k"]
    hsm = await bench.start()
    assert not (await hsm.seal_status()).sealed


async def test_a_store_that_fails_does_not_keep_the_keys_in_memory() -> None:
    bench = FaultyHsm()
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    bench.faulty.last.around = refusing("commit", 1)
    with pytest.raises(UnavailableError):
        await hsm.seal("root", message_id="s")
    with pytest.raises(SealedError):
        await hsm.keys()
    assert not hsm._trail.signs
    assert (await hsm.seal("root", message_id="s")).sealed  # and now it stays so
    assert (await stored(bench, machine.ROOT)).sealed == "by root"
    await bench.close()


async def test_sealing_does_not_wait_for_an_unsealing_and_wins(bench: LocalHsm, hsm: HsmService) -> None:
    await hsm.seal("root", message_id="s1")
    unsealing = asyncio.create_task(hsm.unseal("root", message_id="u"))
    await asyncio.sleep(0)
    assert (await hsm.seal("root", message_id="s2")).sealed
    await unsealing
    assert (await stored(bench, machine.ROOT)).sealed


async def test_an_hsm_that_nobody_uses_seals_itself_but_not_under_an_open_session() -> None:
    settings = HsmSettings(kdf=CHEAP, auto_seal_after_s=60, session_idle_timeout_s=300)
    bench = LocalHsm(settings=settings)
    assert isinstance(bench.clock, ManualClock)
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    await bench.clock.advance(50)
    session = await hsm.open_session("alice", ("k",), message_id="m2")
    await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
    await bench.clock.advance(200)
    assert not (await hsm.seal_status()).sealed
    await bench.clock.advance(120)  # the session has timed out
    async with asyncio.timeout(20):
        while not (await hsm.seal_status()).reason:
            await bench.clock.advance(5)
    with pytest.raises(SealedError, match="idle for 60 s"):
        await hsm.keys()
    await hsm.unseal("root", message_id="u")
    assert [key.name for key in await hsm.keys("alice")] == ["k"]
    await bench.close()


# -- rekeying ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_master_key", [False, True])
async def test_a_rekeying_wraps_every_version_anew_while_sessions_go_on(
    bench: LocalHsm, hsm: HsmService, new_master_key: bool
) -> None:
    for name in ("a", "b", "deleted"):
        await hsm.create_key(name, "ed25519", "alice", message_id=name)
    await hsm.rotate_key("a", "alice", message_id="r")
    await hsm.delete_key("deleted", "alice", message_id="d")
    session = await hsm.open_session("alice", ("a", "b"), message_id="o")
    await bench.actors.call(session.actor, "sign", "a", b"x", "ed25519")
    await hsm.rekey("root", new_master_key, message_id="rekey")
    await bench.actors.call(session.actor, "sign", "b", b"x", "ed25519")
    await hsm.create_key("late", "ed25519", "alice", message_id="late")
    await wait_rekeyed(hsm)
    assert (await hsm.seal_status()).kek_version == 2
    entries = await hsm.audit(0, 1000)
    assert [entry.detail for entry in entries if entry.operation == "rekey"] == ["key-encryption key 2"]
    counts = {entry.key: entry.count for entry in entries if entry.operation == "rewrap-key"}
    assert counts == {"a": 2, "b": 1, "deleted": 1, "api-jwt": 1, "audit-checkpoint": 1}
    assert [entry.operation for entry in entries].count("finish-rekey") == 1
    await bench.actors.call(session.actor, "sign", "a", b"x", "ed25519")
    hsm = await bench.start()
    await hsm.restore_key("deleted", "alice", message_id="restore")
    await hsm.enable_key("deleted", "alice", message_id="enable")
    session = await hsm.open_session("alice", ("a", "b", "deleted", "late"), message_id="o2")
    for name in ("a", "b", "deleted", "late"):
        await bench.actors.call(session.actor, "sign", name, b"x", "ed25519")


async def test_a_new_master_key_leaves_nothing_for_the_old_one(bench: LocalHsm, hsm: HsmService) -> None:
    before = await hsm._records.load(machine.ROOT, Root)
    await hsm.rekey("root", True, message_id="rekey")
    after = await hsm._records.load(machine.ROOT, Root)
    assert before.seal is not None
    assert after.seal is not None
    assert before.seal.salt != after.seal.salt
    assert before.keks[0].wrapped != after.keks[0].wrapped
    await wait_rekeyed(hsm)
    assert [kek.version for kek in (await stored(bench, machine.ROOT)).keks] == [2]


async def test_an_old_key_encryption_key_opens_nothing_after_the_rekeying(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    await hsm.rekey("root", message_id="rekey")
    await wait_rekeyed(hsm)
    slot = await stored(bench, machine.key_of("k"))
    assert isinstance(slot, KeySlot)
    assert [version.kek_version for version in slot.versions] == [2]


async def test_an_altered_key_keeps_the_older_key_encryption_keys(bench: LocalHsm, hsm: HsmService) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    store = await bench.stores.activate("hsm/main")
    found = await store.load(machine.key_of("k"))
    assert found is not None
    slot = machine.STATE.decode(found.state)
    forged = machine.STATE.encode(msgspec.structs.replace(slot, owner="mallory"))
    await store.commit(Commit(machine.key_of("k"), found.version, forged, "forged"))
    hsm = await bench.start()
    await hsm.rekey("root", message_id="rekey")
    for _ in range(400):
        await asyncio.sleep(0)
    assert (await hsm.seal_status()).older_keks == 1
    assert "finish-rekey" not in await operations(hsm)


async def test_a_key_that_is_being_made_while_the_hsm_is_rekeyed_is_not_lost() -> None:
    bench = FaultyHsm()
    hsm = await bench.start()
    gate = Gate("commit")
    bench.faulty.last.around = gate
    making = asyncio.create_task(hsm.create_key("k", "ed25519", "alice", message_id="m1"))
    await gate.reached.wait()  # wrapped by the first key-encryption key, and on its way
    bench.faulty.last.around = undisturbed  # the others are not held
    await hsm.rekey("root", message_id="rekey")
    for _ in range(100):
        await asyncio.sleep(0)
    assert (await hsm.seal_status()).older_keks == 1
    gate.opened.set()
    await making
    await wait_rekeyed(hsm)
    hsm = await bench.start()
    session = await hsm.open_session("alice", ("k",), message_id="o")
    await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
    await bench.close()


async def test_a_rekeying_whose_answer_was_lost_goes_on_when_it_is_repeated() -> None:
    bench = FaultyHsm()
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    bench.faulty.last.around = losing_the_answer("commit")
    with pytest.raises(UnavailableError):
        await hsm.rekey("root", message_id="rekey")
    assert (await hsm.rekey("root", message_id="rekey")).kek_version == 2
    await wait_rekeyed(hsm)
    assert [kek.version for kek in (await stored(bench, machine.ROOT)).keks] == [2]
    await bench.close()


async def test_a_policy_that_is_changed_during_a_rotation_waits_for_its_turn(hsm: HsmService) -> None:
    # The new version would have been wrapped under the old policy, and never open again.
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    drawn, changes = hsm._keys.drawn, []

    async def configured_meanwhile(*facts: Any) -> Any:
        change = hsm.configure_key("k", "alice", 1, 0, KeyPolicy(rate_per_s=5), message_id="c")
        changes.append(asyncio.create_task(change))
        await asyncio.sleep(0)
        return await drawn(*facts)

    hsm._keys.drawn = configured_meanwhile  # type: ignore[method-assign, assignment]  # the other call's turn
    rotated = await hsm.rotate_key("k", "alice", message_id="r")
    configured = await changes[0]
    assert (rotated.version, configured.version, configured.policy.rate_per_s) == (2, 2, 5)
    assert [each.version for each in await hsm._keys.parcel_keys("k", "alice")] == [1, 2]


# -- the passphrase ----------------------------------------------------------------------------------


async def test_a_changed_passphrase_unseals_and_the_old_one_does_not(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    bench.source.next_passphrase = b"the next one"
    await hsm.change_passphrase("root", message_id="c")
    assert bench.source.passphrase == b"the next one"
    hsm = await bench.start()
    assert [key.name for key in await hsm.keys("alice")] == ["k"]
    bench.source.passphrase = OPEN
    with pytest.raises(WrongPassphraseError):
        await bench.start()


async def test_no_next_passphrase_changes_nothing_and_is_audited(bench: LocalHsm, hsm: HsmService) -> None:
    with pytest.raises(PassphraseSourceError):
        await hsm.change_passphrase("root", message_id="c")
    entry = (await hsm.audit(0, 1000))[-1]
    assert (entry.operation, entry.outcome) == ("change-passphrase", "refused: passphrase-source")
    await bench.start()


async def test_a_change_of_the_passphrase_takes_up_dearer_parameters_and_never_weaker_ones(
    bench: LocalHsm,
) -> None:
    await bench.start()
    for cost, found in ((64, 64), (32, 64)):
        bench.settings = HsmSettings(kdf=KdfParameters(memory_kib=cost, iterations=2, lanes=1))
        bench.source.next_passphrase = str(cost).encode()
        hsm = await bench.start()
        view = await hsm.change_passphrase("root", message_id=f"c{cost}")
        assert (view.argon2_memory_kib, view.argon2_passes) == (found, 2)
