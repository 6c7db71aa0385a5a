"""A key's later life: rotated, bounded, exported, deleted, destroyed, and approved by those who must."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa as openssl
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from anya_actors.adapters.keys.wrapping import unwrap_with, wrap_to
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.errors import (
    ApprovalNeededError,
    OperationRefusedError,
    SessionClosedError,
    UnknownKeyError,
    WaitingPeriodError,
)
from anya_actors.domain.hsm.material import KeyMaterial, pack_material
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.algorithms import InvalidCiphertextError
from anya_actors.domain.keys.operations import Answer, DecryptRequest, EncryptRequest
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

BOTH = ("decrypt", "encrypt")
RECIPIENT = openssl.generate_private_key(public_exponent=65537, key_size=2048)
RECIPIENT_PEM = RECIPIENT.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
RECIPIENT_DER = RECIPIENT.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


async def made(hsm: HsmService, **policy: Any) -> SessionView:
    await hsm.create_key("k", "aes256-gcm", "alice", BOTH, KeyPolicy(**policy), message_id="k")
    return await hsm.open_session("alice", ("k",), message_id="open")


async def encrypt(bench: LocalHsm, session: SessionView, version: int = 0) -> Answer:
    request = EncryptRequest("k", b"text", "aes256-gcm", version=version)
    (answer,) = await bench.actors.call(session.actor, "perform", (request,))
    assert isinstance(answer, Answer)
    return answer


async def decrypt(bench: LocalHsm, session: SessionView, sealed: Answer) -> bytes:
    request = DecryptRequest("k", sealed.data, "aes256-gcm", version=sealed.version)
    (answer,) = await bench.actors.call(session.actor, "perform", (request,))
    return bytes(answer.data)


async def test_after_a_rotation_every_session_encrypts_by_the_new_version(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await made(hsm)
    other = await hsm.open_session("alice", ("k",), message_id="open 2")
    old = [await encrypt(bench, each) for each in (session, other)]
    view = await hsm.rotate_key("k", "alice", message_id="r")
    assert (view.version, len(view.versions)) == (2, 2)
    assert await hsm.rotate_key("k", "alice", message_id="r") == view
    for each in (session, other):
        assert (await encrypt(bench, each)).version == 2
        assert await decrypt(bench, each, old[0]) == b"text"
    with pytest.raises(InvalidInputError, match="only decrypts"):
        await encrypt(bench, session, version=1)


async def test_two_rotations_at_once_make_two_versions(hsm: HsmService) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="k")
    views = await asyncio.gather(*(hsm.rotate_key("k", "alice", message_id=each) for each in ("1", "2")))
    assert [view.version for view in views] == [2, 3]


async def test_a_session_that_does_not_hear_of_a_rotation_is_closed(bench: LocalHsm, hsm: HsmService) -> None:
    session = await made(hsm)
    await encrypt(bench, session)
    service = bench.actors._services[session.actor]

    async def deaf(_: str) -> None:
        raise OperationRefusedError("k", "hear")

    service.forget_key = deaf
    await hsm.rotate_key("k", "alice", message_id="r")
    with pytest.raises(SessionClosedError):
        await encrypt(bench, session)


async def test_minimum_versions_bound_decryption_and_encryption(bench: LocalHsm, hsm: HsmService) -> None:
    session = await made(hsm)
    old = await encrypt(bench, session)
    await hsm.rotate_key("k", "alice", message_id="r1")
    await hsm.rotate_key("k", "alice", message_id="r2")
    await hsm.configure_key("k", "alice", 1, 1, message_id="c0")
    assert (await encrypt(bench, session, version=1)).version == 1
    await hsm.configure_key("k", "alice", 2, 2, message_id="c")
    with pytest.raises(InvalidInputError, match="may not be used"):
        await decrypt(bench, session, old)
    assert (await encrypt(bench, session, version=2)).version == 2
    for minimum, encrypting in ((0, 0), (4, 0), (2, 1), (1, 4)):
        with pytest.raises(InvalidInputError):
            await hsm.configure_key("k", "alice", minimum, encrypting, message_id=f"c{minimum}{encrypting}")
    await hsm.trim_key("k", "alice", 2, message_id="t")
    assert [each.version for each in (await hsm.key("k")).versions] == [2, 3]
    with pytest.raises(InvalidInputError):
        await hsm.configure_key("k", "alice", 1, message_id="back")
    with pytest.raises(InvalidInputError):
        await hsm.trim_key("k", "alice", 3, message_id="t2")


async def test_a_deleted_key_can_be_restored_and_is_destroyed_only_after_its_time(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await made(hsm, deletion_wait_s=60)
    sealed = await encrypt(bench, session)
    with pytest.raises(InvalidInputError, match="delete it first"):
        await hsm.destroy_key("k", "alice", message_id="d0")
    await hsm.delete_key("k", "alice", message_id="d1")
    with pytest.raises(SessionClosedError):
        await encrypt(bench, session)
    with pytest.raises(UnknownKeyError):
        await hsm.open_session("alice", ("k",), message_id="open 2")
    with pytest.raises(WaitingPeriodError):
        await hsm.destroy_key("k", "alice", message_id="d2")
    assert (await hsm.restore_key("k", "alice", message_id="d3")).state == "disabled"
    await hsm.enable_key("k", "alice", message_id="d4")
    session = await hsm.open_session("alice", ("k",), message_id="open 3")
    assert await decrypt(bench, session, sealed) == b"text"
    await hsm.delete_key("k", "alice", message_id="d5")
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(60)
    assert (await hsm.destroy_key("k", "alice", message_id="d6")).state == "destroyed"
    for attempt in (hsm.restore_key, hsm.enable_key, hsm.rotate_key, hsm.delete_key):
        with pytest.raises(UnknownKeyError):
            await attempt("k", "alice", message_id=f"late {attempt.__name__}")
    told = [e.operation for e in await hsm.audit() if e.key == "k" and e.outcome == "ok"]
    assert [each for each in told if each.endswith("-key") and each != "extended-public-key"] == [
        "create-key",
        "delete-key",
        "restore-key",
        "enable-key",
        "delete-key",
        "destroy-key",
    ]


async def test_the_hsm_itself_shows_no_key_of_another(hsm: HsmService) -> None:
    await made(hsm)
    assert (await hsm.key("k", "alice")).owner == (await hsm.key("k")).owner == "alice"
    for name in ("k", "none"):
        with pytest.raises(UnknownKeyError) as refused:
            await hsm.key(name, "mallory")
        assert refused.value.args == (name,)


async def test_nobody_changes_the_key_of_another(hsm: HsmService) -> None:
    await made(hsm)
    for attempt in (
        hsm.rotate_key("k", "bob", message_id="1"),
        hsm.configure_key("k", "bob", 1, message_id="2"),
        hsm.trim_key("k", "bob", 1, message_id="3"),
        hsm.delete_key("k", "bob", message_id="4"),
        hsm.export_key("k", "bob", RECIPIENT_PEM, message_id="5"),
        hsm.rotate_key("api-jwt", "hsm", message_id="6"),
        hsm.rotate_key("nix", "alice", message_id="7"),
    ):
        with pytest.raises(UnknownKeyError):
            await attempt


# -- export and import ----------------------------------------------------------------------------


async def test_an_exportable_key_leaves_wrapped_and_comes_back_the_same(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await made(hsm, exportable=True)
    sealed = await encrypt(bench, session)
    blob = await hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x")
    outside = unwrap_with(Secret(RECIPIENT_DER), blob)
    again = wrap_to(await hsm.wrapping_key(), outside, SystemRandomness())
    await hsm.import_wrapped_key("copy", "aes256-gcm", "alice", again, "raw", BOTH, message_id="i")
    back = await hsm.open_session("alice", ("copy",), message_id="open 2")
    request = DecryptRequest("copy", sealed.data, "aes256-gcm")
    (answer,) = await bench.actors.call(back.actor, "perform", (request,))
    assert answer.data == b"text"
    with pytest.raises(InvalidCiphertextError):
        await hsm.import_wrapped_key("bad", "aes256-gcm", "alice", again[:-1], "raw", BOTH, message_id="j")


async def test_where_the_policy_says_so_every_version_encrypts_by_its_number(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await made(hsm, every_version=True)
    await hsm.rotate_key("k", "alice", message_id="r")
    await hsm.rotate_key("k", "alice", message_id="r2")
    assert [(await encrypt(bench, session, number)).version for number in (0, 1, 2, 3)] == [3, 1, 2, 3]
    policy = KeyPolicy(every_version=True)
    await hsm.configure_key("k", "alice", 2, policy=policy, message_id="c")
    assert [(await encrypt(bench, session, number)).version for number in (0, 2)] == [3, 2]
    with pytest.raises(InvalidInputError):
        await encrypt(bench, session, 1)


async def test_a_version_from_outside_takes_the_place_of_the_newest(bench: LocalHsm, hsm: HsmService) -> None:
    session = await made(hsm)
    old, brought = await encrypt(bench, session), b"\x07" * 32
    blob = wrap_to(await hsm.wrapping_key(), Secret(brought), SystemRandomness())
    for _ in range(2):  # once per message id
        view = await hsm.import_wrapped_version("k", "alice", blob, "raw", message_id="v2")
        assert [each.version for each in view.versions] == [1, 2]
    new = await encrypt(bench, session)
    assert new.version == 2
    assert AESGCM(brought).decrypt(new.data[:12], new.data[12:], b"") == b"text"
    assert [await decrypt(bench, session, each) for each in (old, new)] == [b"text", b"text"]
    short = wrap_to(await hsm.wrapping_key(), Secret(b"\x07" * 16), SystemRandomness())
    with pytest.raises(InvalidInputError):
        await hsm.import_wrapped_version("k", "alice", short, "raw", message_id="short")
    with pytest.raises(UnknownKeyError):
        await hsm.import_wrapped_version("k", "bob", blob, "raw", message_id="bob")
    assert (await hsm.key("k")).version == 2


async def test_a_version_from_outside_comes_sealed_once_and_to_its_owner(hsm: HsmService) -> None:
    await made(hsm)

    async def boxed(key: bytes) -> bytes:
        with pack_material(KeyMaterial("raw", key)) as packed:
            return NaclSealedBoxes().seal(packed, await hsm.transport_key())

    for _ in range(2):  # sealed again, the same key has another box
        view = await hsm.import_version("k", "alice", await boxed(b"\x07" * 32), message_id="v2")
        assert view.version == 2
    for owner, box, error in (
        ("alice", await boxed(b"\x07" * 16), InvalidInputError),
        ("alice", b"no box", InvalidInputError),
        ("bob", await boxed(b"\x07" * 32), UnknownKeyError),
    ):
        with pytest.raises(error):
            await hsm.import_version("k", owner, box, message_id=f"{owner}{len(box)}")
    told = [each.outcome for each in await hsm.audit(0, 1000) if each.operation == "rotate-key"]
    assert told == ["ok", *["refused: invalid-input"] * 2, "refused: unknown-key"]


async def test_a_version_from_outside_is_guarded_as_a_rotation_is(hsm: HsmService) -> None:
    await made(hsm, guarded=("rotate",), approvers=("carol",), approvals_needed=1)
    blob = wrap_to(await hsm.wrapping_key(), Secret(b"\x07" * 32), SystemRandomness())
    with pytest.raises(ApprovalNeededError):
        await hsm.import_wrapped_version("k", "alice", blob, "raw", message_id="v")
    await hsm.approve_key("k", "rotate", "carol", message_id="a")
    assert (await hsm.import_wrapped_version("k", "alice", blob, "raw", message_id="v")).version == 2


async def test_a_key_from_outside_never_counts_its_nonces(hsm: HsmService) -> None:
    counting = KeyPolicy(counter_nonces=True)
    blob = wrap_to(await hsm.wrapping_key(), Secret(b"\x07" * 32), SystemRandomness())
    facts = ("k", "aes256-gcm", "alice", blob, "raw", ("decrypt", "encrypt"))
    with pytest.raises(InvalidInputError, match="draws its nonces"):
        await hsm.import_wrapped_key(*facts, counting, message_id="k")
    await hsm.import_wrapped_key(*facts, message_id="k")
    with pytest.raises(OperationRefusedError, match="begin to count"):
        await hsm.configure_key("k", "alice", 1, policy=counting, message_id="c")


async def test_a_key_that_counts_its_nonces_takes_no_version_from_outside(hsm: HsmService) -> None:
    await made(hsm, counter_nonces=True)
    blob = wrap_to(await hsm.wrapping_key(), Secret(b"\x07" * 32), SystemRandomness())
    with pytest.raises(OperationRefusedError, match="count the nonces"):
        await hsm.import_wrapped_version("k", "alice", blob, "raw", message_id="v")


async def test_a_key_that_may_not_leave_does_not_and_cannot_be_made_to(hsm: HsmService) -> None:
    await made(hsm)
    with pytest.raises(OperationRefusedError, match="exported"):
        await hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x")
    with pytest.raises(OperationRefusedError, match="exportable"):
        await hsm.configure_key("k", "alice", 1, policy=KeyPolicy(exportable=True), message_id="c")


@pytest.mark.parametrize("key_type", ["ed25519", "x25519", "p256", "secp256k1", "rsa-2048"])
async def test_a_private_key_travels_as_pkcs8(hsm: HsmService, key_type: str) -> None:
    policy = KeyPolicy(exportable=True)
    operations = ("derive",) if key_type == "x25519" else ("sign",)
    made = await hsm.create_key("k", key_type, "alice", operations, policy, message_id="k")
    blob = await hsm.export_key("k", "alice", await hsm.wrapping_key(), message_id="x")
    copy = await hsm.import_wrapped_key("copy", key_type, "alice", blob, "pkcs8", operations, message_id="i")
    assert copy.public_key == made.public_key
    assert load_pem_public_key((await hsm.public_key_as("copy", "pem")).encode())


# -- approvals ------------------------------------------------------------------------------------


async def test_a_guarded_operation_takes_its_approvals_and_uses_them_up(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await made(
        hsm, exportable=True, guarded=("export",), approvers=("carol", "dave", "erin"), approvals_needed=2
    )
    with pytest.raises(ApprovalNeededError, match="2 more"):
        await hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x1")
    await hsm.approve_key("k", "export", "carol", message_id="a1")
    await hsm.approve_key("k", "export", "carol", message_id="a2")
    with pytest.raises(ApprovalNeededError, match="1 more"):
        await hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x2")
    await hsm.approve_key("k", "export", "erin", message_id="a3")
    assert await hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x3")
    with pytest.raises(ApprovalNeededError):
        await hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x4")
    with pytest.raises(UnknownKeyError):
        await hsm.approve_key("k", "export", "mallory", message_id="a4")
    with pytest.raises(InvalidInputError):
        await hsm.approve_key("k", "rotate", "carol", message_id="a5")


async def test_one_approval_is_good_for_one_of_two_exports_at_once(hsm: HsmService) -> None:
    guard: dict[str, Any] = {"guarded": ("export",), "approvers": ("carol",), "approvals_needed": 1}
    await made(hsm, exportable=True, backup=True, **guard)
    await hsm.approve_key("k", "export", "carol", message_id="a")
    found = await asyncio.gather(
        hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x1"),
        hsm.export_key("k", "alice", RECIPIENT_PEM, message_id="x2"),
        hsm.back_up_key("k", "alice", message_id="b1"),
        hsm.back_up_key("k", "alice", message_id="b2"),
        return_exceptions=True,
    )
    assert sum(isinstance(each, bytes) for each in found) == 1
    assert sum(isinstance(each, ApprovalNeededError) for each in found) == 3


async def test_an_approval_holds_for_an_hour(bench: LocalHsm, hsm: HsmService) -> None:
    await made(hsm, guarded=("rotate",), approvers=("carol",), approvals_needed=1)
    await hsm.approve_key("k", "rotate", "carol", message_id="a1")
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(3600)
    with pytest.raises(ApprovalNeededError):
        await hsm.rotate_key("k", "alice", message_id="r")
    await hsm.approve_key("k", "rotate", "carol", message_id="a2")
    assert (await hsm.rotate_key("k", "alice", message_id="r2")).version == 2


@pytest.mark.parametrize(
    ("policy", "error"),
    [
        ({"guarded": ("sign",), "approvers": ("a",), "approvals_needed": 1}, InvalidInputError),
        (
            {
                "guarded": ("sign", "configure"),
                "approvers": ("a",),
                "approvals_needed": 1,
                "exportable": True,
            },
            InvalidInputError,
        ),
        ({"guarded": ("nix",), "approvers": ("a",), "approvals_needed": 1}, InvalidInputError),
        ({"guarded": ("export",), "approvers": ("a",), "approvals_needed": 2}, InvalidInputError),
        ({"guarded": ("export",)}, InvalidInputError),
        ({"approvers": ("a",), "approvals_needed": 1}, InvalidInputError),
        ({"guarded": ("export",), "approvers": ("a", "a"), "approvals_needed": 1}, InvalidInputError),
        ({"encryption_limit": 0}, InvalidInputError),
        ({"encryption_limit": 2**33}, InvalidInputError),
        ({"rate_per_s": -1}, InvalidInputError),
        ({"deletion_wait_s": -1}, InvalidInputError),
    ],
)
async def test_a_policy_that_cannot_be_kept_is_refused(
    hsm: HsmService, policy: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await made(hsm, **policy)


async def test_another_policy_holds_in_every_session_and_seals_the_key_anew(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await made(hsm)
    sealed = await encrypt(bench, session)
    expired = KeyPolicy(expires_unix_ms=bench.clock.now_unix_ms())
    await hsm.configure_key("k", "alice", 1, policy=expired, message_id="c")
    with pytest.raises(OperationRefusedError, match="expired"):
        await decrypt(bench, session, sealed)
    await hsm.configure_key("k", "alice", 1, message_id="c2")
    assert await decrypt(bench, session, sealed) == b"text"
