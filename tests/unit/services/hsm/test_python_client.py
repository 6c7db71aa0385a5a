"""The HSM from Python: `OwnedHsm` and `KeySession` over a whole HSM in this process."""

from __future__ import annotations

import hmac
import os
from typing import Any

import pytest

from anya_actors.domain.hsm.errors import (
    KeyExistsError,
    OperationRefusedError,
    SessionClosedError,
    UnknownKeyError,
    WaitingPeriodError,
)
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.keys.algorithms import InvalidCiphertextError, InvalidSignatureError
from anya_actors.domain.keys.operations import (
    MAX_BATCH,
    Answer,
    EncryptRequest,
    MacRequest,
    MusigRound,
    Refusal,
    Request,
    SignRequest,
)
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.services.owned_hsm import OwnedHsm
from anya_actors.services.pipelining import IN_FLIGHT, MAX_CALL_BYTES
from anya_actors.testing.local_hsm import LocalHsm

DIGEST = bytes(range(32))


@pytest.fixture
def alice(bench: LocalHsm, hsm: HsmService) -> OwnedHsm:
    return bench.owned("alice")


async def open_sessions(hsm: HsmService) -> list[str]:
    return [session.session_id for session in await hsm.sessions()]


async def test_a_session_lives_as_long_as_its_block(hsm: HsmService, alice: OwnedHsm) -> None:
    await alice.create_key("k", "ed25519")
    async with alice.session("k") as s:
        signature = await s.sign("k", b"message", "ed25519")
        await s.verify("k", b"message", signature, "ed25519")
        with pytest.raises(InvalidSignatureError):
            await s.verify("k", b"another", signature, "ed25519")
        assert [session.keys for session in await alice.sessions()] == [("k",)]
    assert await open_sessions(hsm) == []
    with pytest.raises(SessionClosedError, match="block has ended"):
        await s.sign("k", b"message", "ed25519")
    assert await open_sessions(hsm) == []


async def test_an_error_in_the_block_closes_the_session_too(hsm: HsmService, alice: OwnedHsm) -> None:
    await alice.create_key("k", "ed25519")
    with pytest.raises(ZeroDivisionError):
        async with alice.session("k"):
            _ = 1 // 0
    assert await open_sessions(hsm) == []


async def test_a_session_for_a_key_of_another_owner_does_not_open(bench: LocalHsm, alice: OwnedHsm) -> None:
    await bench.owned("bob").create_key("his", "ed25519")
    for name in ("his", "nobodys"):
        with pytest.raises(UnknownKeyError, match=name):
            await alice.session(name).__aenter__()
        with pytest.raises(UnknownKeyError, match=name):
            await alice.key(name)
        with pytest.raises(UnknownKeyError, match=name):
            await alice.public_key(name)
    assert [key.name for key in await alice.as_owner("bob").keys()] == ["his"]


async def test_a_session_acts_with_the_keys_it_names_and_those_added_later(alice: OwnedHsm) -> None:
    for name in ("a", "b"):
        await alice.create_key(name, "ed25519")
    async with alice.session("a") as s:
        with pytest.raises(UnknownKeyError, match="b"):
            await s.sign("b", b"m", "ed25519")
        await s.add_keys("b")
        await s.sign("b", b"m", "ed25519")
        assert s.keys == ("a", "b")


async def test_a_session_whose_process_died_is_replaced_with_its_keys(
    bench: LocalHsm, hsm: HsmService, alice: OwnedHsm
) -> None:
    for name in ("a", "b"):
        await alice.create_key(name, "ed25519")
    async with alice.session("a", "b") as s:
        first = await s.sign_batch("a", [b"m"] * 3, "ed25519")
        (dead,) = await open_sessions(hsm)
        bench.kill(f"hsm-session/{dead}")
        assert await s.sign_batch("a", [b"m"] * 3, "ed25519") == first
        await s.sign("b", b"m", "ed25519")
        (successor,) = await open_sessions(hsm)
        assert successor != dead
    assert await open_sessions(hsm) == []


