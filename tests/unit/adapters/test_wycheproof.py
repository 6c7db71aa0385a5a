"""Project Wycheproof through the HSM's own key objects; what is not served is refused by name and counted."""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import InvalidCiphertextError, InvalidSignatureError
from anya_actors.domain.keys.operations import StretchRequest
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.key_algorithms import AgreeingKey, CipherKey, MacKey, PrivateKey, StretchingKey

VECTORS = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[3] / ".." / "shared" / "vectors"))
KEYS = LibraryKeyAlgorithms(SystemRandomness())
Case = dict[str, Any]
Handle = Callable[[Case, Case], None]

SHA2: Final = ("sha256", "sha384", "sha512")
REFUSED: Final = (InvalidSignatureError, InvalidCiphertextError, InvalidInputError)


def unserved(why: str) -> NotSupportedError:
    return NotSupportedError("this case", why)


@lru_cache(maxsize=8)
def load(key_type: str, data: bytes, form: str = "raw") -> PrivateKey:
    return KEYS.load_any(key_type, KEYS.read(key_type, KeyMaterial(form, data)))


def b(case: Case, name: str) -> bytes:
    return bytes.fromhex(case[name])


def sha(group: Case) -> str:
    return str(group["sha"]).replace("-", "").lower()


# -- one function for each kind of file ------------------------------------------------------------


def verifies(key_type: str, algorithm: str, public: str = "publicKeyDer") -> Handle:
    def handle(group: Case, case: Case) -> None:
        message, signature = b(case, "msg"), b(case, "sig")
        key = KEYS.read_public_key(key_type, b(group, public))
        KEYS.verify(key_type, key, message, signature, algorithm)

    return handle


def verifies_bitcoin(group: Case, case: Case) -> None:
    import hashlib

    key = KEYS.read_public_key("secp256k1", b(group, "publicKeyDer"))
    digest = hashlib.sha256(b(case, "msg")).digest()
    KEYS.verify("secp256k1", key, digest, b(case, "sig"), "ecdsa-secp256k1")


def verifies_pss(group: Case, case: Case) -> None:
    if group["sha"] != group["mgfSha"] or sha(group) not in ("sha1", "sha224", *SHA2):
        raise unserved("PSS with another hash")
    bits = f"rsa-{group['keySize']}"
    key = KEYS.read_public_key(bits, group["publicKeyPem"].encode())
    signed = b(case, "msg"), b(case, "sig")
    KEYS.verify(bits, key, *signed, f"rsa-pss-{sha(group)}-salt{group['sLen']}")
    KEYS.verify(bits, key, *signed, f"rsa-pss-{sha(group)}-auto")


def signs_pkcs1(group: Case, case: Case) -> None:
    if sha(group) not in ("sha224", *SHA2):
        raise unserved("a weak or rare hash")
    if group["keySize"] != 2048:
        raise unserved("another size")
    key = load("rsa-2048", b(group, "privateKeyPkcs8"), "pkcs8")
    signature = key.sign(b(case, "msg"), f"rsa-pkcs1-{sha(group)}")  # type: ignore[attr-defined]
    assert signature == b(case, "sig")


def decrypts_oaep(group: Case, case: Case) -> None:
    if group["sha"] != group["mgfSha"] or sha(group) not in SHA2:
        raise unserved("OAEP with SHA-1")
    key = load(f"rsa-{group['keySize']}", b(group, "privateKeyPkcs8"), "pkcs8")
    assert isinstance(key, CipherKey)
    assert key.decrypt(b(case, "ct"), f"rsa-oaep-{sha(group)}", b(case, "label")) == b(case, "msg")


def opens(*key_types: str) -> Handle:
    """By the key type of the case's size: the last one has 256 bits, the one before it 128."""

    def handle(group: Case, case: Case) -> None:
        key_type = dict(zip((256, 128), reversed(key_types), strict=False)).get(group["keySize"])
        if key_type is None or (group["ivSize"], group["tagSize"]) != (96, 128):
            raise unserved("a key of 192 bits, or a nonce that is not 96")
        key, nonce, associated = load(key_type, b(case, "key")), b(case, "iv"), b(case, "aad")
        assert isinstance(key, CipherKey)
        sealed = nonce + b(case, "ct") + b(case, "tag")
        assert key.decrypt(sealed, key_type, associated) == b(case, "msg")
        assert key.encrypt(b(case, "msg"), key_type, associated, nonce) == sealed

    return handle


def authenticates(key_type: str) -> Handle:
    def handle(group: Case, case: Case) -> None:
        if group["tagSize"] != int(key_type[-3:]):
            raise unserved("a truncated code")
        key = load(key_type, b(case, "key"))
        assert isinstance(key, MacKey)
        key.verify_mac(b(case, "msg"), b(case, "tag"), key_type)

    return handle


