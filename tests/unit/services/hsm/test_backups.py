"""A key leaves sealed for its own HSM, and comes back with its nonces where they were."""

from __future__ import annotations

from typing import Any

import pytest

from anya_actors.domain.hsm.errors import (
    ApprovalNeededError,
    KeyExhaustedError,
    KeyExistsError,
    OperationRefusedError,
    UnknownKeyError,
)
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.algorithms import InvalidCiphertextError
from anya_actors.domain.keys.operations import Answer, DecryptRequest, EncryptRequest
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm
from tests.unit.services.hsm.faulty_hsm import wait_rekeyed

COUNTING = KeyPolicy(backup=True, counter_nonces=True, deletion_wait_s=0)
ENCRYPT = EncryptRequest("k", b"text", "aes256-gcm")


async def make(hsm: HsmService, policy: KeyPolicy = COUNTING) -> None:
    await hsm.create_key("k", "aes256-gcm", "alice", ("decrypt", "encrypt"), policy, message_id="make")


async def back_up(hsm: HsmService, message_id: str = "back up") -> bytes:
    return await hsm.back_up_key("k", "alice", message_id=message_id)


async def bring_back(hsm: HsmService, blob: bytes, message_id: str = "bring back") -> None:
    await hsm.bring_back_key("k", "alice", blob, message_id=message_id)
    await hsm.enable_key("k", "alice", message_id=f"enable {message_id}")


async def destroy(hsm: HsmService) -> None:
    await hsm.delete_key("k", "alice", message_id="delete")
    await hsm.destroy_key("k", "alice", message_id="destroy")


async def do(bench: LocalHsm, session: SessionView, request: Any) -> Answer:
    answer: Answer = (await bench.actors.call(session.actor, "perform", (request,)))[0]
    return answer