async def test_a_batch_of_any_size_comes_back_in_order(alice: OwnedHsm) -> None:
    await alice.create_key("k", "ed25519")
    await alice.create_key("c", "aes256-gcm")
    await alice.create_key("h", "hmac-sha256")
    messages = [index.to_bytes(4, "big") for index in range(IN_FLIGHT * MAX_BATCH + 2)]
    async with alice.session("k", "c", "h") as s:
        signatures = await s.sign_batch("k", messages, "ed25519")
        assert len(signatures) == len(messages)
        await s.verify_batch("k", messages, signatures, "ed25519")
        with pytest.raises(InvalidSignatureError):
            await s.verify_batch("k", messages, [*signatures[1:], signatures[0]], "ed25519")
        with pytest.raises(InvalidInputError, match="one for each"):
            await s.verify_batch("k", messages, signatures[1:], "ed25519")
        sealed = await s.encrypt_batch("c", messages, "aes256-gcm", associated_data=b"row")
        assert await s.decrypt_batch("c", sealed, "aes256-gcm", associated_data=b"row") == messages
        codes = await s.mac_batch("h", messages, "hmac-sha256")
        await s.verify_mac("h", messages[-1], codes[-1], "hmac-sha256")
        assert await s.mac("h", messages[-1], "hmac-sha256") == codes[-1]
        assert await s.sign_batch("k", [], "ed25519") == []


class Watched:
    """An `Actors` that counts what is on its way at once."""

    def __init__(self, actors: Any) -> None:
        self._actors = actors
        self.sizes: list[int] = []
        self.now = self.most = 0

    async def call(self, actor: str, method: str, *args: Any, **keywords: Any) -> Any:
        if method.endswith("_batch"):
            self.sizes.append(len(args[1]))
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            return await self._actors.call(actor, method, *args, **keywords)
        finally:
            if method.endswith("_batch"):
                self.now -= 1


