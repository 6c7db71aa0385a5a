"""Operations that take the word of m of n approvers, each good once, whatever crashes when."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from anya_actors.domain.hsm.approvals import MAX_OF_ONE
from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.hsm.errors import ApprovalNeededError, UnknownKeyError
from anya_actors.domain.hsm.key_life import KeyConfigured, step_life
from anya_actors.domain.hsm.machine import key_of
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.slots import KeySlot
from anya_actors.domain.keys.operations import (
    AgreeRequest,
    Answer,
    DecryptRequest,
    EncryptRequest,
    Refusal,
    RewrapRequest,
    SignRequest,
    VerifyRequest,
)
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

PAY = b"pay bob 5"


def digest(message: bytes) -> str:
    return hashlib.sha256(message).hexdigest()


class Guarded:
    """A key ``k`` of alice with a guard, and a session for it."""

    def __init__(self, bench: LocalHsm, hsm: HsmService) -> None:
        self.bench, self.hsm = bench, hsm
        self.approved = 0
        self.session = ""

    async def make(self, key_type: str = "ed25519", *guarded: str, needed: int = 2) -> Guarded:
        policy = KeyPolicy(
            guarded=(*(guarded or ("sign",)), "configure"),
            approvers=("carol", "dave", "erin"),
            approvals_needed=needed,
        )
        operations = ("decrypt", "derive", "encrypt", "sign", "verify")
        await self.hsm.create_key("k", key_type, "alice", operations, policy, message_id="k")
        self.session = (await self.hsm.open_session("alice", ("k",), message_id="s")).session_id
        return self

    async def approve(
        self, approver: str, message: bytes | None = None, operation: str = "sign", **how: int
    ) -> None:
        self.approved += 1
        named = "" if message is None else digest(message)
        await self.hsm.approve_key("k", operation, approver, named, **how, message_id=f"a{self.approved}")

    async def ask(self, method: str, *arguments: Any) -> Any:
        return await self.bench.actors.call(f"hsm-session/{self.session}", method, *arguments)

    async def sign(self, message: bytes = PAY) -> bytes:
        signature: bytes = await self.ask("sign", "k", message, "ed25519")
        return signature

    async def left(self) -> list[tuple[str, bool, int]]:
        found = await self.hsm.approvals("k")
        return [(each.approver, bool(each.digest), each.uses) for each in found]

    async def outcomes(self) -> list[str]:
        return [each.outcome for each in await self.hsm.audit(0, 1000) if each.operation == "sign"]


@pytest.fixture
async def guarded(bench: LocalHsm, hsm: HsmService) -> Guarded:
    return Guarded(bench, hsm)


async def test_a_signature_takes_two_of_three_once(guarded: Guarded) -> None:
    await guarded.make()
    with pytest.raises(ApprovalNeededError, match="2 more"):
        await guarded.sign()
    await guarded.approve("carol")
    await guarded.approve("carol")
    with pytest.raises(ApprovalNeededError, match="1 more"):
        await guarded.sign()
    await guarded.approve("erin")
    await guarded.sign()
    with pytest.raises(ApprovalNeededError, match="2 more"):
        await guarded.sign()
    refused = "refused: approval-needed"
    assert await guarded.outcomes() == [refused, refused, "ok", refused]


async def test_an_approval_of_one_message_is_good_for_no_other(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol", PAY)
    with pytest.raises(ApprovalNeededError):
        await guarded.sign(b"pay mallory 500")
    await guarded.sign(PAY)


async def test_what_names_the_message_is_spent_before_what_does_not(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol")
    await guarded.approve("carol", PAY)
    await guarded.approve("dave", b"another")
    await guarded.sign(PAY)
    assert await guarded.left() == [("carol", False, 1), ("dave", True, 1)]


async def test_an_approval_may_be_for_several_times_and_for_less_than_an_hour(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol", uses=2, ttl_s=60)
    await guarded.sign()
    assert await guarded.left() == [("carol", False, 1)]
    assert isinstance(guarded.bench.clock, ManualClock)
    await guarded.bench.clock.advance(60)
    with pytest.raises(ApprovalNeededError):
        await guarded.sign()
    assert await guarded.left() == []


async def test_an_answer_that_is_asked_for_again_after_a_crash_spends_once(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol", uses=5)
    await guarded.sign()
    told = (guarded.session, (OperationRecord("sign", "k", 1, "ed25519", digest=digest(PAY)),), 0.0)
    await guarded.hsm.append_audit(*told, message_id="m")
    successor = await guarded.bench.start()
    await successor.append_audit(*told, message_id="m")
    assert [each.uses for each in await successor.approvals("k")] == [3]
    entries = [each for each in await successor.audit(0, 1000) if each.operation == "sign"]
    assert [each.outcome for each in entries] == ["ok", "ok"]
    await successor.verify_audit()


async def test_no_later_session_uses_what_was_spent(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol")
    await guarded.sign()
    guarded.bench.kill(f"hsm-session/{guarded.session}")
    successor = await guarded.bench.start()
    session = await successor.open_session("alice", ("k",), message_id="s2")
    with pytest.raises(ApprovalNeededError):
        await guarded.bench.actors.call(session.actor, "sign", "k", PAY, "ed25519")


async def test_what_takes_approvals_is_asked_for_alone(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol", uses=9)
    two = tuple(SignRequest("k", each, "ed25519") for each in (b"1", b"2"))
    for method, *arguments in (
        ("perform", two),
        ("sign_many", two),
        ("sign_batch", "k", (b"1",), "ed25519"),
    ):
        with pytest.raises(InvalidInputError, match="alone"):
            await guarded.ask(method, *arguments)
    each = await guarded.ask("perform_each", two)
    assert [type(found) for found in each] == [Refusal, Refusal]
    assert await guarded.left() == [("carol", False, 9)]
    assert "ok" not in await guarded.outcomes()


async def test_the_shortcuts_of_curves_are_closed_for_a_guarded_key(guarded: Guarded) -> None:
    await guarded.make("secp256k1", "sign", "derive", needed=1)
    await guarded.approve("carol", uses=9)
    await guarded.approve("carol", None, "derive", uses=9)
    point = await guarded.ask("public_key", "k")
    for method, *arguments in (
        ("musig2_nonce", "k"),
        ("shared_point", "k", point),
        ("shared_points", "k", (point,)),
    ):
        with pytest.raises(InvalidInputError, match="alone"):
            await guarded.ask(method, *arguments)
    agreeing = AgreeRequest("k", point, "ecdh-secp256k1")
    (secret,) = await guarded.ask("perform", (agreeing,))
    assert secret.data
    assert [uses for *_, uses in await guarded.left()] == [9, 8]


@pytest.mark.parametrize(
    "records",
    [
        (OperationRecord("sign", "k", count=2),),
        (OperationRecord("sign", "k"), OperationRecord("sign", "k")),
        (OperationRecord("verify", "k"), OperationRecord("sign", "k")),
        (OperationRecord("verify", "k", outcome="refused: x"), OperationRecord("sign", "k")),
    ],
)
async def test_the_hsm_lets_no_session_hide_a_guarded_operation(
    guarded: Guarded, records: tuple[OperationRecord, ...]
) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol", uses=9)
    await guarded.ask("public_key", "k")
    with pytest.raises(InvalidInputError, match="alone"):
        await guarded.hsm.append_audit(guarded.session, records, message_id="m")
    assert await guarded.left() == [("carol", False, 9)]
    assert set(await guarded.outcomes()) == {"refused: invalid-input"}


@pytest.mark.parametrize("operation", ["musig2-sign", "musig2-nonce", "mac", "sign"])
async def test_the_hsm_consents_to_no_guarded_operation_without_approval(
    guarded: Guarded, operation: str
) -> None:
    await guarded.make(needed=1)
    await guarded.ask("public_key", "k")
    with pytest.raises(ApprovalNeededError):
        await guarded.hsm.append_audit(guarded.session, (OperationRecord(operation, "k"),), message_id="m")


async def test_what_is_not_guarded_takes_nothing(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    await guarded.approve("carol")
    signature = await guarded.sign()
    await guarded.ask("perform", (VerifyRequest("k", PAY, signature, "ed25519"),) * 3)


async def test_decryption_is_guarded_and_encrypting_anew_is_not(guarded: Guarded) -> None:
    await guarded.make("aes256-gcm", "decrypt", needed=1)
    (sealed,) = await guarded.ask("perform", (EncryptRequest("k", b"a text", "aes256-gcm"),))
    opening = DecryptRequest("k", sealed.data, "aes256-gcm")
    with pytest.raises(ApprovalNeededError):
        await guarded.ask("perform", (opening,))
    (anew,) = await guarded.ask("perform", (RewrapRequest("k", sealed.data, "aes256-gcm"),))
    assert isinstance(anew, Answer)
    await guarded.approve("dave", sealed.data, "decrypt")
    assert (await guarded.ask("perform", (opening,)))[0].data == b"a text"


async def test_the_guard_itself_is_changed_with_approval_only(guarded: Guarded) -> None:
    await guarded.make()
    with pytest.raises(ApprovalNeededError):
        await guarded.hsm.configure_key("k", "alice", 1, message_id="c")


async def test_an_approver_who_was_removed_and_comes_back_has_to_say_it_again(guarded: Guarded) -> None:
    await guarded.make(needed=1)
    key = await guarded.hsm.key("k")
    await guarded.approve("carol", uses=5)
    await guarded.approve("dave", uses=5)
    for number, approvers in enumerate((("dave", "erin"), ("carol", "dave", "erin"))):
        await guarded.approve("erin", operation="configure")
        policy = msgspec.structs.replace(key.policy, approvers=approvers)
        await guarded.hsm.configure_key("k", "alice", 1, 0, policy, message_id=f"c{number}")
        assert await guarded.left() == [("dave", False, 5)]


async def test_an_approval_left_by_one_who_was_removed_before_that_ended_it_does_not_come_back(
    guarded: Guarded,
) -> None:
    # As a store of before holds it: the approver is gone from the policy, and the word still there.
    await guarded.make()
    await guarded.approve("carol")
    slot = await guarded.hsm._records.load(key_of("k"), KeySlot)
    before = msgspec.structs.replace(slot, policy=msgspec.structs.replace(slot.policy, approvers=("dave",)))
    event = KeyConfigured(1, 0, slot.policy, slot.versions, guarded.hsm._records.entry("c", owner="alice"))
    after = step_life(before, event).state
    assert after.policy.approvers == ("carol", "dave", "erin")
    assert after.approvals == ()


async def test_approvals_are_shown_to_the_owner_and_the_approvers(guarded: Guarded) -> None:
    await guarded.make()
    await guarded.approve("carol")
    for caller in ("alice", "erin", ""):
        assert [each.approver for each in await guarded.hsm.approvals("k", caller)] == ["carol"]
    for caller, key in (("mallory", "k"), ("alice", "none")):
        with pytest.raises(UnknownKeyError):
            await guarded.hsm.approvals(key, caller)


@pytest.mark.parametrize(
    ("operation", "named", "how"),
    [
        ("verify", "", {}),
        ("configure", digest(PAY), {}),
        ("configure", "", {"uses": 2}),
        ("encrypt", digest(PAY), {}),
        ("sign", "no digest", {}),
        ("sign", "", {"uses": 0}),
        ("sign", "", {"ttl_s": 0}),
        ("sign", "", {"ttl_s": 8 * 24 * 3600}),
    ],
)
async def test_what_cannot_be_approved_is_refused(
    guarded: Guarded, operation: str, named: str, how: dict[str, int]
) -> None:
    await guarded.make("ed25519", "sign", "encrypt")
    with pytest.raises(InvalidInputError):
        await guarded.hsm.approve_key("k", operation, "carol", named, **how, message_id="a")


async def test_the_approvals_of_one_approver_are_bounded(guarded: Guarded) -> None:
    await guarded.make()
    for number in range(MAX_OF_ONE):
        await guarded.approve("carol", b"%d" % number)
    with pytest.raises(InvalidInputError, match="in force"):
        await guarded.approve("carol", b"one more")
    await guarded.approve("carol", b"0")
    await guarded.approve("dave", b"one more")
