"""Every kind of operation through a session: what it makes it undoes, and the policy is kept."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

import pytest

from anya_actors.domain.hsm.errors import KeyExhaustedError, KeyRateError, OperationRefusedError
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.algorithms import (
    CIPHER_ALGORITHMS,
    HASH_BYTES,
    MAC_ALGORITHMS,
    SIGNATURE_ALGORITHMS,
    InvalidCiphertextError,
    InvalidSignatureError,
)
from anya_actors.domain.keys.curve import Point
from anya_actors.domain.keys.operations import (
    AgreeRequest,
    Answer,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    RandomRequest,
    Refusal,
    SignRequest,
    StretchRequest,
    VerifyMacRequest,
    VerifyRequest,
)
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

ALL = ("decrypt", "derive", "encrypt", "sign", "verify")
DIGEST = bytes(range(32))
AEADS = ("aes128-gcm", "aes256-gcm", "chacha20-poly1305")


async def opened(hsm: HsmService, *key_types: str, policy: KeyPolicy | None = None) -> SessionView:
    """Alice's session for keys that are named by their types."""
    for key_type in key_types:
        await hsm.create_key(key_type, key_type, "alice", ALL, policy or KeyPolicy(), message_id=key_type)
    return await hsm.open_session("alice", key_types, message_id="open")


async def do(bench: LocalHsm, session: SessionView, *requests: Any) -> tuple[Answer, ...]:
    answers: tuple[Answer, ...] = await bench.actors.call(session.actor, "perform", requests)
    return answers


def message_of(algorithm: str) -> bytes:
    """32 bytes, or as many as the digest has that it signs."""
    if algorithm == "ed25519ph":
        return bytes(range(64))
    hashed = algorithm.removesuffix("-digest").removesuffix("-auto").split("-", 2)[-1]
    return bytes(range(HASH_BYTES[hashed])) if algorithm.endswith("-digest") else DIGEST


@pytest.mark.parametrize("key_type", sorted(set(SIGNATURE_ALGORITHMS) - {"rsa-3072", "rsa-4096"}))
async def test_every_signature_verifies_and_no_other(bench: LocalHsm, hsm: HsmService, key_type: str) -> None:
    session = await opened(hsm, key_type)
    for algorithm in sorted(SIGNATURE_ALGORITHMS[key_type]):
        signs = message_of(algorithm)
        (signed,) = await do(bench, session, SignRequest(key_type, signs, algorithm))
        assert signed.version == 1
        await do(bench, session, VerifyRequest(key_type, signs, signed.data, algorithm))
        for message, signature in ((bytes(len(signs)), signed.data), (signs, bytes(len(signed.data)))):
            with pytest.raises(InvalidSignatureError):
                await do(bench, session, VerifyRequest(key_type, message, signature, algorithm))


@pytest.mark.parametrize("key_type", [*AEADS, "rsa-2048"])
async def test_what_is_encrypted_opens_with_its_data_alone(
    bench: LocalHsm, hsm: HsmService, key_type: str
) -> None:
    session = await opened(hsm, key_type)
    for algorithm in sorted(CIPHER_ALGORITHMS[key_type]):
        (sealed,) = await do(bench, session, EncryptRequest(key_type, b"text", algorithm, b"data"))
        (text,) = await do(bench, session, DecryptRequest(key_type, sealed.data, algorithm, b"data"))
        assert text.data == b"text"
        altered = sealed.data[:-1] + bytes((sealed.data[-1] ^ 1,))
        for ciphertext, data in ((sealed.data, b"other"), (altered, b"data"), (b"", b"data")):
            with pytest.raises(InvalidCiphertextError):
                await do(bench, session, DecryptRequest(key_type, ciphertext, algorithm, data))


@pytest.mark.parametrize("key_type", sorted(MAC_ALGORITHMS))
async def test_a_mac_holds_for_its_message_alone(bench: LocalHsm, hsm: HsmService, key_type: str) -> None:
    session = await opened(hsm, key_type)
    for algorithm in sorted(MAC_ALGORITHMS[key_type]):
        (mac,) = await do(bench, session, MacRequest(key_type, b"message", algorithm))
        assert len(mac.data) == HASH_BYTES.get(algorithm.removeprefix("hmac-"), 16)
        await do(bench, session, VerifyMacRequest(key_type, b"message", mac.data, algorithm))
        with pytest.raises(InvalidSignatureError):
            await do(bench, session, VerifyMacRequest(key_type, b"another", mac.data, algorithm))
        with pytest.raises(InvalidInputError, match="bytes"):
            await do(bench, session, VerifyMacRequest(key_type, b"message", mac.data[:15], algorithm))


