"""Keys from outside: sealed on their way, checked at their arrival, never shown."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.keys.written import seed_of_mnemonic
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.errors import KeyExistsError, OperationRefusedError
from anya_actors.domain.hsm.material import KeyMaterial, pack_material, unpack_material
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.slots import KeyPlan
from anya_actors.domain.keys.operations import HARDENED
from anya_actors.domain.keys.secret import Secret, SecretCopyError
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.services.hsm.importing import import_key
from anya_actors.testing.local_hsm import LocalHsm

VECTORS = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[4] / ".." / "shared" / "vectors"))
DIGEST = bytes(range(32))
# BIP86: the mnemonic of its test vectors, and the extended public key of account 0.
MNEMONIC = b"abandon " * 11 + b"about"
ACCOUNT = (86 | HARDENED, HARDENED, HARDENED)
ACCOUNT_KEY = (
    "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9Qyr"
    "LprQ3VCECoY49yfdDEHGCtMMj92pReUsQ"
)


async def bring(bench: LocalHsm, form: str, data: bytes, **facts: Any) -> Any:
    facts = {"name": "w", "key_type": "bip32", "owner": "wallet", **facts}
    plan = KeyPlan(**facts)
    return await import_key(bench.actors, NaclSealedBoxes(), plan, KeyMaterial(form, data), message_id="i")


async def test_an_imported_mnemonic_has_the_keys_that_bip86_says(bench: LocalHsm, hsm: HsmService) -> None:
    view = await bring(bench, "mnemonic", MNEMONIC)
    assert (view.key_type, view.owner) == ("bip32", "wallet")
    assert await bench.signer("wallet").extended_public_key("w", ACCOUNT) == ACCOUNT_KEY
    assert "import-key" in [entry.operation for entry in await hsm.audit()]


async def test_an_import_is_repeated_without_harm_also_after_a_restart(
    bench: LocalHsm, hsm: HsmService
) -> None:
    first = await bring(bench, "mnemonic", MNEMONIC)
    bench.kill("hsm/main")
    await bench.start()
    assert await bring(bench, "mnemonic", MNEMONIC) == first


async def test_a_box_for_an_earlier_process_does_not_open(bench: LocalHsm, hsm: HsmService) -> None:
    old = await hsm.transport_key()
    again = await bench.start()
    assert await again.transport_key() != old
    with pack_material(KeyMaterial("seed", bytes(32))) as packed:
        box = NaclSealedBoxes().seal(packed, old)
    with pytest.raises(InvalidInputError, match="transport key"):
        await again.import_key("w", "bip32", "wallet", box, message_id="i")
    assert (await again.audit())[-1].outcome == "refused: invalid-input"


@pytest.mark.parametrize(
    ("key_type", "form", "data"),
    [
        ("bip32", "mnemonic", b"abandon " * 12),
        ("bip32", "mnemonic", b"abandon about"),
        ("bip32", "mnemonic", b"\xff" * 12),
        ("bip32", "extended-private-key", ACCOUNT_KEY.encode()),
        ("bip32", "seed", bytes(15)),
        ("bip32", "raw", bytes(32)),
        ("bip32", "whatever", bytes(32)),
        ("secp256k1", "raw", bytes(32)),
        ("secp256k1", "seed", b"\x01" * 32),
        ("ed25519", "raw", bytes(31)),
    ],
)
async def test_what_is_no_key_is_refused_without_showing_it(
    bench: LocalHsm, hsm: HsmService, key_type: str, form: str, data: bytes
) -> None:
    with pytest.raises(InvalidInputError) as refusal:
        await bring(bench, form, data, key_type=key_type)
    assert "abandon" not in repr(refusal.value)
    assert refusal.value.__cause__ is None or "abandon" not in repr(refusal.value.__cause__)
    assert await hsm.keys("wallet") == []


@pytest.mark.parametrize("key_type", ["secp256k1", "ed25519"])
async def test_raw_keys_sign_as_they_did_outside(bench: LocalHsm, hsm: HsmService, key_type: str) -> None:
    private_key = b"\x07" * 32
    view = await bring(bench, "raw", private_key, key_type=key_type)
    outside = LibraryKeyAlgorithms(SystemRandomness()).load(key_type, Secret(private_key))
    assert bytes.fromhex(view.public_key) == outside.public_key
    plan, material = KeyPlan("w", key_type, "wallet"), KeyMaterial("raw", private_key)
    with pytest.raises(KeyExistsError):
        await import_key(bench.actors, NaclSealedBoxes(), plan, material, message_id="another")


async def test_a_policy_binds_a_key_to_its_paths(bench: LocalHsm, hsm: HsmService) -> None:
    view = await bring(bench, "mnemonic", MNEMONIC, policy=KeyPolicy(paths=(ACCOUNT,)))
    assert view.paths == ("m/86h/0h/0h",)
    signer = bench.signer("wallet")
    await signer.sign_ecdsa("w", DIGEST, path=(*ACCOUNT, 0, 1))
    assert await signer.extended_public_key("w", ACCOUNT) == ACCOUNT_KEY
    for path in ((), ACCOUNT[:2], (84 | HARDENED, HARDENED, HARDENED, 0, 1)):
        with pytest.raises(OperationRefusedError, match="act at m"):
            await signer.sign_ecdsa("w", DIGEST, path=path)
        with pytest.raises(OperationRefusedError):
            await signer.extended_public_key("w", path)
        with pytest.raises(OperationRefusedError):
            await signer.musig2_nonce("w", path=path)
    assert (await hsm.audit())[-1].outcome == "refused: operation-refused"


async def test_a_policy_altered_in_the_store_makes_the_key_unopenable(
    bench: LocalHsm, hsm: HsmService
) -> None:
    from anya_actors.domain.hsm.slots import KeySlot
    from anya_actors.services.hsm.vault import _context_of

    slot = KeySlot("w", policy=KeyPolicy(paths=(ACCOUNT,)))
    assert _context_of(slot, 1, b"") != _context_of(KeySlot("w"), 1, b"")


async def test_a_policy_that_means_nothing_is_refused(hsm: HsmService) -> None:
    for key_type, policy in (
        ("secp256k1", KeyPolicy(paths=((1,),))),
        ("bip32", KeyPolicy(paths=((1,) * 11,))),
        ("bip32", KeyPolicy(paths=((1,),) * 65)),
    ):
        with pytest.raises(InvalidInputError):
            await hsm.create_key("k", key_type, "alice", policy=policy, message_id="m")


def test_every_bip39_vector_gives_its_seed() -> None:
    path = VECTORS / "bitcoin" / "bip39_trezor.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    for _, mnemonic, seed, _ in json.loads(path.read_text())["english"]:
        assert seed_of_mnemonic(mnemonic.encode(), b"TREZOR").reveal().hex() == seed


def test_material_is_neither_shown_nor_pickled() -> None:
    material = KeyMaterial("seed", b"a secret of sixteen bytes")
    assert "secret" not in repr(material)
    with pytest.raises(SecretCopyError):
        pickle.dumps(material)


@given(st.binary(max_size=200))
def test_no_box_content_does_more_than_be_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        unpack_material(Secret(data))