async def test_a_destroyed_key_comes_back_and_repeats_no_nonce(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    blob = await back_up(hsm)
    session = await hsm.open_session("alice", ("k",), message_id="open")
    old = (await do(bench, session, ENCRYPT)).data
    await destroy(hsm)
    view = await hsm.bring_back_key("k", "alice", blob, message_id="bring back")
    assert (view.state, view.version, view.policy) == ("disabled", 1, COUNTING)
    await hsm.enable_key("k", "alice", message_id="enable")
    session = await hsm.open_session("alice", ("k",), message_id="open again")
    assert (await do(bench, session, DecryptRequest("k", old, "aes256-gcm"))).data == b"text"
    assert (await do(bench, session, ENCRYPT)).data[:12] > old[:12]
    told = [(each.operation, each.outcome) for each in await hsm.audit(0, 100) if "back" in each.operation]
    assert told == [("back-up-key", "ok"), ("bring-back-key", "ok")]


async def test_a_deleted_key_comes_back_too_and_a_live_one_does_not(hsm: HsmService) -> None:
    await make(hsm)
    blob = await back_up(hsm)
    with pytest.raises(KeyExistsError):
        await bring_back(hsm, blob, "too early")
    await hsm.delete_key("k", "alice", message_id="delete")
    await bring_back(hsm, blob)
    with pytest.raises(KeyExistsError):
        await bring_back(hsm, blob, "twice")
    assert (await hsm.key("k")).state == "enabled"


async def test_the_policy_of_today_holds_for_what_comes_back(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    blob = await back_up(hsm)
    stricter = KeyPolicy(counter_nonces=True, deletion_wait_s=0, encryption_limit=7)
    await hsm.rotate_key("k", "alice", message_id="rotate")
    await hsm.configure_key("k", "alice", 1, 0, stricter, message_id="configure")
    await destroy(hsm)
    await bring_back(hsm, blob)
    view = await hsm.key("k")
    assert (view.policy, view.version) == (stricter, 1)
    session = await hsm.open_session("alice", ("k",), message_id="open")
    assert (await do(bench, session, ENCRYPT)).version == 1


async def test_versions_below_the_minimum_stay_away(hsm: HsmService) -> None:
    await make(hsm)
    blob = await back_up(hsm)
    await hsm.rotate_key("k", "alice", message_id="rotate")
    await hsm.configure_key("k", "alice", 2, 0, COUNTING, message_id="configure")
    await destroy(hsm)
    with pytest.raises(InvalidInputError, match="minimum version"):
        await bring_back(hsm, blob)


async def test_trimmed_versions_come_back_to_decrypt_alone(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    session = await hsm.open_session("alice", ("k",), message_id="open")
    old = (await do(bench, session, ENCRYPT)).data
    await hsm.rotate_key("k", "alice", message_id="rotate")
    blob = await back_up(hsm)
    await hsm.configure_key("k", "alice", 2, 0, COUNTING, message_id="configure")
    await hsm.trim_key("k", "alice", 2, message_id="trim")
    await hsm.configure_key("k", "alice", 2, 0, COUNTING, message_id="again")
    await destroy(hsm)
    await bring_back(hsm, blob)
    session = await hsm.open_session("alice", ("k",), message_id="open again")
    with pytest.raises(InvalidInputError, match="may not be used"):
        await do(bench, session, DecryptRequest("k", old, "aes256-gcm", version=1))
    await hsm.configure_key("k", "alice", 1, 1, COUNTING, message_id="open the old one")
    assert (await do(bench, session, DecryptRequest("k", old, "aes256-gcm", version=1))).data == b"text"
    with pytest.raises(KeyExhaustedError):
        await do(bench, session, EncryptRequest("k", b"text", "aes256-gcm", version=1))


async def test_a_backup_needs_the_policys_word(hsm: HsmService) -> None:
    await make(hsm, KeyPolicy())
    with pytest.raises(OperationRefusedError, match="backed up"):
        await back_up(hsm)


async def test_a_guarded_export_guards_backups(hsm: HsmService) -> None:
    guarded = KeyPolicy(backup=True, guarded=("export",), approvers=("bob",), approvals_needed=1)
    await make(hsm, guarded)
    with pytest.raises(ApprovalNeededError):
        await back_up(hsm)
    await hsm.approve_key("k", "export", "bob", message_id="approve")
    await back_up(hsm, "approved")
    with pytest.raises(ApprovalNeededError):
        await back_up(hsm, "once more")


async def test_nobody_takes_or_brings_anothers(hsm: HsmService) -> None:
    await make(hsm)
    with pytest.raises(UnknownKeyError):
        await hsm.back_up_key("k", "bob", message_id="b")
    blob = await back_up(hsm)
    await destroy(hsm)
    for name, owner in (("k", "bob"), ("", "bob"), ("other", "alice")):
        with pytest.raises(InvalidInputError, match="another key"):
            await hsm.bring_back_key(name, owner, blob, message_id=f"{name}{owner}")


async def test_another_hsm_opens_no_backup_of_ours(hsm: HsmService) -> None:
    await make(hsm)
    blob = await back_up(hsm)
    stranger = LocalHsm()
    try:
        other = await stranger.start()
        with pytest.raises(InvalidCiphertextError):
            await bring_back(other, blob)
    finally:
        await stranger.close()


async def test_a_backup_that_was_changed_anywhere_does_not_open(hsm: HsmService) -> None:
    await make(hsm)
    blob = await back_up(hsm)
    await destroy(hsm)
    altered = [blob[:n] + bytes([blob[n] ^ 1 << n % 8]) + blob[n + 1 :] for n in range(len(blob))]
    for wrong in (*altered, *(blob[:n] for n in range(0, len(blob), 7)), blob + b"\0"):
        with pytest.raises(InvalidCiphertextError):
            await bring_back(hsm, wrong)


async def test_a_backup_outlives_a_rekeying(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm)
    blob = await back_up(hsm)
    await hsm.rekey("root", message_id="rekey")
    await wait_rekeyed(hsm)
    await destroy(hsm)
    await bring_back(hsm, blob)
    session = await hsm.open_session("alice", ("k",), message_id="after it")
    assert (await do(bench, session, ENCRYPT)).version == 1