def authenticates_cmac(group: Case, case: Case) -> None:
    if group["keySize"] not in (128, 256) or group["tagSize"] != 128:
        raise unserved("a key of 192 bits, or a truncated code")
    key_type = f"aes{group['keySize']}-cmac"
    key = load(key_type, b(case, "key"))
    assert isinstance(key, MacKey)
    key.verify_mac(b(case, "msg"), b(case, "tag"), key_type)


def derives_hkdf(algorithm: str) -> Handle:
    def handle(group: Case, case: Case) -> None:
        key = load("secret", b(case, "ikm"))
        assert isinstance(key, StretchingKey)
        request = StretchRequest("k", algorithm, case["size"], b(case, "salt"), b(case, "info"))
        assert key.stretch(request) == b(case, "okm")

    return handle


def derives_pbkdf2(algorithm: str) -> Handle:
    def handle(_: Case, case: Case) -> None:
        if not case["password"]:
            raise unserved("an empty password")
        key = load("secret", b(case, "password"))
        assert isinstance(key, StretchingKey)
        request = StretchRequest(
            "k", algorithm, case["dkLen"], b(case, "salt"), iterations=case["iterationCount"]
        )
        assert key.stretch(request) == b(case, "dk")

    return handle


def agrees_ecdh(key_type: str, size: int) -> Handle:
    def handle(_: Case, case: Case) -> None:
        key = load(key_type, int(case["private"], 16).to_bytes(size, "big"))
        assert isinstance(key, AgreeingKey)
        public = KEYS.read_public_key(key_type, b(case, "public"))
        assert key.agree(public, f"ecdh-{key_type}") == b(case, "shared")

    return handle


