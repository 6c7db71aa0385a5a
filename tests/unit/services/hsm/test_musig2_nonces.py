"""MuSig2 in a session: a nonce signs once, and none outlives the process that drew it."""

from __future__ import annotations

import pytest

from anya_actors.domain.hsm.errors import AuditUnavailableError, NonceLostError
from anya_actors.domain.hsm.nonces import MAX_OPEN, OpenNonces, commitment
from anya_actors.domain.keys.musig2 import aggregate_nonces
from anya_actors.domain.keys.musig2_signing import NonceReusedError, SecretNonce, generate_nonce
from anya_actors.domain.keys.operations import MusigRound
from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm

DIGEST = bytes(range(32))
G = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


class FrozenRandomness:
    """Chance that has stopped: what a machine restored from a snapshot may see."""

    def token_bytes(self, size: int) -> bytes:
        return bytes(size)

    def uniform(self) -> float:
        return 0.5


async def key_and_round(hsm: HsmService, public_nonce: bytes) -> MusigRound:
    public = bytes.fromhex((await hsm.key("w")).public_key)
    return MusigRound((public, G), aggregate_nonces([public_nonce, G + G]), DIGEST)


async def test_a_nonce_is_gone_with_its_process(bench: LocalHsm, hsm: HsmService) -> None:
    await hsm.create_key("w", "bip32", "wallet", message_id="w")
    signer = bench.signer("wallet")
    nonce = await signer.musig2_nonce("w", message=DIGEST)
    (session,) = await hsm.sessions()
    bench.kill(session.actor)
    with pytest.raises(NonceLostError):
        await signer.musig2_partial_sign("w", nonce, await key_and_round(hsm, nonce))
    assert len(await hsm.sessions()) == 1


async def test_the_audit_log_names_each_nonce_when_it_is_drawn_and_when_it_is_used(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await hsm.create_key("w", "bip32", "wallet", message_id="w")
    signer = bench.signer("wallet")
    nonces = [await signer.musig2_nonce("w") for _ in range(3)]
    signing = await key_and_round(hsm, nonces[0])
    await signer.musig2_partial_sign("w", nonces[0], signing)
    with pytest.raises(NonceReusedError):
        await signer.musig2_partial_sign("w", nonces[0], signing)
    told = [(e.operation, e.detail, e.outcome) for e in await hsm.audit() if e.detail]
    assert told == [
        *(("musig2-nonce", commitment(nonce), "ok") for nonce in nonces),
        ("musig2-sign", commitment(nonces[0]), "ok"),
        ("musig2-sign", commitment(nonces[0]), "refused: musig2-nonce-used"),
    ]
    assert (await hsm.verify_audit()).entries == len(await hsm.audit())


async def test_nonces_differ_even_when_chance_stops() -> None:
    bench = LocalHsm()
    hsm = await bench.start()
    await hsm.create_key("w", "bip32", "wallet", message_id="w")
    seen = set()
    signer = bench.signer("wallet")
    await signer.public_key("w", path=(1,))
    (session,) = await hsm.sessions()
    service = bench.actors._services[session.actor]
    randomness, service._randomness = service._randomness, FrozenRandomness()
    for _ in range(4):
        service._message_id = lambda: randomness.token_bytes(16).hex()
        seen.add(await signer.musig2_nonce("w", message=DIGEST))
    assert len(seen) == 4
    await bench.close()


async def test_a_nonce_whose_entry_is_not_durable_is_never_shown(bench: LocalHsm, hsm: HsmService) -> None:
    await hsm.create_key("w", "bip32", "wallet", message_id="w")
    signer = bench.signer("wallet")
    await signer.musig2_nonce("w")
    (session,) = await hsm.sessions()
    service = bench.actors._services[session.actor]

    async def refuse(*_: object, **__: object) -> None:
        raise AuditUnavailableError(1.0)

    hsm.append_audit = refuse  # type: ignore[method-assign]
    with pytest.raises(AuditUnavailableError):
        await signer.musig2_nonce("w")
    assert len(service._nonces) == 1


def drawn(number: int) -> SecretNonce:
    return generate_nonce(number.to_bytes(32, "big"), G)


def test_the_oldest_open_nonce_makes_room_and_is_wiped() -> None:
    nonces, first = OpenNonces(), drawn(0)
    nonces.add(first, "k", (), b"", None)
    for number in range(MAX_OPEN):
        nonces.add(drawn(number + 1), "k", (), b"", None)
    assert len(nonces) == MAX_OPEN
    assert first.is_used
    with pytest.raises(NonceLostError):
        nonces.take(first.public_nonce, "k", (), MusigRound((G,), first.public_nonce, DIGEST))
    nonces.wipe()
    assert len(nonces) == 0
