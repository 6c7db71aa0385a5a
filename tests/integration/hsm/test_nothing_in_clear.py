"""A scan of everything that an HSM with known keys leaves on disk: none of it is there, in any writing."""

from __future__ import annotations

import base64
from pathlib import Path

from anya_actors.adapters.keys.bip32 import from_seed
from anya_actors.adapters.keys.written import seed_of_mnemonic
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.slots import KeyPlan
from anya_actors.domain.keys.operations import EncryptRequest, SignRequest, StretchRequest
from anya_actors.services.hsm.importing import import_key
from tests.integration.hsm.worker import bench_at

MNEMONIC = b"legal winner thank year wave sausage worth useful legal winner thank yellow"
PLAIN = b"a plaintext that is nobody's business but its owner's"
ALL = ("decrypt", "derive", "encrypt", "sign", "verify")


def writings(secret: bytes) -> set[bytes]:
    """The secret as it might be written by mistake."""
    return {
        secret,
        secret.hex().encode(),
        base64.b64encode(secret)[:-4],
        base64.urlsafe_b64encode(secret)[:-4],
    }


async def test_no_private_key_passphrase_or_payload_is_anywhere_on_disk(tmp_path: Path) -> None:
    bench = await bench_at(tmp_path)
    hsm = await bench.start()
    known = {
        "ed25519": bytes(range(1, 33)),
        "secp256k1": bytes(range(2, 34)),
        "aes256-gcm": bytes(range(3, 35)),
        "secret": bytes(range(4, 36)),
    }
    for key_type, key in known.items():
        plan = KeyPlan(key_type, key_type, "alice", ALL, KeyPolicy(exportable=True))
        await import_key(bench.actors, NaclSealedBoxes(), plan, KeyMaterial("raw", key), message_id=key_type)
    wallet = KeyPlan("w", "bip32", "alice", ALL)
    await import_key(
        bench.actors, NaclSealedBoxes(), wallet, KeyMaterial("mnemonic", MNEMONIC), message_id="w"
    )
    session = await hsm.open_session("alice", (*known, "w"), message_id="open")
    await bench.actors.call(
        session.actor,
        "perform",
        (
            SignRequest("ed25519", PLAIN, "ed25519"),
            SignRequest("w", bytes(32), "schnorr-bip340", (1, 2, 3)),
            EncryptRequest("aes256-gcm", PLAIN, "aes256-gcm"),
            StretchRequest("secret", "hkdf-sha256", 32),
        ),
    )
    await bench.actors.call(session.actor, "musig2_nonce", "w", (1,))
    await hsm.rotate_key("aes256-gcm", "alice", message_id="r")
    await bench.close()

    seed = seed_of_mnemonic(MNEMONIC, b"").reveal()
    secrets = [*known.values(), MNEMONIC, seed, from_seed_bytes(seed), bench.source.passphrase, PLAIN]
    scan(tmp_path, set().union(*(writings(secret) for secret in secrets)))


def scan(folder: Path, forbidden: set[bytes]) -> None:
    """Every file below the folder holds none of it."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 3
    for path in files:
        content = path.read_bytes()
        for text in forbidden:
            assert text not in content, path


def from_seed_bytes(seed: bytes) -> bytes:
    """The master private key of a seed."""
    from anya_actors.domain.keys.secret import Secret

    return bytes(from_seed(Secret(seed)).buffer[41:])
