"""The remote signer: one session for all its keys, replaced when it is over."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.domain.hsm.errors import OperationRefusedError, SessionClosedError, UnknownKeyError
from anya_actors.domain.keys.operations import SignRequest
from anya_actors.services.hsm import HsmService
from anya_actors.services.signer import RemoteSigner
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

DIGEST = bytes(range(32))


@pytest.fixture
async def signer(bench: LocalHsm, hsm: HsmService) -> RemoteSigner:
    for name in ("a", "b"):
        await hsm.create_key(name, "secp256k1", "wallet", message_id=name)
    await hsm.create_key("foreign", "secp256k1", "alice", message_id="foreign")
    return bench.signer("wallet")


async def session_ids(hsm: HsmService) -> list[str]:
    return [session.session_id for session in await hsm.sessions()]


async def test_one_session_serves_all_keys_also_at_once(hsm: HsmService, signer: RemoteSigner) -> None:
    assert await session_ids(hsm) == []
    await asyncio.gather(*(signer.sign_ecdsa(name, DIGEST) for name in ("a", "b") * 10))
    assert len(await session_ids(hsm)) == 1
    await signer.close()
    assert await session_ids(hsm) == []


async def test_public_keys_need_no_session(hsm: HsmService, signer: RemoteSigner) -> None:
    assert (await signer.public_key("a")).hex() == (await hsm.key("a")).public_key
    assert await session_ids(hsm) == []


async def test_a_session_that_timed_out_is_replaced(
    bench: LocalHsm, hsm: HsmService, signer: RemoteSigner
) -> None:
    first = await signer.sign_ecdsa("a", DIGEST)
    before = await session_ids(hsm)
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(24 * 3600)
    assert await signer.sign_ecdsa("a", DIGEST) == first
    assert len(await session_ids(hsm)) == 1
    assert await session_ids(hsm) != before


async def test_a_session_whose_process_died_is_replaced(
    bench: LocalHsm, hsm: HsmService, signer: RemoteSigner
) -> None:
    first = await signer.sign_ecdsa("a", DIGEST)
    (dead,) = await session_ids(hsm)
    bench.kill(f"hsm-session/{dead}")
    assert await signer.sign_ecdsa("a", DIGEST) == first
    assert dead not in await session_ids(hsm)


async def test_a_closed_session_is_replaced_once_for_all_who_wait(
    hsm: HsmService, signer: RemoteSigner
) -> None:
    await signer.sign_ecdsa("a", DIGEST)
    (closed,) = await session_ids(hsm)
    await hsm.close_session(closed, message_id="c")
    await asyncio.gather(*(signer.sign_ecdsa(name, DIGEST) for name in ("a", "b") * 10))
    assert len(await session_ids(hsm)) == 1


async def test_it_signs_with_no_key_of_another(signer: RemoteSigner) -> None:
    for attempt in (signer.public_key("foreign"), signer.sign_ecdsa("foreign", DIGEST)):
        with pytest.raises(UnknownKeyError):
            await attempt


async def test_a_disabled_key_does_not_sign_and_stops_no_other(hsm: HsmService, signer: RemoteSigner) -> None:
    await signer.sign_ecdsa("a", DIGEST)
    await hsm.disable_key("a", "wallet", message_id="d")
    with pytest.raises(OperationRefusedError):
        await signer.sign_ecdsa("a", DIGEST)
    await signer.sign_ecdsa("b", DIGEST)


async def test_a_new_signer_closes_what_its_dead_predecessor_left_open(
    bench: LocalHsm, hsm: HsmService, signer: RemoteSigner
) -> None:
    await hsm.open_session("alice", ("foreign",), message_id="alice")
    await signer.sign_ecdsa("a", DIGEST)
    foreign, left = await session_ids(hsm)
    successor = bench.signer("wallet")
    await successor.sign_ecdsa("a", DIGEST)
    assert foreign in await session_ids(hsm)
    assert left not in await session_ids(hsm)
    assert len(await session_ids(hsm)) == 2


async def test_a_key_made_later_joins_the_open_session(
    bench: LocalHsm, hsm: HsmService, signer: RemoteSigner
) -> None:
    await signer.sign_ecdsa("a", DIGEST)
    before = await session_ids(hsm)
    await hsm.create_key("w", "bip32", "wallet", message_id="w")
    await signer.sign_ecdsa("w", DIGEST, path=(1, 2))
    await signer.sign_ecdsa("a", DIGEST)
    assert await session_ids(hsm) == before
    told = [(entry.operation, entry.key) for entry in await hsm.audit()]
    assert ("extend-session", "w") in told
    assert ("release-keys", "w") in told


async def test_a_session_is_extended_by_keys_of_its_owner_alone(
    bench: LocalHsm, hsm: HsmService, signer: RemoteSigner
) -> None:
    await signer.sign_ecdsa("a", DIGEST)
    (session_id,) = await session_ids(hsm)
    with pytest.raises(UnknownKeyError):
        await hsm.extend_session(session_id, ("foreign",), message_id="x")
    with pytest.raises(SessionClosedError):
        await hsm.extend_session("none", ("a",), message_id="y")
    # What a session was not extended by, its process does not get, whoever asks.
    (session,) = await hsm.sessions()
    with pytest.raises(UnknownKeyError):
        await bench.actors.call(session.actor, "sign", "b", DIGEST, "ecdsa-secp256k1")


async def test_another_process_gets_no_key_of_an_extended_session(
    bench: LocalHsm, hsm: HsmService, signer: RemoteSigner
) -> None:
    await signer.sign_ecdsa("a", DIGEST)
    (session_id,) = await session_ids(hsm)
    await hsm.extend_session(session_id, ("b",), message_id="x")
    with pytest.raises(SessionClosedError):
        await hsm.release_keys(session_id, bytes(range(32)), ("b",))
    assert await session_ids(hsm) == []


async def test_a_batch_over_keys_and_paths_is_audited_once_for_each_key(
    hsm: HsmService, signer: RemoteSigner
) -> None:
    await hsm.create_key("w", "bip32", "wallet", message_id="w")
    requests = [SignRequest("w", DIGEST, "ecdsa-secp256k1", (0, n)) for n in range(200)]
    await signer.sign_many([*requests, SignRequest("a", DIGEST, "ecdsa-secp256k1")])
    signed = [(e.key, e.count, e.outcome) for e in await hsm.audit() if e.operation == "sign"]
    assert signed == [("w", 200, "ok"), ("a", 1, "ok")]


async def test_a_batch_with_one_foreign_key_signs_nothing(hsm: HsmService, signer: RemoteSigner) -> None:
    requests = [SignRequest(key, DIGEST, "ecdsa-secp256k1") for key in ("a", "foreign")]
    with pytest.raises(UnknownKeyError):
        await signer.sign_many(requests)


async def test_a_batch_longer_than_a_call_is_split(hsm: HsmService, signer: RemoteSigner) -> None:
    signatures = await signer.sign_many([SignRequest("a", DIGEST, "ecdsa-secp256k1")] * 1025)
    assert len(signatures) == 1025
    assert [e.count for e in await hsm.audit() if e.operation == "sign"] == [1024, 1]
