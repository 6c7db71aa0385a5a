"""secp256k1 and Ed25519 against the published vectors."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import (
    crypto_sign_ed25519ph_final_create,
    crypto_sign_ed25519ph_state,
    crypto_sign_ed25519ph_update,
    crypto_sign_seed_keypair,
)

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.keys.secp256k1 import Secp256k1SigningKey
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.keys.algorithms import InvalidSignatureError
from anya_actors.domain.keys.curve import ORDER
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, InvalidInputError

VECTORS = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[3] / ".." / "shared" / "vectors"))
KEYS = LibraryKeyAlgorithms(SystemRandomness())
KINDS = [("secp256k1", "ecdsa-secp256k1"), ("secp256k1", "schnorr-bip340"), ("ed25519", "ed25519")]


class GivenRandomness:
    """Chance that is known beforehand."""

    def __init__(self, *draws: bytes) -> None:
        self._draws: Iterator[bytes] = iter(draws)

    def token_bytes(self, size: int) -> bytes:
        drawn = next(self._draws)
        assert len(drawn) == size
        return drawn

    def uniform(self) -> float:
        raise AssertionError("keys are not drawn with floats")


def vectors(name: str) -> Path:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"no vectors {name}; set ANYA_VECTORS")
    return path


def wycheproof(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for group in json.loads(vectors(f"wycheproof/{name}").read_text())["testGroups"]:
        for case in group["tests"]:
            yield group, case


def accepts(key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> bool:
    try:
        KEYS.verify(key_type, public_key, message, signature, algorithm)
    except (InvalidSignatureError, InvalidInputError):
        return False
    return True


COLUMNS = ("secret key", "public key", "aux_rand", "message", "signature")


# -- BIP340 ---------------------------------------------------------------------------------------


def test_every_bip340_vector_is_handled_as_it_says() -> None:
    signed = refused = 0
    for row in csv.DictReader(vectors("bitcoin/bip340_schnorr.csv").read_text().splitlines()):
        secret, public, auxiliary, message, signature = (bytes.fromhex(row[name]) for name in COLUMNS)
        valid = row["verification result"] == "TRUE"
        assert accepts("secp256k1", public, message, signature, "schnorr-bip340") is valid, row["index"]
        if not secret:
            continue
        key = Secp256k1SigningKey(Secret(secret), GivenRandomness(auxiliary))
        assert key.public_key[1:] == public
        if len(message) == 32:
            assert key.sign(message, "schnorr-bip340") == signature
            signed += 1
        else:
            # We sign 32 bytes only, as everything on Bitcoin does; these are refused by name.
            with pytest.raises(InvalidInputError, match="exactly 32 bytes"):
                key.sign(message, "schnorr-bip340")
            refused += 1
    assert signed >= 2
    assert refused <= 4


def test_bip340_vector_1_is_signed_and_verified() -> None:
    # BIP340, test-vectors.csv, index 1.
    secret = bytes.fromhex("b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef")
    message = bytes.fromhex("243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89")
    expected = bytes.fromhex(
        "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de3341"
        "8906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a"
    )
    key = Secp256k1SigningKey(Secret(secret), GivenRandomness(bytes(31) + b"\x01"))
    assert key.sign(message, "schnorr-bip340") == expected
    KEYS.verify("secp256k1", key.public_key, message, expected, "schnorr-bip340")


def test_a_tweak_that_cancels_the_key_is_refused() -> None:
    key = Secp256k1SigningKey(Secret(bytes(31) + b"\x05"), None)
    with pytest.raises(InvalidInputError, match="zero"):
        key.sign_tweaked(bytes(32), (ORDER - 5).to_bytes(32, "big"))
    key.sign_tweaked(bytes(32), (ORDER - 4).to_bytes(32, "big"))


def test_without_chance_bip340_uses_zero_auxiliary_bytes() -> None:
    # BIP340, test-vectors.csv, index 0: auxiliary randomness of 32 zero bytes.
    keys = LibraryKeyAlgorithms(SystemRandomness(), deterministic=True)
    signature = keys.load("secp256k1", Secret(bytes(31) + b"\x03")).sign(bytes(32), "schnorr-bip340")
    assert signature.hex().startswith("e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215")


# -- ECDSA ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("secret", "text", "signature"),
    [
        # The deterministic signatures that Bitcoin libraries share (RFC 6979, SHA-256, low S).
        (
            1,
            "All those moments will be lost in time, like tears in rain. Time to die...",
            "30450221008600dbd41e348fe5c9465ab92d23e3db8b98b873beecd930736488696438cb6b"
            "0220547fe64427496db33bf66019dacbf0039c04199abb0122918601db38a72cfc21",
        ),
        (
            ORDER - 1,
            "Satoshi Nakamoto",
            "3045022100fd567d121db66e382991534ada77a6bd3106f0a1098c231e47993447cd6af2d0"
            "02206b39cd0eb1bc8603e159ef5c20a5c8ad685a45b06ce9bebed3f153d10d93bed5",
        ),
    ],
)
def test_ecdsa_nonces_follow_rfc_6979(secret: int, text: str, signature: str) -> None:
    key = KEYS.load("secp256k1", Secret(secret.to_bytes(32, "big")))
    assert key.sign(hashlib.sha256(text.encode()).digest(), "ecdsa-secp256k1").hex() == signature


def test_wycheproof_ecdsa_with_low_s_is_handled_as_its_results_say() -> None:
    handled = 0
    for group, case in wycheproof("ecdsa_secp256k1_sha256_bitcoin_test.json"):
        public = bytes.fromhex(group["publicKey"]["uncompressed"])
        digest = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
        found = accepts("secp256k1", public, digest, bytes.fromhex(case["sig"]), "ecdsa-secp256k1")
        assert found is (case["result"] == "valid"), case["tcId"]
        handled += 1
    assert handled > 200


def test_wycheproof_ecdsa_accepts_nothing_invalid_and_refuses_of_the_valid_only_a_high_s() -> None:
    high = 0
    for group, case in wycheproof("ecdsa_secp256k1_sha256_test.json"):
        public = bytes.fromhex(group["publicKey"]["uncompressed"])
        signature = bytes.fromhex(case["sig"])
        digest = hashlib.sha256(bytes.fromhex(case["msg"])).digest()
        found = accepts("secp256k1", public, digest, signature, "ecdsa-secp256k1")
        if case["result"] == "valid" and not found:
            s = int.from_bytes(signature[-(signature[5 + signature[3]]) :], "big")
            assert s > ORDER // 2, case["tcId"]
            high += 1
        else:
            assert found is (case["result"] == "valid"), case["tcId"]
    assert high > 0


@given(st.integers(1, ORDER - 1), st.binary(min_size=32, max_size=32))
def test_every_ecdsa_signature_has_a_low_s_and_verifies(secret: int, digest: bytes) -> None:
    key = KEYS.load("secp256k1", Secret(secret.to_bytes(32, "big")))
    signature = key.sign(digest, "ecdsa-secp256k1")
    KEYS.verify("secp256k1", key.public_key, digest, signature, "ecdsa-secp256k1")
    r_size = signature[3]
    assert int.from_bytes(signature[6 + r_size :], "big") <= ORDER // 2


# -- Ed25519 --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "public", "message", "signature"),
    [
        # RFC 8032, section 7.1, TEST 1 and TEST 3.
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
            "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
            "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ],
)
def test_ed25519_gives_what_rfc_8032_gives(seed: str, public: str, message: str, signature: str) -> None:
    key = KEYS.load("ed25519", Secret(bytes.fromhex(seed)))
    assert key.public_key.hex() == public
    assert key.sign(bytes.fromhex(message), "ed25519").hex() == signature
    KEYS.verify("ed25519", key.public_key, bytes.fromhex(message), bytes.fromhex(signature), "ed25519")


PREHASHED = (
    # RFC 8032, section 7.3: seed, public key, signature of "abc".
    "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
)


def test_ed25519ph_gives_what_rfc_8032_gives() -> None:
    seed, public, signature = PREHASHED
    key = KEYS.load("ed25519", Secret(bytes.fromhex(seed)))
    digest = hashlib.sha512(b"abc").digest()
    assert key.public_key.hex() == public
    assert key.sign(digest, "ed25519ph").hex() == signature
    KEYS.verify("ed25519", key.public_key, digest, bytes.fromhex(signature), "ed25519ph")


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=200))
def test_ed25519ph_is_libsodiums_which_hashes_the_message_itself(seed: bytes, message: bytes) -> None:
    public, secret = crypto_sign_seed_keypair(seed)
    digest = hashlib.sha512(message).digest()
    ours = KEYS.load("ed25519", Secret(seed)).sign(digest, "ed25519ph")
    state = crypto_sign_ed25519ph_state()
    crypto_sign_ed25519ph_update(state, message)
    assert crypto_sign_ed25519ph_final_create(state, secret) == ours
    KEYS.verify("ed25519", public, digest, ours, "ed25519ph")


def test_ed25519ph_refuses_what_is_no_signature_of_the_digest() -> None:
    public, signature = (bytes.fromhex(part) for part in PREHASHED[1:])
    digest = hashlib.sha512(b"abc").digest()
    key = KEYS.load("ed25519", Secret(bytes.fromhex(PREHASHED[0])))
    S = int.from_bytes(signature[32:], "little") + 2**252 + 27742317777372353535851937790883648493
    small = [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]  # of order 4, 1 and 2
    for public_key, hashed, refused in (
        (public, hashlib.sha512(b"abd").digest(), signature),
        (public, digest, signature[:-1]),
        (public, digest, signature + b"\x00"),
        (public, digest, bytes(64)),
        (public, digest, signature[:32] + S.to_bytes(32, "little")),  # RFC 8032, 5.1.7: S is below L
        (public, digest, key.sign(digest, "ed25519")),  # the pure signature of the same bytes
        *((each, digest, each + bytes(32)) for each in small),
        (b"\x02" + bytes(31), digest, signature),  # no point of the curve
    ):
        with pytest.raises(InvalidSignatureError):
            KEYS.verify("ed25519", public_key, hashed, refused, "ed25519ph")
    with pytest.raises(InvalidSignatureError):
        KEYS.verify("ed25519", public, digest, signature, "ed25519")
    for short in (b"", b"abc", digest[:32]):
        with pytest.raises(InvalidInputError, match="exactly 64 bytes"):
            key.sign(short, "ed25519ph")
        with pytest.raises(InvalidInputError, match="exactly 64 bytes"):
            KEYS.verify("ed25519", public, short, signature, "ed25519ph")


def test_wycheproof_ed25519_is_handled_as_its_results_say() -> None:
    handled = 0
    for group, case in wycheproof("ed25519_test.json"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        message, signature = bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"])
        found = accepts("ed25519", public, message, signature, "ed25519")
        assert found is (case["result"] == "valid"), case["tcId"]
        handled += 1
    assert handled > 50


# -- all ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", ["secp256k1", "ed25519"])
@pytest.mark.parametrize("private_key", [b"", bytes(31), bytes(33)])
def test_a_private_key_of_another_size_is_refused(key_type: str, private_key: bytes) -> None:
    with pytest.raises(InvalidInputError, match="32 bytes"):
        KEYS.load(key_type, Secret(private_key))


@pytest.mark.parametrize("value", [0, ORDER, ORDER + 1, 2**256 - 1])
def test_a_secp256k1_key_out_of_range_is_refused_without_showing_it(value: int) -> None:
    data = value.to_bytes(32, "big")
    with pytest.raises(InvalidInputError) as refusal:
        KEYS.load("secp256k1", Secret(data))
    assert data.hex() not in repr(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_draw_out_of_range_is_drawn_again() -> None:
    randomness = GivenRandomness(bytes(32), ORDER.to_bytes(32, "big"), bytes(31) + b"\x07")
    assert LibraryKeyAlgorithms(randomness).generate("secp256k1").reveal() == bytes(31) + b"\x07"


@pytest.mark.parametrize("key_type", ["secp256k1", "ed25519"])
def test_a_signing_key_shows_its_public_half_alone_and_signs_nothing_once_wiped(key_type: str) -> None:
    private_key = KEYS.generate(key_type)
    key = KEYS.load(key_type, private_key)
    assert private_key.reveal().hex() not in repr(key)
    assert key.public_key.hex() in repr(key)
    key.wipe()
    with pytest.raises(InvalidInputError, match="wiped"):
        key.sign(bytes(32), "ed25519" if key_type == "ed25519" else "ecdsa-secp256k1")


def test_unknown_types_and_algorithms_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="key_type"):
        KEYS.generate("p224")
    with pytest.raises(InvalidInputError, match="key_type"):
        KEYS.verify("p224", b"", b"", b"", "ed25519")
    with pytest.raises(InvalidInputError, match="algorithm"):
        KEYS.verify("ed25519", bytes(32), b"", bytes(64), "ecdsa-secp256k1")


@given(
    st.sampled_from(KINDS),
    st.binary(max_size=70),
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=80),
)
def test_no_public_key_or_signature_from_outside_does_more_than_be_refused(
    kind: tuple[str, str], public_key: bytes, message: bytes, signature: bytes
) -> None:
    # Ed25519 keys of small order exist for which a signature of zeros holds: so it may also return.
    with contextlib.suppress(AnyaError):
        KEYS.verify(kind[0], public_key, message, signature, kind[1])
