"""P-256, P-384 and P-521 against the RFCs, and in every form that others write keys in."""

from __future__ import annotations

import hashlib
import json

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.keys.nist import CURVES
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import NIST_CURVES, InvalidSignatureError
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.key_algorithms import AgreeingKey

KEYS = LibraryKeyAlgorithms(SystemRandomness())

# RFC 6979, A.2.5, A.2.6 and A.2.7: private key, public x, and r and s of "sample" under a hash.
SIGNED = [
    (
        "p256",
        "sha256",
        "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
        "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6",
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
    ),
    (
        "p384",
        "sha384",
        "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
        "EC3A4E415B4E19A4568618029F427FA5DA9A8BC4AE92E02E06AAE5286B300C64DEF8F0EA9055866064A254515480BC13",
        "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
        "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
    ),
    (
        "p521",
        "sha512",
        "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75"
        "CAA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538",
        "01894550D0785932E00EAA23B694F213F8C3121F86DC97A04E5A7167DB4E5BCD"
        "371123D46E45DB6B5D5370A7F20FB633155D38FFA16D2BD761DCAC474B9A2F5023A4",
        "00C328FAFCBD79DD77850370C46325D987CB525569FB63C5D3BC53950E6D4C5F"
        "174E25A1EE9017B5D450606ADD152B534931D7D4E8455CC91F9B15BF05EC36E377FA",
        "00617CCE7CF5064806C467F678D3B4080D6F1CC50AF26CA209417308281B68AF"
        "282623EAA63E5B5C0723D8B8C37FF0777B1A20F8CCB1DCCC43997F1EE0E44DA4A67A",
    ),
]
# RFC 5903, 8.2 and 8.3: both private keys and the x of the shared point.
SHARED = [
    (
        "p384",
        "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
        "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
        "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
    ),
    (
        "p521",
        "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A0"
        "95AA85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D4A52",
        "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E"
        "9C677D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9",
        "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04"
        "D1427E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA",
    ),
]


class Draws(SystemRandomness):
    """Chance that is known beforehand."""

    def __init__(self, *draws: bytes) -> None:
        self._draws = iter(draws)

    def token_bytes(self, size: int) -> bytes:
        drawn = next(self._draws)
        assert len(drawn) == size
        return drawn


@pytest.mark.parametrize(("key_type", "hashed", "private", "x", "r", "s"), SIGNED)
def test_the_signatures_of_rfc_6979_verify(
    key_type: str, hashed: str, private: str, x: str, r: str, s: str
) -> None:
    key = KEYS.load(key_type, Secret(bytes.fromhex(private)))
    assert key.public_key[1:].hex().upper() == x
    digest = hashlib.new(hashed, b"sample").digest()
    for message, algorithm in ((b"sample", f"-{hashed}"), (digest, "")):
        name = f"ecdsa-{key_type}{algorithm}-p1363"
        KEYS.verify(key_type, key.public_key, message, bytes.fromhex(r + s), name)
        with pytest.raises(InvalidSignatureError):
            KEYS.verify(key_type, key.public_key, message, bytes.fromhex(s + r), name)


@pytest.mark.parametrize(("key_type", "ours", "theirs", "shared"), SHARED)
def test_the_secrets_of_rfc_5903_are_agreed(key_type: str, ours: str, theirs: str, shared: str) -> None:
    keys = [KEYS.load_any(key_type, Secret(bytes.fromhex(private))) for private in (ours, theirs)]
    for one, other in (keys, reversed(keys)):
        assert isinstance(one, AgreeingKey)
        assert one.agree(other.public_key, f"ecdh-{key_type}").hex().upper() == shared


@pytest.mark.parametrize("key_type", sorted(NIST_CURVES))
@pytest.mark.parametrize("form", ["pem", "spki", "jwk", "sec1", "raw"])
def test_a_public_key_is_read_back_from_every_form(key_type: str, form: str) -> None:
    key = KEYS.load_any(key_type, KEYS.generate(key_type))
    written = KEYS.write_public_key(key_type, key.public_key, form)
    assert KEYS.read_public_key(key_type, written) == key.public_key
    for other in sorted(set(NIST_CURVES) - {key_type}):
        with pytest.raises(InvalidInputError):
            KEYS.read_public_key(other, written)


def test_the_coordinates_of_a_jwk_are_as_long_as_the_field() -> None:
    while True:  # of P-521, whose first byte is 0 or 1, one key in two
        key = KEYS.load_any("p521", KEYS.generate("p521"))
        if key.public_key[1] == 0:
            break
    jwk = json.loads(KEYS.write_public_key("p521", key.public_key, "jwk"))
    assert (jwk["crv"], len(jwk["x"]), len(jwk["y"])) == ("P-521", 88, 88)
    short = json.dumps({**jwk, "x": jwk["x"][2:]}).encode()
    with pytest.raises(InvalidInputError):
        KEYS.read_public_key("p521", short)


@pytest.mark.parametrize("key_type", sorted(NIST_CURVES))
def test_a_private_key_is_read_back_from_pkcs8(key_type: str) -> None:
    private = KEYS.generate(key_type)
    written = KEYS.write(key_type, private)
    assert KEYS.read(key_type, KeyMaterial("pkcs8", written.reveal())).reveal() == private.reveal()


@pytest.mark.parametrize("key_type", sorted(NIST_CURVES))
def test_private_keys_out_of_range_are_refused_and_not_drawn(key_type: str) -> None:
    size, order = NIST_CURVES[key_type], CURVES[key_type].order
    for value in (0, order):
        with pytest.raises(InvalidInputError, match="order"):
            KEYS.load(key_type, Secret(value.to_bytes(size, "big")))
    with pytest.raises(InvalidInputError, match="bytes"):
        KEYS.load(key_type, Secret(bytes(size - 1)))
    too_large = bytearray(order.to_bytes(size, "big"))
    too_large[0] = {1: 0x80}.get(too_large[0], too_large[0])  # of P-521's first byte, one bit counts
    draws = Draws(bytes(size), bytes(too_large), (7).to_bytes(size, "big"))
    assert LibraryKeyAlgorithms(draws).generate(key_type).reveal() == (7).to_bytes(size, "big")


@pytest.mark.parametrize("key_type", sorted(NIST_CURVES))
def test_signing_over_sha1_is_refused_and_verifying_is_not(key_type: str) -> None:
    key = KEYS.load(key_type, KEYS.generate(key_type))
    with pytest.raises(InvalidInputError):
        key.sign(b"text", f"ecdsa-{key_type}-sha1")
    with pytest.raises(InvalidSignatureError):
        KEYS.verify(key_type, key.public_key, b"text", bytes(70), f"ecdsa-{key_type}-sha1")
