"""Known answers at every start, and a pairwise check of every new key (as FIPS 140-3 asks for)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final

from anya_actors.domain.hsm.errors import SelfTestError
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.algorithms import (
    CIPHER_ALGORITHMS,
    DIGEST_BYTES,
    MAC_ALGORITHMS,
    NIST_CURVES,
    SIGNATURE_ALGORITHMS,
    InvalidCiphertextError,
    InvalidSignatureError,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, NotSupportedError
from anya_actors.ports.key_algorithms import (
    AgreeingKey,
    CipherKey,
    KeyAlgorithms,
    MacKey,
    PrivateKey,
    SigningKey,
)
from anya_actors.ports.sealing import Cipher, PassphraseKdf, UnopenableError

# RFC 8032, section 7.1, TEST 2.
_ED25519: Final = (
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "72",
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
)
# RFC 8032, section 7.3: over SHA-512("abc").
_ED25519PH: Final = (
    "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
    "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41"
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406",
)
# The private key 1 over SHA-256("Satoshi Nakamoto"), the deterministic signature that Bitcoin
# libraries agree on (RFC 6979 with SHA-256, low S).
_ECDSA: Final = (
    "0000000000000000000000000000000000000000000000000000000000000001",
    "a0dc65ffca799873cbea0ac274015b9526505daaaed385155425f7337704883e",
    "3045022100934b1ea10a4b3c1757e2b0c017d0b6143ce3c9a7e6a4a49860d7a6ab210ee3d8"
    "02202442ce9d2b916064108014783e923ec36b49743e2ffa1c4496f01a512aafd9e5",
)
# BIP340, test vector 0: public key and signature of the message of 32 zero bytes.
_BIP340: Final = (
    "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
    "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
    "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
)

# RFC 6979, A.2.5 to A.2.7: public key, and the signature of "sample" (r and s) over the curve's hash.
_NIST: Final = {
    "ecdsa-p256-sha256-p1363": (
        "0360fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6",
        "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
    ),
    "ecdsa-p384-sha384-p1363": (
        "02ec3a4e415b4e19a4568618029f427fa5da9a8bc4ae92e02e06aae5286b300c64def8f0ea9055866064a254515480bc13",
        "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c81a648152e44acf96e36dd1e80fabe46"
        "99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94fa329c145786e679e7b82c71a38628ac8",
    ),
    "ecdsa-p521-sha512-p1363": (
        "0301894550d0785932e00eaa23b694f213f8c3121f86dc97a04e5a7167db4e5bcd"
        "371123d46e45db6b5d5370a7f20fb633155d38ffa16d2bd761dcac474b9a2f5023a4",
        "00c328fafcbd79dd77850370c46325d987cb525569fb63c5d3bc53950e6d4c5f17"
        "4e25a1ee9017b5d450606add152b534931d7d4e8455cc91f9b15bf05ec36e377fa"
        "00617cce7cf5064806c467f678d3b4080d6f1cc50af26ca209417308281b68af28"
        "2623eaa63e5b5c0723d8b8c37ff0777b1a20f8ccb1dccc43997f1ee0e44da4a67a",
    ),
}

_TAKEN_IN: Final[Mapping[str, tuple[str, str, str]]] = {
    "ed25519": _ED25519,
    # The GCM specification, test case 14, with the nonce in front.
    "aes256-gcm": (
        "00" * 32,
        "00" * 16,
        "00" * 12 + "cea7403d4d606b6e074ec5d3baf39d18" + "d0d1c8a799996bf0265b98b5d48ab919",
    ),
    # RFC 4231, test case 6: a key of 131 bytes.
    "hmac-sha256": (
        "aa" * 131,
        "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d20"
        "48617368204b6579204669727374",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
}

# The vectors of RFC 9106 use a secret and associated data, which we do not. This one is what both
# libsodium and OpenSSL give for a passphrase of 32 bytes 01 and a salt of 16 bytes 02.
_ARGON2ID_COST: Final = KdfParameters(memory_kib=32, iterations=3, lanes=1)
_ARGON2ID: Final = bytes.fromhex("30e0b44b7e23423b7282859ea36f02825b5828dde3c25f124d59d42d7235e132")


async def run_self_tests(algorithms: KeyAlgorithms, cipher: Cipher, kdf: PassphraseKdf) -> None:
    """Raise `SelfTestError` naming the first algorithm that does not give its known answer.

    Keys in a token are tested by taking known ones in; they are discarded again.
    """
    own = algorithms.own
    _test("Ed25519", own, "ed25519", "ed25519", _ED25519)
    _test("Ed25519ph", own, "ed25519", "ed25519ph", _ED25519PH)
    _test("ECDSA on secp256k1", own, "secp256k1", "ecdsa-secp256k1", _ECDSA)
    _test_bip340(own)
    for algorithm, facts in _NIST.items():
        public_key, signature = (bytes.fromhex(part) for part in facts)
        _expect(algorithm, own, algorithm[6:10], public_key, b"sample", signature, algorithm)
    _test_cipher(cipher)
    await _test_kdf(kdf)
    if own is not algorithms:
        _test_taking_in(algorithms)


def check_pair(algorithms: KeyAlgorithms, key_type: str, private_key: Secret) -> None:
    """Raise `SelfTestError` unless a new key undoes what it does: verifies, decrypts, agrees."""
    key = algorithms.load_any(key_type, private_key)
    try:
        for table, check in (
            (SIGNATURE_ALGORITHMS, _check_signing),
            (CIPHER_ALGORITHMS, _check_encrypting),
            (MAC_ALGORITHMS, _check_mac),
        ):
            for algorithm in _one_of_each_scheme(table.get(key_type, frozenset())):
                with contextlib.suppress(NotSupportedError):  # a token does less than the libraries
                    check(algorithms, key_type, key, algorithm)
        _check_agreement(algorithms, key_type, key)
    except (InvalidSignatureError, InvalidCiphertextError):
        raise SelfTestError(f"a new {key_type} key") from None
    finally:
        key.wipe()


def _one_of_each_scheme(names: frozenset[str]) -> list[str]:
    """The pair is what is checked, not the hashes: ``rsa-pss-sha256`` for all of PSS."""
    preferred = sorted(names, key=lambda name: ("sha256" not in name, name), reverse=True)
    return sorted({"-".join(name.split("-")[:2]): name for name in preferred}.values())


_MESSAGE: Final = bytes(range(32))


def _check_signing(algorithms: KeyAlgorithms, key_type: str, key: PrivateKey, algorithm: str) -> None:
    if isinstance(key, SigningKey):
        message = _MESSAGE * (DIGEST_BYTES.get(algorithm, (32,))[-1] // 32)
        signature = key.sign(message, algorithm)
        algorithms.verify(key_type, key.public_key, message, signature, algorithm)


def _check_encrypting(_: KeyAlgorithms, key_type: str, key: PrivateKey, algorithm: str) -> None:
    # A nonce of its own: what a session counts begins with zeros, and what it draws is random.
    if isinstance(key, CipherKey) and (
        key.decrypt(key.encrypt(_MESSAGE, algorithm, b"", b"\xff" * 12), algorithm, b"") != _MESSAGE
    ):
        raise SelfTestError(f"a new {key_type} key under {algorithm}")


def _check_mac(_: KeyAlgorithms, __: str, key: PrivateKey, algorithm: str) -> None:
    if isinstance(key, MacKey):
        key.verify_mac(_MESSAGE, key.mac(_MESSAGE, algorithm), algorithm)


def _check_agreement(algorithms: KeyAlgorithms, key_type: str, key: PrivateKey) -> None:
    if key_type not in ("x25519", *NIST_CURVES) or not isinstance(key, AgreeingKey):
        return
    algorithm = "x25519" if key_type == "x25519" else f"ecdh-{key_type}"
    other = algorithms.own.load_any(key_type, algorithms.own.generate(key_type))
    if isinstance(other, AgreeingKey) and (
        key.agree(other.public_key, algorithm) != other.agree(key.public_key, algorithm)
    ):
        raise SelfTestError(f"a new {key_type} key under {algorithm}")


def _test(
    name: str, algorithms: KeyAlgorithms, key_type: str, algorithm: str, vector: tuple[str, str, str]
) -> None:
    private_key, message, signature = (bytes.fromhex(part) for part in vector)
    key = algorithms.load(key_type, Secret(private_key))
    if key.sign(message, algorithm) != signature:
        raise SelfTestError(name)
    _expect(name, algorithms, key_type, key.public_key, message, signature, algorithm)


def _test_taking_in(algorithms: KeyAlgorithms) -> None:
    for key_type, (private_key, message, answer) in _TAKEN_IN.items():
        try:
            handle = algorithms.read(key_type, KeyMaterial("raw", bytes.fromhex(private_key)))
        except NotSupportedError:
            continue  # then nobody can have such a key
        try:
            key = algorithms.load_any(key_type, handle)
            if _answer(key, key_type, bytes.fromhex(message)) != bytes.fromhex(answer):
                raise SelfTestError(f"{key_type} in the token")
        finally:
            algorithms.discard(handle)


def _answer(key: PrivateKey, key_type: str, message: bytes) -> bytes:
    if key_type in CIPHER_ALGORITHMS and isinstance(key, CipherKey):
        return key.encrypt(message, key_type, b"", bytes(12))
    if key_type in MAC_ALGORITHMS and isinstance(key, MacKey):
        return key.mac(message, key_type)
    if isinstance(key, SigningKey):
        return key.sign(message, key_type)
    raise SelfTestError(key_type)


def _test_bip340(algorithms: KeyAlgorithms) -> None:
    public_key, signature = (bytes.fromhex(part) for part in _BIP340)
    _expect("BIP340", algorithms, "secp256k1", public_key, bytes(32), signature, "schnorr-bip340")
    # Its signatures hold chance, so signing is tested by verifying what was signed.
    key = algorithms.load("secp256k1", Secret(bytes.fromhex(_ECDSA[0])))
    message = bytes(range(32))
    signed = key.sign(message, "schnorr-bip340")
    _expect("BIP340", algorithms, "secp256k1", key.public_key, message, signed, "schnorr-bip340")


def _expect(
    name: str,
    algorithms: KeyAlgorithms,
    key_type: str,
    public_key: bytes,
    message: bytes,
    signature: bytes,
    algorithm: str,
) -> None:
    try:
        algorithms.verify(key_type, public_key, message, signature, algorithm)
    except AnyaError:
        raise SelfTestError(name) from None
    altered = bytes([message[0] ^ 1]) + message[1:]
    try:
        algorithms.verify(key_type, public_key, altered, signature, algorithm)
    except InvalidSignatureError:
        return
    raise SelfTestError(name)


def _test_cipher(cipher: Cipher) -> None:
    # The GCM specification, test case 13 with the nonce in front: the tag of nothing under zeros.
    sealed = bytes(12) + bytes.fromhex("530f8afbc74536b9a963b4f1c4cb738b")
    with Secret(bytes(32)) as key:
        try:
            if len(cipher.open(key, sealed, b"")):
                raise SelfTestError("AES-256-GCM")
            cipher.open(key, cipher.seal(key, b"known", b"context"), b"context").wipe()
        except UnopenableError:
            raise SelfTestError("AES-256-GCM") from None
        try:
            cipher.open(key, sealed, b"another context")
        except UnopenableError:
            return
    raise SelfTestError("AES-256-GCM")


async def _test_kdf(kdf: PassphraseKdf) -> None:
    with Secret(b"\x01" * 32) as passphrase:
        derived = await kdf.derive(passphrase, b"\x02" * 16, _ARGON2ID_COST)
    with derived:
        if derived.reveal() != _ARGON2ID:
            raise SelfTestError("Argon2id")
