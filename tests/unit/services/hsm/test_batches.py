"""Batches by one key: whole or not at all, one audit entry, and never in the way of other calls."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from anya_actors.domain.hsm.errors import KeyExhaustedError, OperationRefusedError, SessionClosedError
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.algorithms import InvalidCiphertextError, InvalidSignatureError
from anya_actors.domain.keys.operations import MAX_BATCH
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

ALL = ("decrypt", "derive", "encrypt", "sign", "verify")
MESSAGES = tuple(bytes((number,)) * 32 for number in range(100))


class HastyClock(ManualClock):
    """Moves on by a quarter of a second whenever it is asked: every batch is a long one."""

    def monotonic_s(self) -> float:
        self._elapsed_s += 0.25
        return super().monotonic_s()


async def opened(
    hsm: HsmService, key_type: str, operations: tuple[str, ...] = ALL, policy: KeyPolicy | None = None
) -> SessionView:
    await hsm.create_key("k", key_type, "alice", operations, policy or KeyPolicy(), message_id="make")
    return await hsm.open_session("alice", ("k",), message_id="open")


async def last_audited(hsm: HsmService, entries: int = 1) -> list[tuple[str, str, int, int, str]]:
    told = (await hsm.audit(limit=1000))[-entries:]
    return [(each.operation, each.key, each.key_version, each.count, each.outcome) for each in told]


@pytest.mark.parametrize(
    ("key_type", "algorithm"),
    [("ed25519", "ed25519"), ("secp256k1", "ecdsa-secp256k1"), ("rsa-2048", "rsa-pkcs1-sha256")],
)
async def test_a_batch_of_signatures_verifies_as_a_batch_and_each_is_that_of_its_message(
    bench: LocalHsm, hsm: HsmService, key_type: str, algorithm: str
) -> None:
    actor = (await opened(hsm, key_type)).actor
    signatures = await bench.actors.call(actor, "sign_batch", "k", MESSAGES, algorithm)
    assert await last_audited(hsm) == [("sign", "k", 1, 100, "ok")]
    await bench.actors.call(actor, "verify_batch", "k", MESSAGES, signatures, algorithm)
    assert await last_audited(hsm) == [("verify", "k", 1, 100, "ok")]
    assert signatures[7] == await bench.actors.call(actor, "sign", "k", MESSAGES[7], algorithm)
    swapped = (signatures[1], signatures[0], *signatures[2:])
    with pytest.raises(InvalidSignatureError):
        await bench.actors.call(actor, "verify_batch", "k", MESSAGES, swapped, algorithm)
    assert await last_audited(hsm) == [("verify", "k", 1, 100, "refused: invalid-signature")]
    with pytest.raises(InvalidInputError, match="one for each"):
        await bench.actors.call(actor, "verify_batch", "k", MESSAGES, signatures[1:], algorithm)


@pytest.mark.parametrize("key_type", ["aes256-gcm", "chacha20-poly1305"])
async def test_a_batch_is_encrypted_under_a_nonce_each_and_opens_again(
    bench: LocalHsm, hsm: HsmService, key_type: str
) -> None:
    actor = (await opened(hsm, key_type)).actor
    version, sealed = await bench.actors.call(actor, "encrypt_batch", "k", MESSAGES, key_type, b"data")
    assert version == 1
    assert len({each[:12] for each in sealed}) == len(MESSAGES)
    assert await last_audited(hsm) == [("encrypt", "k", 1, 100, "ok")]
    assert await bench.actors.call(actor, "decrypt_batch", "k", sealed, key_type, b"data") == MESSAGES
    with pytest.raises(InvalidCiphertextError):
        await bench.actors.call(actor, "decrypt_batch", "k", (*sealed[1:], b"x" * 40), key_type, b"data")
    assert await last_audited(hsm) == [("decrypt", "k", 1, 100, "refused: invalid-ciphertext")]


async def test_rsa_encrypts_a_batch_without_nonces(bench: LocalHsm, hsm: HsmService) -> None:
    actor = (await opened(hsm, "rsa-2048")).actor
    _, sealed = await bench.actors.call(
        actor, "encrypt_batch", "k", MESSAGES[:3], "rsa-oaep-sha256", b"label"
    )
    told = await bench.actors.call(actor, "decrypt_batch", "k", sealed, "rsa-oaep-sha256", b"label")
    assert told == MESSAGES[:3]


async def test_a_batch_of_codes_is_that_of_single_calls(bench: LocalHsm, hsm: HsmService) -> None:
    actor = (await opened(hsm, "hmac-sha256")).actor
    codes = await bench.actors.call(actor, "mac_batch", "k", MESSAGES, "hmac-sha256")
    assert await last_audited(hsm) == [("mac", "k", 1, 100, "ok")]
    assert len(set(codes)) == len(MESSAGES)
    assert codes[:1] == await bench.actors.call(actor, "mac_batch", "k", MESSAGES[:1], "hmac-sha256")


async def test_counters_of_batches_and_of_growing_allotments_never_come_twice(
    bench: LocalHsm, hsm: HsmService
) -> None:
    actor = (await opened(hsm, "aes256-gcm", policy=KeyPolicy(counter_nonces=True))).actor
    seen: set[bytes] = set()
    for _ in range(3):
        batch = (b"",) * MAX_BATCH
        (_, one), (_, two) = await asyncio.gather(
            *(bench.actors.call(actor, "encrypt_batch", "k", batch, "aes256-gcm") for _ in range(2))
        )
        seen |= {each[:12] for each in (*one, *two)}
    assert len(seen) == 6 * MAX_BATCH


async def test_a_batch_beyond_the_limit_of_encryptions_is_refused_whole(
    bench: LocalHsm, hsm: HsmService
) -> None:
    actor = (await opened(hsm, "aes256-gcm", policy=KeyPolicy(encryption_limit=50))).actor
    with pytest.raises(KeyExhaustedError):
        await bench.actors.call(actor, "encrypt_batch", "k", MESSAGES, "aes256-gcm")
    assert (await last_audited(hsm))[0][3:] == (100, "refused: key-exhausted")


async def test_what_the_policy_forbids_is_refused_to_a_batch_too(bench: LocalHsm, hsm: HsmService) -> None:
    actor = (await opened(hsm, "ed25519", ("verify",))).actor
    with pytest.raises(OperationRefusedError):
        await bench.actors.call(actor, "sign_batch", "k", MESSAGES, "ed25519")
    for method in ("encrypt_batch", "decrypt_batch", "mac_batch"):
        with pytest.raises((OperationRefusedError, InvalidInputError)):
            await bench.actors.call(actor, method, "k", MESSAGES, "ed25519")
    for count in (0, MAX_BATCH + 1):
        with pytest.raises(InvalidInputError, match="send 1 to 1024"):
            await bench.actors.call(actor, "sign_batch", "k", (b"",) * count, "ed25519")
    assert all(outcome.startswith("refused") for *_, outcome in await last_audited(hsm, 6))


async def test_an_earlier_version_verifies_a_batch_and_a_later_one_does_not(
    bench: LocalHsm, hsm: HsmService
) -> None:
    actor = (await opened(hsm, "ed25519")).actor
    signatures = await bench.actors.call(actor, "sign_batch", "k", MESSAGES, "ed25519")
    await hsm.rotate_key("k", "alice", message_id="rotate")
    await bench.actors.call(actor, "verify_batch", "k", MESSAGES, signatures, "ed25519", 1)
    with pytest.raises(InvalidSignatureError):
        await bench.actors.call(actor, "verify_batch", "k", MESSAGES, signatures, "ed25519")


async def test_others_are_answered_while_a_long_batch_runs_and_a_rotation_begins_it_anew() -> None:
    bench = LocalHsm(clock=HastyClock())
    hsm = await bench.start()
    actor = (await opened(hsm, "ed25519")).actor
    await bench.actors.call(actor, "public_key", "k")
    order: list[str] = []

    async def note(name: str, *call: Any) -> Any:
        answer = await bench.actors.call(actor, *call)
        order.append(name)
        return answer

    long = asyncio.create_task(note("batch", "sign_batch", "k", (b"m",) * MAX_BATCH, "ed25519"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await note("forgotten", "forget_key", "k")
    signatures = await long
    assert order == ["forgotten", "batch"]
    assert len(signatures) == MAX_BATCH
    assert await last_audited(hsm) == [("sign", "k", 1, MAX_BATCH, "ok")]
    await bench.close()


async def test_a_session_that_ends_in_the_middle_of_a_batch_answers_none_of_it() -> None:
    bench = LocalHsm(clock=HastyClock())
    hsm = await bench.start()
    session = await opened(hsm, "ed25519")
    await bench.actors.call(session.actor, "public_key", "k")
    long = asyncio.create_task(
        bench.actors.call(session.actor, "sign_batch", "k", (b"m",) * MAX_BATCH, "ed25519")
    )
    await asyncio.sleep(0)
    await hsm.close_session(session.session_id, message_id="close")
    with pytest.raises(SessionClosedError):
        await long
    await bench.close()