@pytest.mark.parametrize(
    ("key_type", "algorithm"),
    [
        ("x25519", "x25519"),
        ("p256", "ecdh-p256"),
        ("p384", "ecdh-p384"),
        ("p521", "ecdh-p521"),
        ("secp256k1", "ecdh-secp256k1"),
        ("bip32", "point-secp256k1"),
    ],
)
async def test_two_keys_agree(bench: LocalHsm, hsm: HsmService, key_type: str, algorithm: str) -> None:
    secrets = []
    for name in ("a", "b"):
        await hsm.create_key(name, key_type, "alice", ("derive",), message_id=name)
    session = await hsm.open_session("alice", ("a", "b"), message_id="open")
    for ours, theirs in (("a", "b"), ("b", "a")):
        for form in ("pem", "jwk"):
            public = (await hsm.public_key_as(theirs, form)).encode()
            (secret,) = await do(bench, session, AgreeRequest(ours, public, algorithm))
            secrets.append(secret.data)
    assert len(set(secrets)) == 1
    with pytest.raises(InvalidInputError):
        await do(bench, session, AgreeRequest("a", bytes(32), algorithm))


async def test_bytes_are_derived_as_the_libraries_do(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "secret")
    requests = [
        StretchRequest("secret", "hkdf-sha256", 42, b"salt", b"info"),
        StretchRequest("secret", "pbkdf2-sha512", 64, b"salt", iterations=2),
        StretchRequest("secret", "argon2id", 32, b"sixteen bytes ..", iterations=1, memory_kib=32),
    ]
    first = await do(bench, session, *requests)
    assert [len(answer.data) for answer in first] == [42, 64, 32]
    assert await do(bench, session, *requests) == first
    for wrong in (
        StretchRequest("secret", "hkdf-sha256", 0),
        StretchRequest("secret", "pbkdf2-sha256", 32),
        StretchRequest("secret", "argon2id", 32, b"salt", iterations=1, memory_kib=2**30),
        StretchRequest("secret", "argon2id", 32, b"", iterations=1, memory_kib=32),
        StretchRequest("secret", "scrypt", 32),
    ):
        with pytest.raises(InvalidInputError):
            await do(bench, session, wrong)