def agrees_jwk(key_type: str, algorithm: str) -> Handle:
    def handle(_: Case, case: Case) -> None:
        if not isinstance(case["private"].get("d"), str):
            raise InvalidInputError("private", "it has no d")
        text = case["private"]["d"]
        key = load(key_type, base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        assert isinstance(key, AgreeingKey)
        public = KEYS.read_public_key(key_type, json.dumps(case["public"]).encode())
        assert key.agree(public, algorithm) == b(case, "shared")

    return handle


def agrees_x25519(_: Case, case: Case) -> None:
    key = load("x25519", b(case, "private"))
    assert isinstance(key, AgreeingKey)
    assert key.agree(KEYS.read_public_key("x25519", b(case, "public")), "x25519") == b(case, "shared")


FILES: Final[dict[str, Handle]] = {
    "ed25519": verifies("ed25519", "ed25519"),
    "rsa_signature_2048_sha256": verifies("rsa-2048", "rsa-pkcs1-sha256"),
    "rsa_signature_2048_sha512": verifies("rsa-2048", "rsa-pkcs1-sha512"),
    "rsa_pkcs1_2048_sig_gen": signs_pkcs1,
    "rsa_pss_2048_sha256_mgf1_0": verifies_pss,
    "rsa_pss_2048_sha256_mgf1_32": verifies_pss,
    "rsa_pss_2048_sha256_mgf1sha1_20": verifies_pss,
    "rsa_pss_misc": verifies_pss,
    "rsa_oaep_2048_sha256_mgf1sha256": decrypts_oaep,
    "rsa_oaep_2048_sha256_mgf1sha1": decrypts_oaep,
    "rsa_oaep_2048_sha1_mgf1sha1": decrypts_oaep,
    "rsa_oaep_2048_sha384_mgf1sha384": decrypts_oaep,
    "rsa_oaep_2048_sha512_mgf1sha512": decrypts_oaep,
    "aes_cmac": authenticates_cmac,
    "aes_gcm": opens("aes128-gcm", "aes256-gcm"),
    "chacha20_poly1305": opens("chacha20-poly1305"),
    "hmac_sha256": authenticates("hmac-sha256"),
    "hmac_sha384": authenticates("hmac-sha384"),
    "hmac_sha512": authenticates("hmac-sha512"),
    "hkdf_sha256": derives_hkdf("hkdf-sha256"),
    "hkdf_sha384": derives_hkdf("hkdf-sha384"),
    "hkdf_sha512": derives_hkdf("hkdf-sha512"),
    "pbkdf2_hmacsha256": derives_pbkdf2("pbkdf2-sha256"),
    "pbkdf2_hmacsha512": derives_pbkdf2("pbkdf2-sha512"),
    "ecdsa_secp256k1_sha256_bitcoin": verifies_bitcoin,
    "ecdsa_secp256k1_sha256": verifies("secp256k1", "ecdsa-secp256k1-sha256"),
    "ecdsa_secp256k1_sha256_p1363": verifies("secp256k1", "ecdsa-secp256k1-sha256-p1363"),
    "ecdh_secp256k1": agrees_ecdh("secp256k1", 32),
    "ecdh_secp256k1_webcrypto": agrees_jwk("secp256k1", "ecdh-secp256k1"),
    "ecdsa_secp256r1_sha256": verifies("p256", "ecdsa-p256-sha256"),
    "ecdsa_secp256r1_sha256_p1363": verifies("p256", "ecdsa-p256-sha256-p1363"),
    "ecdsa_secp384r1_sha256": verifies("p384", "ecdsa-p384-sha256"),
    "ecdsa_secp384r1_sha384": verifies("p384", "ecdsa-p384-sha384"),
    "ecdsa_secp384r1_sha384_p1363": verifies("p384", "ecdsa-p384-sha384-p1363"),
    "ecdsa_secp384r1_sha512": verifies("p384", "ecdsa-p384-sha512"),
    "ecdsa_secp384r1_sha512_p1363": verifies("p384", "ecdsa-p384-sha512-p1363"),
    "ecdsa_secp384r1_sha3_384": verifies("p384", "ecdsa-p384-sha3-384"),
    "ecdsa_secp384r1_sha3_512": verifies("p384", "ecdsa-p384-sha3-512"),
    "ecdsa_secp521r1_sha512": verifies("p521", "ecdsa-p521-sha512"),
    "ecdsa_secp521r1_sha512_p1363": verifies("p521", "ecdsa-p521-sha512-p1363"),
    "ecdsa_secp521r1_sha3_512": verifies("p521", "ecdsa-p521-sha3-512"),
    "ecdh_secp384r1": agrees_ecdh("p384", 48),
    "ecdh_secp384r1_webcrypto": agrees_jwk("p384", "ecdh-p384"),
    "ecdh_secp521r1": agrees_ecdh("p521", 66),
    "ecdh_secp521r1_webcrypto": agrees_jwk("p521", "ecdh-p521"),
    "x25519": agrees_x25519,
    "x25519_jwk": agrees_jwk("x25519", "x25519"),
}
# Algorithms that the HSM does not have: no key type serves them, so nothing can be asked.
UNSERVED: Final = {
    "rsa_pkcs1_2048": "RSAES-PKCS1-v1_5 decryption is an oracle by its nature",
    "aes_gcm_siv": "no key type",
    "aes_siv_cmac": "no key type",
    "aead_aes_siv_cmac": "no key type",
    "aes_wrap": "keys are wrapped with AES-KWP",
    "aes_gmac": "no key type",
    "xchacha20_poly1305": "no key type",
    "a256cbc_hs512": "no key type",
    "pbkdf2_hmacsha1": "SHA-1",
    "pbes2_hmacsha256_aes_256": "no encrypted files",
    "json_web_signature": "tokens have their own tests",
    "json_web_encryption": "no JOSE encryption",
    "json_web_key": "no JOSE key sets from outside",
    "json_web_crypto": "no JOSE encryption",
    "rsa_pss_2048_sha256_mgf1_0_params": "RSASSA-PSS keys with parameters",
    "rsa_pss_2048_sha256_mgf1_32_params": "RSASSA-PSS keys with parameters",
}
ELSEWHERE: Final = {"aes_kwp": "test_wrapping.py"}


def cases(name: str) -> Iterator[tuple[Case, Case]]:
    path = VECTORS / "wycheproof" / f"{name}_test.json"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    for group in json.loads(path.read_text())["testGroups"]:
        for case in group["tests"]:
            yield group, case


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_case_is_handled_as_its_result_says(name: str) -> None:
    handled: Counter[str] = Counter()
    for group, case in cases(name):
        try:
            FILES[name](group, case)
            outcome = "accepted"
        except NotSupportedError as error:
            handled[f"not served: {error.args[1]}"] += 1
            continue
        except REFUSED as refusal:
            outcome = "refused"
            if case["result"] == "valid" and unserved_size(refusal):
                handled[f"not served: {refusal.args[1]}"] += 1
                continue
        if case["result"] != "acceptable":
            assert outcome == ("accepted" if case["result"] == "valid" else "refused"), (case["tcId"], case)
        handled[f"{case['result']}: {outcome}"] += 1
    print(name, dict(handled))  # noqa: T201 - the count of what is not served, for whoever reads the run
    assert handled


def unserved_size(refusal: Exception) -> bool:
    """A size that the HSM refuses by name, whatever the case says of it."""
    return isinstance(refusal, InvalidInputError) and any(
        text in str(refusal) for text in ("16 to 512 bytes", "1 to 1024 bytes")
    )


def test_every_file_is_served_or_refused_by_name() -> None:
    folder = VECTORS / "wycheproof"
    if not folder.exists():
        pytest.skip(f"{folder} is absent")
    names = {path.name.removesuffix("_test.json") for path in folder.glob("*_test.json")}
    assert names - set(FILES) - set(UNSERVED) - set(ELSEWHERE) == set()
