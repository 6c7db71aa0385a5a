"""AES-KWP and RSA-OAEP around keys: published vectors, and nothing but a refusal for what is altered."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa as openssl
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.keys.wrapping import unwrap, unwrap_with, wrap, wrap_to
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.keys.algorithms import InvalidCiphertextError
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

VECTORS = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[3] / ".." / "shared" / "vectors"))
RSA = openssl.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_every_wycheproof_case_of_aes_kwp_is_handled_as_its_result_says() -> None:
    path = VECTORS / "wycheproof" / "aes_kwp_test.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    handled: Counter[str] = Counter()
    for group in json.loads(path.read_text())["testGroups"]:
        for case in group["tests"]:
            key, text, wrapped = (bytes.fromhex(case[name]) for name in ("key", "msg", "ct"))
            if group["keySize"] != 256:
                with pytest.raises(InvalidInputError, match="32 bytes"):
                    unwrap(Secret(key), wrapped)
                handled["not served: a key that is not 256 bits"] += 1
                continue
            try:
                outcome = "valid" if unwrap(Secret(key), wrapped).reveal() == text else "invalid"
            except InvalidCiphertextError:
                outcome = "invalid"
            assert outcome == case["result"], case
            if outcome == "valid":
                assert wrap(Secret(key), Secret(text)) == wrapped
            handled[outcome] += 1
    assert handled["valid"] > 5
    assert handled["invalid"] > 5


def test_a_vector_of_rfc_5649_in_the_shape_of_256_bits_goes_there_and_back() -> None:
    key = Secret(bytes(range(32)))
    assert unwrap(key, wrap(key, Secret(b"seven b"))).reveal() == b"seven b"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha384", "sha512"])
def test_what_is_wrapped_to_a_key_opens_with_it(digest: str) -> None:
    blob = wrap_to(PUBLIC, Secret(b"a private key"), SystemRandomness(), digest)
    assert unwrap_with(Secret(PRIVATE), blob, digest).reveal() == b"a private key"
    with pytest.raises(InvalidCiphertextError):
        unwrap_with(Secret(PRIVATE), blob, "sha512" if digest == "sha256" else "sha256")


@given(st.binary(max_size=400))
def test_no_blob_does_more_than_be_refused(blob: bytes) -> None:
    with pytest.raises(InvalidCiphertextError):
        unwrap_with(Secret(PRIVATE), blob, "sha256")


@pytest.mark.parametrize("recipient", [b"", b"-----BEGIN PUBLIC KEY-----\n", b"x" * 300])
def test_what_is_no_rsa_key_gets_nothing(recipient: bytes) -> None:
    with pytest.raises(InvalidInputError):
        wrap_to(recipient, Secret(b"secret"), SystemRandomness())