async def test_no_call_of_a_session_overtakes_a_slower_one_before_it(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await opened(hsm, "secret", "ed25519", "aes256-gcm")
    done: list[str] = []

    async def note(method: str, *arguments: Any) -> None:
        await bench.actors.call(session.actor, method, *arguments)
        done.append(method)

    # The first is done in a thread of its own, the third waits for the HSM to allot nonces.
    calls = (
        ("perform", (StretchRequest("secret", "pbkdf2-sha512", 64, b"salt", iterations=20_000),)),
        ("sign", "ed25519", DIGEST, "ed25519"),
        ("encrypt_batch", "aes256-gcm", (b"text",), "aes256-gcm"),
        ("public_key", "ed25519"),
        ("perform_each", (SignRequest("ed25519", DIGEST, "ed25519"),)),
    )
    await asyncio.gather(*(note(*call) for call in calls))
    assert done == [call[0] for call in calls]
    told = [entry.operation for entry in await hsm.audit(limit=1000)]
    assert told[-5:] == ["stretch", "sign", "encrypt", "public-key", "sign"]


async def test_many_shared_points_are_one_entry_of_the_audit_log(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "bip32", "secp256k1")
    point = Point.of_scalar(7).serialize()
    await bench.actors.call(session.actor, "shared_points", "bip32", (point,) * 1024, (352, 1))
    (told,) = (await hsm.audit())[-1:]
    assert (told.operation, told.key, told.count) == ("derive", "bip32", 1024)
    for many in (0, 1025):
        with pytest.raises(InvalidInputError, match="1 to 1024"):
            await bench.actors.call(session.actor, "shared_points", "secp256k1", (point,) * many)


async def test_a_mixed_batch_is_done_whole_and_counted_by_key_and_algorithm(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await opened(hsm, "ed25519", "aes256-gcm", "hmac-sha256")
    requests = [
        SignRequest("ed25519", b"m", "ed25519"),
        EncryptRequest("aes256-gcm", b"m", "aes256-gcm"),
        RandomRequest(16),
        MacRequest("hmac-sha256", b"m", "hmac-sha256"),
    ] * 10
    answers = await do(bench, session, *requests)
    assert len({answer.data for answer in answers[2::4]}) == 10
    told = [(e.operation, e.key, e.count) for e in (await hsm.audit())[-4:]]
    assert told == [
        ("sign", "ed25519", 10),
        ("encrypt", "aes256-gcm", 10),
        ("random", "", 10),
        ("mac", "hmac-sha256", 10),
    ]


async def test_of_a_batch_that_is_done_each_on_its_own_the_refused_are_told_apart(
    bench: LocalHsm, hsm: HsmService
) -> None:
    session = await opened(hsm, "ed25519")
    requests = (
        SignRequest("ed25519", b"m", "ed25519"),
        SignRequest("nix", b"m", "ed25519"),
        EncryptRequest("ed25519", b"m", "aes256-gcm"),
    )
    first, second, third = await bench.actors.call(session.actor, "perform_each", requests)
    assert isinstance(first, Answer)
    assert isinstance(second, Refusal)
    assert second.code == "unknown-key"
    assert third.code == "invalid-input"
    told = [(e.operation, e.outcome) for e in (await hsm.audit())[-3:]]
    assert told == [
        ("sign", "ok"),
        ("sign", "refused: unknown-key"),
        ("encrypt", "refused: invalid-input"),
    ]


@pytest.mark.parametrize(
    ("allowed", "request_"),
    [
        ("decrypt", EncryptRequest("k", b"", "aes256-gcm")),
        ("encrypt", DecryptRequest("k", bytes(40), "aes256-gcm")),
    ],
)
async def test_a_key_does_only_what_it_was_made_for(
    bench: LocalHsm, hsm: HsmService, allowed: str, request_: Any
) -> None:
    await hsm.create_key("k", "aes256-gcm", "alice", (allowed,), message_id="k")
    session = await hsm.open_session("alice", ("k",), message_id="open")
    with pytest.raises(OperationRefusedError):
        await do(bench, session, request_)


# -- nonces ---------------------------------------------------------------------------------------


async def test_counted_nonces_never_come_twice_whichever_process_encrypts(
    bench: LocalHsm, hsm: HsmService
) -> None:
    policy = KeyPolicy(counter_nonces=True)
    session = await opened(hsm, "aes256-gcm", policy=policy)
    other = await hsm.open_session("alice", ("aes256-gcm",), message_id="open 2")
    seen: list[bytes] = []
    request = EncryptRequest("aes256-gcm", b"m", "aes256-gcm")

    async def encrypt(which: SessionView) -> None:
        for _ in range(3):
            seen.extend(answer.data[:12] for answer in await do(bench, which, *[request] * 500))

    await asyncio.gather(encrypt(session), encrypt(other), encrypt(session))
    bench.kill(session.actor)  # what it had left is skipped
    third = await hsm.open_session("alice", ("aes256-gcm",), message_id="open 3")
    await encrypt(third)
    hsm = await bench.start()  # a successor of the HSM goes on where the counter stands
    fourth = await hsm.open_session("alice", ("aes256-gcm",), message_id="open 4")
    await encrypt(fourth)
    assert len(seen) == len(set(seen)) == 7500
    assert max(int.from_bytes(nonce, "big") for nonce in seen) < 7500 + 5 * 1024


@pytest.mark.parametrize("counted", [True, False])
async def test_a_version_that_is_used_up_must_be_rotated(
    bench: LocalHsm, hsm: HsmService, counted: bool
) -> None:
    policy = KeyPolicy(counter_nonces=counted, encryption_limit=3)
    session = await opened(hsm, "aes256-gcm", policy=policy)
    request = EncryptRequest("aes256-gcm", b"m", "aes256-gcm")
    old = await do(bench, session, *[request] * 3)
    with pytest.raises(KeyExhaustedError):
        await do(bench, session, request)
    assert (await hsm.audit())[-1].outcome == "refused: key-exhausted"
    await hsm.rotate_key("aes256-gcm", "alice", message_id="r")
    (new,) = await do(bench, session, request)
    assert (old[0].version, new.version) == (1, 2)
    for answer in (*old, new):
        opening = DecryptRequest("aes256-gcm", answer.data, "aes256-gcm", version=answer.version)
        assert (await do(bench, session, opening))[0].data == b"m"


async def test_a_keys_rate_is_kept_over_all_its_sessions(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "ed25519", policy=KeyPolicy(rate_per_s=5))
    other = await hsm.open_session("alice", ("ed25519",), message_id="open 2")
    request = SignRequest("ed25519", b"m", "ed25519")
    await do(bench, session, *[request] * 3)
    with pytest.raises(KeyRateError):
        await do(bench, other, *[request] * 3)
    entry = (await hsm.audit())[-1]
    assert (entry.actor, entry.key, entry.outcome, entry.count) == (
        other.actor,
        "ed25519",
        "refused: key-rate",
        3,
    )
    await do(bench, other, *[request] * 2)
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(1)
    await do(bench, other, *[request] * 5)


async def test_a_keys_rate_holds_in_any_second_whenever_it_begins(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "ed25519", policy=KeyPolicy(rate_per_s=5))
    request = SignRequest("ed25519", b"m", "ed25519")
    assert isinstance(bench.clock, ManualClock)
    await do(bench, session, request)
    await bench.clock.advance(0.75)
    await do(bench, session, *[request] * 4)
    await bench.clock.advance(0.25)
    await do(bench, session, request)  # the first one is a second old
    with pytest.raises(KeyRateError):
        await do(bench, session, request)
    await bench.clock.advance(0.75)
    await do(bench, session, *[request] * 4)


async def test_a_key_ends_when_its_policy_says(bench: LocalHsm, hsm: HsmService) -> None:
    expiry = bench.clock.now_unix_ms() + 60_000
    session = await opened(hsm, "ed25519", policy=KeyPolicy(expires_unix_ms=expiry))
    request = SignRequest("ed25519", b"m", "ed25519")
    await do(bench, session, request)
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(60)
    with pytest.raises(OperationRefusedError, match="expired"):
        await do(bench, session, request)


async def test_a_mac_is_the_one_of_hmac(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(hsm, "hmac-sha256")
    (mac,) = await do(bench, session, MacRequest("hmac-sha256", b"m", "hmac-sha256"))
    (held,) = bench.actors._services[session.actor].held_keys
    key = held.private._secret.reveal()
    assert mac.data == hmac.digest(key, b"m", hashlib.sha256)
