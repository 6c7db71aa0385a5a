"""The HSM's key objects over SoftHSM2: drawn there, used there, and verified by our own libraries."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import (
    HMACS,
    SIGNATURE_ALGORITHMS,
    InvalidCiphertextError,
    InvalidSignatureError,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.key_algorithms import CipherKey, MacKey
from anya_actors.services.hsm.self_test import check_pair

pkcs11 = pytest.importorskip("pkcs11")
MODULES = [
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
]
OUTSIDE = LibraryKeyAlgorithms(SystemRandomness())
DIGEST = bytes(range(32))
IN_TOKENS = {
    "secp256k1": SIGNATURE_ALGORITHMS["secp256k1"] - {"schnorr-bip340", "ecdsa-secp256k1-recoverable"},
    "p256": {f"ecdsa-p256{hashed}{form}" for hashed in ("", "-sha256") for form in ("", "-p1363")},
    "rsa-2048": {f"rsa-{form}-sha{bits}" for form in ("pss", "pkcs1") for bits in (256, 384, 512)},
}


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from anya_actors.adapters.pkcs11.algorithms import TokenKeyAlgorithms

    module = next((path for path in MODULES if path.exists()), None)
    if module is None:
        pytest.skip("SoftHSM2 is absent")
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        pins = ["--pin", "1234", "--so-pin", "123456"]
        command = ["softhsm2-util", "--init-token", "--free", "--label", "anya", *pins]
        subprocess.run(command, check=True, capture_output=True)
        session = pkcs11.lib(str(module)).get_token(token_label="anya").open(user_pin="1234", rw=True)
        yield TokenKeyAlgorithms(session, SystemRandomness())
        session.close()


@pytest.mark.parametrize("key_type", sorted(IN_TOKENS))
def test_what_the_token_signs_verifies_outside(token: Any, key_type: str) -> None:
    handle = token.generate(key_type)
    key = token.load(key_type, handle)
    assert key.public_key == token.load(key_type, handle).public_key
    for algorithm in sorted(SIGNATURE_ALGORITHMS[key_type] - IN_TOKENS[key_type]):
        with pytest.raises(NotSupportedError):
            key.sign(DIGEST, algorithm)
    for algorithm in sorted(IN_TOKENS[key_type]):
        for _ in range(4):  # both parities of S
            signature = key.sign(DIGEST, algorithm)
            OUTSIDE.verify(key_type, key.public_key, DIGEST, signature, algorithm)
        with pytest.raises(InvalidSignatureError):
            OUTSIDE.verify(key_type, key.public_key, bytes(32), signature, algorithm)


def test_what_the_token_encrypts_it_opens_with_its_data_alone(token: Any) -> None:
    key = token.load_any("aes256-gcm", token.generate("aes256-gcm"))
    assert isinstance(key, CipherKey)
    sealed = key.encrypt(b"text", "aes256-gcm", b"data", b"n" * 12)
    assert key.decrypt(sealed, "aes256-gcm", b"data") == b"text"
    for altered, data in ((sealed, b"other"), (sealed[:-1] + b"\x00", b"data"), (b"", b"data")):
        with pytest.raises(InvalidCiphertextError):
            key.decrypt(altered, "aes256-gcm", data)


@pytest.mark.parametrize("key_type", HMACS)
def test_the_tokens_macs_hold_for_their_message_alone(token: Any, key_type: str) -> None:
    key = token.load_any(key_type, token.generate(key_type))
    assert isinstance(key, MacKey)
    mac = key.mac(b"message", key_type)
    assert len(mac) == int(key_type[-3:]) // 8
    key.verify_mac(b"message", mac, key_type)
    with pytest.raises(InvalidSignatureError):
        key.verify_mac(b"another", mac, key_type)


@pytest.mark.parametrize("key_type", ["p256", "secp256k1", "rsa-2048", "aes256-gcm", "hmac-sha256"])
def test_a_key_in_the_token_passes_the_pairwise_check_of_new_keys(token: Any, key_type: str) -> None:
    check_pair(token, key_type, token.generate(key_type))


def test_what_no_token_does_is_refused(token: Any) -> None:
    for key_type in ("bip32", "x25519", "ed25519", "secret", "chacha20-poly1305"):
        with pytest.raises(NotSupportedError):
            token.generate(key_type)
    with pytest.raises(NotSupportedError):
        token.read("p256", KeyMaterial("raw", b"\x01" * 32))
    with pytest.raises(NotSupportedError):
        token.write("p256", token.generate("p256"))
    with pytest.raises(NotSupportedError):
        token.load("secp256k1", token.generate("secp256k1")).sign(DIGEST, "schnorr-bip340")
    with pytest.raises(InvalidInputError, match="handle"):
        token.load("p256", Secret(bytes(16)))
