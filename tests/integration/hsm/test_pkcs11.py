"""The HSM's key objects over SoftHSM2 and NSS's token: drawn and used there, verified by our libraries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.keys.rsa import encrypt
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import (
    CIPHER_ALGORITHMS,
    HMACS,
    NIST_CURVES,
    SIGNATURE_ALGORITHMS,
    InvalidCiphertextError,
    InvalidSignatureError,
)
from anya_actors.domain.keys.secret import HANDLE_PREFIX, Secret
from anya_actors.domain.machine import InvalidInputError, NotSupportedError, UnavailableError
from anya_actors.ports.key_algorithms import AgreeingKey, CipherKey, MacKey
from anya_actors.services.hsm.self_test import check_pair
from tests.integration.hsm.softhsm import LABEL, PIN, token_in
from tests.integration.hsm.softokn import LACKS, softokn_in

OUTSIDE = LibraryKeyAlgorithms(SystemRandomness())
DIGEST = bytes(range(32))
IN_TOKENS = {
    "secp256k1": SIGNATURE_ALGORITHMS["secp256k1"] - {"schnorr-bip340", "ecdsa-secp256k1-recoverable"},
    "rsa-2048": {f"rsa-{form}-sha{bits}" for form in ("pss", "pkcs1") for bits in (256, 384, 512)},
    "ed25519": {"ed25519"},
    **{key_type: SIGNATURE_ALGORITHMS[key_type] for key_type in ("p256", "p384", "p521")},
}
SIGNING = sorted(IN_TOKENS)
AGREEING = (*NIST_CURVES, "secp256k1", "x25519")
SECRET = ("aes128-gcm", "aes256-gcm", *HMACS)


TOKENS = {"SoftHSM2": token_in, "NSS": softokn_in}


@pytest.fixture(scope="module", params=TOKENS)
def module(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with TOKENS[request.param](tmp_path_factory.mktemp("token")) as path:
        yield path


@pytest.fixture(autouse=True)
def _offered(request: pytest.FixtureRequest) -> None:
    """Skips what is of a key type that the token lacks."""
    asked = request.node.callspec.params
    if asked.get("module") == "NSS" and asked.get("key_type") in LACKS:
        pytest.skip(f"NSS has no {asked['key_type']}")


@pytest.fixture(scope="module")
def token(module: Path) -> Any:
    from anya_actors.adapters.pkcs11.algorithms import TokenKeyAlgorithms
    from anya_actors.adapters.pkcs11.token import open_token

    return TokenKeyAlgorithms(open_token(module, LABEL, lambda: PIN, writing=True), SystemRandomness())


def material(key_type: str) -> tuple[KeyMaterial, Secret]:
    """A key of software as it is brought along, and as the libraries have it."""
    private_key = OUTSIDE.generate(key_type)
    form = "pkcs8" if key_type == "rsa-2048" else "raw"
    return KeyMaterial(form, private_key.reveal()), private_key


@pytest.mark.parametrize("key_type", SIGNING)
def test_what_the_token_signs_verifies_outside(token: Any, key_type: str) -> None:
    handle = token.generate(key_type)
    key = token.load(key_type, handle)
    assert key.public_key == token.load(key_type, handle).public_key
    for algorithm in sorted(SIGNATURE_ALGORITHMS[key_type] - IN_TOKENS[key_type]):
        with pytest.raises(NotSupportedError):
            key.sign(bytes(64) if algorithm == "ed25519ph" else DIGEST, algorithm)
    for algorithm in sorted(IN_TOKENS[key_type]):
        for _ in range(4):  # both parities of S
            signature = key.sign(DIGEST, algorithm)
            OUTSIDE.verify(key_type, key.public_key, DIGEST, signature, algorithm)
        with pytest.raises(InvalidSignatureError):
            OUTSIDE.verify(key_type, key.public_key, bytes(32), signature, algorithm)


@pytest.mark.parametrize("key_type", ["aes256-gcm"])
def test_what_the_token_encrypts_it_opens_with_its_data_alone(token: Any, key_type: str) -> None:
    key = token.load_any(key_type, token.generate(key_type))
    assert isinstance(key, CipherKey)
    sealed = key.encrypt(b"text", "aes256-gcm", b"data", b"n" * 12)
    assert key.decrypt(sealed, "aes256-gcm", b"data") == b"text"
    for altered, data in ((sealed, b"other"), (sealed[:-1] + b"\x00", b"data"), (b"", b"data")):
        with pytest.raises(InvalidCiphertextError):
            key.decrypt(altered, "aes256-gcm", data)


@pytest.mark.parametrize("key_type", AGREEING)
def test_what_the_token_agrees_upon_is_what_the_other_side_finds(token: Any, key_type: str) -> None:
    algorithm = "x25519" if key_type == "x25519" else f"ecdh-{key_type}"
    with token._token.session() as session:
        before = len(list(session.get_objects()))
    for handle in (token.generate(key_type), token.read(key_type, material(key_type)[0])):
        key = token.load_any(key_type, handle)
        assert isinstance(key, AgreeingKey)
        for _ in range(8):
            other = OUTSIDE.load_any(key_type, OUTSIDE.generate(key_type))
            assert isinstance(other, AgreeingKey)
            assert key.agree(other.public_key, algorithm) == other.agree(key.public_key, algorithm)
        for no_point in (b"", bytes(len(other.public_key)), b"\x04" + other.public_key[1:] + bytes(32)):
            with pytest.raises(InvalidInputError, match="public_key"):
                key.agree(no_point, algorithm)
        token.discard(handle)
    with token._token.session() as session:  # no secret stays
        assert len(list(session.get_objects())) == before
    if key_type == "secp256k1":
        with pytest.raises(NotSupportedError):
            token.load_any(key_type, token.generate(key_type)).agree(other.public_key, "point-secp256k1")


@pytest.mark.parametrize("module", ["SoftHSM2"], indirect=True)  # NSS copies into a session alone
def test_a_key_that_the_token_holds_for_signing_alone_agrees_upon_nothing(token: Any) -> None:
    from pkcs11 import Attribute, ObjectClass

    handle = token.generate("p256")
    with token._token.session() as session:
        facts = {Attribute.ID: handle.reveal()[len(HANDLE_PREFIX) :]}
        (private,) = session.get_objects({**facts, Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        private.copy({**facts, Attribute.TOKEN: True, Attribute.DERIVE: False})
        private.destroy()
    with pytest.raises(NotSupportedError, match="made to sign"):
        token.load_any("p256", handle).agree(
            OUTSIDE.load("p256", OUTSIDE.generate("p256")).public_key, "ecdh-p256"
        )


@pytest.mark.parametrize("algorithm", sorted(CIPHER_ALGORITHMS["rsa-2048"]))
def test_rsa_is_decrypted_where_the_token_has_the_hash_and_nothing_is_encrypted_elsewhere(
    token: Any, algorithm: str
) -> None:
    key = token.load_any("rsa-2048", token.generate("rsa-2048"))
    sealed = encrypt("rsa-2048", key.public_key, b"text", algorithm, b"data")
    try:
        assert key.decrypt(sealed, algorithm, b"data") == b"text"
    except NotSupportedError:  # SoftHSM2 has OAEP with SHA-1 alone
        with pytest.raises(NotSupportedError, match="another hash"):
            key.encrypt(b"text", algorithm, b"data", b"")
        return
    assert key.decrypt(key.encrypt(b"text", algorithm, b"", b""), algorithm, b"") == b"text"
    for altered, data in (
        (sealed, b"other"),
        (sealed[:-1] + bytes((sealed[-1] ^ 1,)), b"data"),
        (b"", b"data"),
    ):
        with pytest.raises(InvalidCiphertextError):
            key.decrypt(altered, algorithm, data)


@pytest.mark.parametrize("key_type", HMACS)
def test_the_tokens_macs_hold_for_their_message_alone(token: Any, key_type: str) -> None:
    key = token.load_any(key_type, token.generate(key_type))
    assert isinstance(key, MacKey)
    mac = key.mac(b"message", key_type)
    assert len(mac) == int(key_type[-3:]) // 8
    key.verify_mac(b"message", mac, key_type)
    with pytest.raises(InvalidSignatureError):
        key.verify_mac(b"another", mac, key_type)


@pytest.mark.parametrize("key_type", [*SIGNING, *SECRET, "x25519"])
def test_a_key_in_the_token_passes_the_pairwise_check_of_new_keys(token: Any, key_type: str) -> None:
    check_pair(token, key_type, token.generate(key_type))


@pytest.mark.parametrize("key_type", SIGNING)
def test_a_key_from_outside_signs_in_the_token_as_it_did_before(token: Any, key_type: str) -> None:
    brought, private_key = material(key_type)
    key = token.load(key_type, token.read(key_type, brought))
    before = OUTSIDE.load(key_type, private_key)
    assert key.public_key == before.public_key
    for algorithm in sorted(IN_TOKENS[key_type]):
        OUTSIDE.verify(key_type, before.public_key, DIGEST, key.sign(DIGEST, algorithm), algorithm)


@pytest.mark.parametrize("key_type", SECRET)
def test_a_secret_key_from_outside_does_in_the_token_what_it_did_before(token: Any, key_type: str) -> None:
    brought, private_key = material(key_type)
    inside, before = (
        token.load_any(key_type, token.read(key_type, brought)),
        OUTSIDE.load_any(key_type, private_key),
    )
    if key_type.endswith("-gcm"):
        assert isinstance(before, CipherKey)
        assert before.decrypt(inside.encrypt(b"text", key_type, b"", b"n" * 12), key_type, b"") == b"text"
    else:
        assert isinstance(before, MacKey)
        assert inside.mac(b"message", key_type) == before.mac(b"message", key_type)


@pytest.mark.parametrize("key_type", [*SIGNING, *SECRET, "x25519"])
def test_no_key_can_be_read_out_of_the_token(token: Any, key_type: str) -> None:
    from pkcs11 import Attribute, ObjectClass, exceptions

    for handle in (token.generate(key_type), token.read(key_type, material(key_type)[0])):
        with token._token.session() as session:
            hidden = [
                each
                for each in session.get_objects({Attribute.ID: handle.reveal()[len(HANDLE_PREFIX) :]})
                if each.object_class is not ObjectClass.PUBLIC_KEY
            ]
            for each in hidden:
                assert (each[Attribute.SENSITIVE], each[Attribute.EXTRACTABLE]) == (True, False)
                secret = Attribute.PRIVATE_EXPONENT if key_type == "rsa-2048" else Attribute.VALUE
                with pytest.raises(exceptions.AttributeSensitive):
                    each[secret]
        assert len(hidden) == 1


def test_a_discarded_key_is_gone_from_the_token_for_ever(token: Any) -> None:
    from pkcs11 import Attribute

    handle, other = token.generate("p256"), token.generate("p256")
    token.discard(handle)
    token.discard(handle)
    with token._token.session() as session:
        assert not list(session.get_objects({Attribute.ID: handle.reveal()[len(HANDLE_PREFIX) :]}))
    with pytest.raises(UnavailableError, match="does not have it"):
        token.load("p256", handle)
    token.load("p256", other)


def test_a_token_that_was_taken_away_is_opened_again_and_its_keys_are_found_anew(token: Any) -> None:
    key = token.load_any("hmac-sha256", token.generate("hmac-sha256"))
    before = key.mac(b"message", "hmac-sha256")
    with token._token.session() as session:
        session.close()
    with pytest.raises(UnavailableError, match="SessionHandleInvalid"):
        key.mac(b"message", "hmac-sha256")
    assert key.mac(b"message", "hmac-sha256") == before
    key.wipe()
    with pytest.raises(InvalidInputError, match="wiped"):
        key.mac(b"message", "hmac-sha256")


def test_a_key_in_software_is_no_key_of_the_token_nor_the_other_way_round(token: Any) -> None:
    with pytest.raises(NotSupportedError, match="without the token"):
        token.load("p256", OUTSIDE.generate("p256"))
    for key_type in ("p256", "hmac-sha256"):
        with pytest.raises(NotSupportedError, match="PKCS#11 token"):
            OUTSIDE.load_any(key_type, token.generate(key_type))
    with pytest.raises(NotSupportedError, match="PKCS#11 token"):
        OUTSIDE.load_family("aes256-gcm", token.generate("aes256-gcm"), convergent=False)


def test_a_token_that_is_not_there_and_a_wrong_pin_are_told(module: Path) -> None:
    from anya_actors.adapters.pkcs11.token import open_token

    with pytest.raises(UnavailableError, match="labelled 'other'"):
        open_token(module, "other", lambda: PIN, writing=False)
    with pytest.raises(UnavailableError, match="no-such-module"):
        open_token(Path("/no-such-module.so"), LABEL, lambda: PIN, writing=False)


def test_what_no_token_does_is_refused(token: Any) -> None:
    for key_type in ("bip32", "secret", "chacha20-poly1305"):
        with pytest.raises(NotSupportedError):
            token.generate(key_type)
    with pytest.raises(NotSupportedError):
        token.read("secret", KeyMaterial("raw", b"\x01" * 32))
    with pytest.raises(InvalidInputError):
        token.read("p256", KeyMaterial("raw", b"\x00" * 32))
    with pytest.raises(NotSupportedError):
        token.write("p256", token.generate("p256"))


@pytest.mark.parametrize("key_type", ["x25519", "hmac-sha256", "aes256-gcm"])
def test_a_key_that_does_something_else_does_not_sign(token: Any, key_type: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot sign"):
        token.load(key_type, token.generate(key_type))