async def test_a_large_batch_goes_in_calls_that_a_session_takes_several_at_once(
    bench: LocalHsm, alice: OwnedHsm
) -> None:
    await alice.create_key("h", "hmac-sha256")
    watched = Watched(bench.actors)
    bench.actors = watched  # type: ignore[assignment]  # what it hands out is asked through this one
    async with bench.owned("alice").session("h") as s:
        await s.mac_batch("h", [b""] * (5 * MAX_BATCH + 1), "hmac-sha256")
        assert (watched.sizes, watched.most) == ([MAX_BATCH] * 5 + [1], IN_FLIGHT)
        watched.sizes.clear()
        await s.mac_batch("h", [bytes(MAX_CALL_BYTES // 2)] * 3, "hmac-sha256")
        assert watched.sizes == [2, 1]


async def test_what_is_refused_in_a_batch_is_raised_and_nothing_of_it_is_on_its_way_any_more(
    bench: LocalHsm, alice: OwnedHsm
) -> None:
    await alice.create_key("k", "secp256k1")
    watched = Watched(bench.actors)
    bench.actors = watched  # type: ignore[assignment]
    messages = [DIGEST] * MAX_BATCH + [b"short"] + [DIGEST] * (5 * MAX_BATCH)
    async with bench.owned("alice").session("k") as s:
        with pytest.raises(InvalidInputError, match="exactly 32 bytes"):
            await s.sign_batch("k", messages, "ecdsa-secp256k1")
        assert watched.now == 0
        assert len(watched.sizes) < len(messages) // MAX_BATCH


async def test_a_ciphertext_opens_after_the_key_was_rotated_and_is_encrypted_anew(alice: OwnedHsm) -> None:
    await alice.create_key("c", "aes256-gcm")
    async with alice.session("c") as s:
        old = await s.encrypt("c", b"plain", "aes256-gcm")
        await alice.rotate_key("c")
        new = await s.rewrap("c", old, "aes256-gcm")
        assert (old.version, new.version) == (1, 2)
        assert await s.decrypt_batch("c", [old, new, old], "aes256-gcm") == [b"plain"] * 3
        assert await s.decrypt("c", Answer(new.data), "aes256-gcm") == b"plain"
        with pytest.raises(InvalidCiphertextError):
            await s.decrypt("c", Answer(old.data), "aes256-gcm")


async def test_a_derived_key_acts_by_its_context_alone_and_in_batches(alice: OwnedHsm) -> None:
    policy = KeyPolicy(derived=True)
    for name, key_type in (("k", "ed25519"), ("c", "aes256-gcm")):
        await alice.create_key(name, key_type, policy=policy)
    async with alice.session("k", "c") as s:
        here: Any = {"context": b"here"}
        signature = await s.sign("k", b"m", "ed25519", **here)
        assert await s.sign_batch("k", [b"m"] * 2, "ed25519", **here) == [signature] * 2
        await s.verify("k", b"m", signature, "ed25519", **here)
        with pytest.raises(InvalidSignatureError):
            await s.verify("k", b"m", signature, "ed25519", context=b"there")
        one = await s.encrypt("c", b"plain", "aes256-gcm", **here)
        sealed = [one, *await s.encrypt_batch("c", [b"plain"], "aes256-gcm", **here)]
        sealed.append(await s.rewrap("c", one, "aes256-gcm", **here))
        assert await s.decrypt_batch("c", sealed, "aes256-gcm", **here) == [b"plain"] * 3
        with pytest.raises(InvalidCiphertextError):
            await s.decrypt("c", one, "aes256-gcm", context=b"there")


async def test_secrets_are_agreed_stretched_and_drawn(alice: OwnedHsm) -> None:
    for name in ("x", "y"):
        await alice.create_key(name, "x25519")
    await alice.create_key("root", "secret")
    async with alice.session("x", "y", "root") as s:
        x, y = [bytes.fromhex(await alice.public_key(name, "raw")) for name in "xy"]
        assert await s.agree("x", y, "x25519") == await s.agree("y", x, "x25519")
        assert len(await s.stretch("root", "hkdf-sha256", 48, info=b"for this")) == 48
        assert len(await s.random(9)) == 9
    assert len(await alice.random(7)) == 7


async def test_a_bip32_key_signs_at_paths_and_takes_part_in_musig2(alice: OwnedHsm) -> None:
    await alice.create_key("w", "bip32", ("sign", "verify", "derive"))
    async with alice.session("w") as s:
        path = (0, 5)
        public_key = await s.public_key("w", path=path)
        assert len(public_key) == 33
        assert (await s.extended_public_key("w", path)).startswith("xpub")
        await s.verify(
            "w", DIGEST, await s.sign("w", DIGEST, "schnorr-bip340", path=path), "schnorr-bip340", path=path
        )
        first, _ = await s.sign_batch("w", [DIGEST] * 2, "schnorr-bip340", path=path)
        await s.verify("w", DIGEST, first, "schnorr-bip340", path=path)
        assert len(await s.shared_point("w", public_key, path=path)) == 33
        nonce = await s.musig2_nonce("w", path=path)
        part = await s.musig2_partial_sign("w", nonce, MusigRound((public_key,), nonce, DIGEST), path=path)
        assert len(part) == 32


async def test_operations_of_every_kind_go_in_one_batch(alice: OwnedHsm) -> None:
    await alice.create_key("k", "ed25519")
    await alice.create_key("h", "hmac-sha256")
    async with alice.session("k", "h") as s:
        asked: list[Request] = [SignRequest("k", b"m", "ed25519"), MacRequest("h", b"m", "hmac-sha256")]
        signed, coded = await s.perform(asked)
        assert (len(signed.data), len(coded.data)) == (64, 32)
        refused = EncryptRequest("h", b"m", "aes256-gcm")
        with pytest.raises(OperationRefusedError):
            await s.perform([*asked, refused])
        found = await s.perform_each([*asked, refused] * 400)
        assert found[:2] == [signed, coded]
        assert [type(each) for each in found] == [Answer, Answer, Refusal] * 400


async def test_a_key_goes_its_whole_life(alice: OwnedHsm) -> None:
    made = await alice.create_key("k", "secp256k1", policy=KeyPolicy(deletion_wait_s=60), message_id="once")
    assert await alice.create_key("k", "secp256k1", policy=made.policy, message_id="once") == made
    with pytest.raises(KeyExistsError):
        await alice.create_key("k", "secp256k1")
    assert (await alice.rotate_key("k")).version == 2
    configured = await alice.configure_key("k", minimum_version=2)
    assert (configured.minimum_version, configured.policy) == (2, made.policy)
    kept = await alice.configure_key("k", policy=KeyPolicy(rate_per_s=5, deletion_wait_s=60))
    assert (kept.minimum_version, kept.policy.rate_per_s) == (2, 5)
    assert [version.version for version in (await alice.trim_key("k", 2)).versions] == [2]
    assert not (await alice.disable_key("k")).enabled
    assert (await alice.enable_key("k")).enabled
    assert (await alice.delete_key("k")).state == "deleted"
    assert (await alice.restore_key("k")).state == "disabled"
    await alice.delete_key("k")
    with pytest.raises(WaitingPeriodError):
        await alice.destroy_key("k")
    assert (await alice.public_key("k")).startswith("-----BEGIN PUBLIC KEY")


async def test_a_key_from_outside_is_sealed_on_its_way(bench: LocalHsm, alice: OwnedHsm) -> None:
    secret = os.urandom(32)
    view = await alice.import_key("k", "ed25519", KeyMaterial("raw", secret))
    assert (view.owner, view.operations) == ("alice", ("sign", "verify"))
    async with alice.session("k") as s:
        assert len(await s.sign("k", b"m", "ed25519")) == 64


async def test_a_key_of_ours_travels_wrapped_from_one_name_to_another(alice: OwnedHsm) -> None:
    await alice.create_key("k", "hmac-sha256", policy=KeyPolicy(exportable=True))
    blob = await alice.export_key("k", await alice.wrapping_key())
    await alice.import_wrapped_key("twin", "hmac-sha256", blob, "raw")
    async with alice.session("k", "twin") as s:
        assert await s.mac("k", b"m", "hmac-sha256") == await s.mac("twin", b"m", "hmac-sha256")


async def test_a_version_of_a_key_comes_sealed(alice: OwnedHsm) -> None:
    await alice.create_key("k", "hmac-sha256")
    view = await alice.import_version("k", KeyMaterial("raw", b"\x07" * 32))
    assert [each.version for each in view.versions] == [1, 2]
    async with alice.session("k") as s:
        assert await s.mac("k", b"m", "hmac-sha256") == hmac.digest(b"\x07" * 32, b"m", "sha256")
    with pytest.raises(InvalidInputError):
        await alice.import_version("k", KeyMaterial("raw", b"\x07" * 3))


async def test_a_version_of_a_key_comes_wrapped(alice: OwnedHsm) -> None:
    await alice.create_key("k", "hmac-sha256", policy=KeyPolicy(exportable=True))
    await alice.create_key("twin", "hmac-sha256")
    blob = await alice.export_key("k", await alice.wrapping_key())
    assert (await alice.import_wrapped_version("twin", blob, "raw")).version == 2
    async with alice.session("k", "twin") as s:
        assert await s.mac("k", b"m", "hmac-sha256") == await s.mac("twin", b"m", "hmac-sha256")


async def test_a_destroyed_key_comes_back_out_of_its_backup(alice: OwnedHsm) -> None:
    made = await alice.create_key("k", "ed25519", policy=KeyPolicy(backup=True, deletion_wait_s=0))
    backup = await alice.back_up_key("k")
    await alice.delete_key("k")
    await alice.destroy_key("k")
    assert (await alice.bring_back_key("k", backup)).public_key == made.public_key
    await alice.enable_key("k")
    async with alice.session("k") as s:
        assert len(await s.sign("k", b"m", "ed25519")) == 64


async def test_a_guarded_operation_takes_the_word_of_its_approver(bench: LocalHsm, alice: OwnedHsm) -> None:
    guard = KeyPolicy(guarded=("rotate",), approvers=("bob",), approvals_needed=1)
    await alice.create_key("k", "ed25519", policy=guard)
    await bench.owned("bob").approve_key("k", "rotate")
    assert (await alice.rotate_key("k")).version == 2


async def test_an_owner_closes_its_own_sessions_alone(bench: LocalHsm, alice: OwnedHsm) -> None:
    await alice.create_key("k", "ed25519")
    async with alice.session("k") as s:
        (open_one,) = await alice.sessions()
        await bench.owned("bob").close_session(open_one.session_id)
        assert await alice.sessions() == [open_one]
        await alice.close_session(open_one.session_id)
        await s.sign("k", b"m", "ed25519")  # in a session that replaces it
        (successor,) = await alice.sessions()
        assert successor.session_id != open_one.session_id


async def test_an_owner_reads_what_was_done_for_it_alone(bench: LocalHsm, alice: OwnedHsm) -> None:
    for owner in (alice, bench.owned("bob")):
        await owner.create_key(f"of-{owner.owner}", "ed25519")
    page = await alice.audit()
    assert {entry.owner for entry in page.entries} == {"alice"}
    assert [entry.key for entry in page.entries if entry.operation == "create-key"] == ["of-alice"]
    first = await alice.audit(limit=1)
    assert first.next_after or len(page.entries) == 1
    assert {each.owner for each in (await alice.metrics()).operations} <= {"alice"}
    assert not (await alice.seal_status()).sealed
