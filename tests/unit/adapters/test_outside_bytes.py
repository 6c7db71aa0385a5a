"""Whatever bytes come from outside: keys are read or refused in our own words, as `fuzz/` goes on to try."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.keys.wrapping import unwrap
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.adapters.sealing.shamir_shares import join_shares, split_passphrase
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.audit import AuditRecord, Head, chain, encode_entry, verify_entries
from anya_actors.domain.hsm.errors import AuditBrokenError
from anya_actors.domain.hsm.material import KeyMaterial, MaterialForm, pack_material, unpack_material
from anya_actors.domain.hsm.parcel import unpack_parcel
from anya_actors.domain.keys.algorithms import RSA_BITS, KeyType
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.serve.transit.words import parse_sealed, sealed
from anya_actors.testing.local_hsm import OneRsaKey

KEYS: Final = OneRsaKey(SystemRandomness())
TYPES: Final = [each for each in get_args(KeyType) if each not in ("rsa-3072", "rsa-4096")]
CURVED: Final = [each for each in TYPES if each not in RSA_BITS]
RECIPIENT: Final = NaclSealedBoxes().recipient()
WRAPPING: Final = KEYS.generate("rsa-2048")
KEY: Final = Secret(bytes(range(32)))

Reader = Callable[[bytes], object]
READERS: Final[dict[str, Reader]] = {
    "material": lambda data: unpack_material(Secret(data)),
    "parcel": lambda data: unpack_parcel(Secret(data)),
    "box": RECIPIENT.open,
    "kwp": lambda data: unwrap(KEY, data),
    "oaep": lambda data: KEYS.unwrap_with(WRAPPING, data, "sha256"),
    "recipient": lambda data: KEYS.wrap_to(data, KEY, "sha256"),
    "shares": lambda data: join_shares(Path(), data.decode("latin-1").split("\n")),
    "transit": lambda data: parse_sealed(data.decode("latin-1"), "ciphertext"),
    "audit": lambda data: verify_entries(Head(), [data]),
}


def valid() -> dict[str, bytes]:
    """Bytes that each reader takes."""
    packed = pack_material(KeyMaterial("raw", bytes(32)))
    public_key = KEYS.load_any("rsa-2048", WRAPPING).public_key
    pem = KEYS.write_public_key("rsa-2048", public_key, "pem")
    entry = chain(Head(), AuditRecord("r", 1, "hsm/main", "alice", "sign"))[1]
    return {
        "material": packed.reveal(),
        "box": NaclSealedBoxes().seal(packed, RECIPIENT.public_key),
        "oaep": KEYS.wrap_to(pem, KEY, "sha256"),
        "recipient": pem,
        "shares": "\n".join(split_passphrase(Secret(b"A" * 43), 2, 2)).encode(),
        "transit": sealed(bytes(40), 3).encode(),
        "audit": encode_entry(entry),
    }


VALID: Final = valid()


@pytest.mark.parametrize("name", sorted(READERS))
@given(data=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    with contextlib.suppress(AnyaError):
        READERS[name](data)


@pytest.mark.parametrize("name", sorted(VALID))
@given(at=st.integers(0, 2000), bit=st.integers(0, 7), cut=st.integers(0, 40))
def test_valid_bytes_with_one_bit_changed_are_read_or_refused(name: str, at: int, bit: int, cut: int) -> None:
    data = bytearray(VALID[name])
    READERS[name](bytes(data))
    data[at % len(data)] ^= 1 << bit
    with contextlib.suppress(AnyaError):
        READERS[name](bytes(data[: len(data) - cut]))


@given(st.sampled_from(TYPES), st.sampled_from(get_args(MaterialForm)), st.binary(max_size=200))
def test_any_private_key_is_read_or_refused(key_type: str, form: str, data: bytes) -> None:
    with contextlib.suppress(AnyaError):
        KEYS.read(key_type, KeyMaterial(form, data))


@given(st.sampled_from(TYPES), st.binary(max_size=200))
def test_any_public_key_is_read_or_refused(key_type: str, data: bytes) -> None:
    with contextlib.suppress(AnyaError):
        KEYS.read_public_key(key_type, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
)


@given(st.sampled_from(TYPES), st.fixed_dictionaries(dict.fromkeys(("kty", "crv", "x", "y", "n", "e"), JSON)))
def test_a_jwk_of_anything_is_refused(key_type: str, jwk: object) -> None:
    with pytest.raises(InvalidInputError):
        KEYS.read_public_key(key_type, json.dumps(jwk).encode())


@given(st.sampled_from(CURVED), st.binary(min_size=32, max_size=64))
def test_a_key_that_is_read_is_written_and_read_again_as_the_same(key_type: str, data: bytes) -> None:
    with contextlib.suppress(AnyaError):
        key = KEYS.read(key_type, KeyMaterial("raw", data))
        public_key = KEYS.load_any(key_type, key).public_key
        for form in ("pem", "jwk", "sec1", "spki", "raw"):
            with contextlib.suppress(InvalidInputError):
                written = KEYS.write_public_key(key_type, public_key, form)
                assert KEYS.read_public_key(key_type, written) == public_key


def test_a_private_key_of_an_algorithm_that_nobody_knows_is_refused() -> None:
    # The fuzzer changed a byte of the algorithm's identifier: cryptography has an error of its own for that.
    known = bytes.fromhex("06092a864886f70d010101")
    altered = WRAPPING.reveal().replace(known, known[:-1] + b"\x7f")
    assert altered != WRAPPING.reveal()
    for form in ("raw", "pkcs8"):
        with pytest.raises(InvalidInputError):
            LibraryKeyAlgorithms(SystemRandomness()).read("rsa-2048", KeyMaterial(form, altered))


def test_an_rsa_key_with_another_exponent_keeps_it_as_a_jwk() -> None:
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n
    other = rsa.RSAPublicNumbers(0x0131C1, modulus).public_key()
    spki = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    written = KEYS.write_public_key("rsa-2048", spki, "jwk")
    assert json.loads(written)["e"] == "ATHB"
    assert KEYS.read_public_key("rsa-2048", written) == spki


def test_an_audit_entry_is_believed_only_as_it_was_written() -> None:
    for at in range(len(VALID["audit"])):
        altered = bytearray(VALID["audit"])
        altered[at] ^= 1
        with pytest.raises(AuditBrokenError):
            verify_entries(Head(), [bytes(altered)])
