"""The arithmetic of keys: drawing, signing, verifying."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.musig2 import Session
from anya_actors.domain.keys.musig2_signing import SecretNonce
from anya_actors.domain.keys.operations import KeyPath, SignRequest, StretchRequest
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError


class PrivateKey(Protocol):
    """A private or secret key ready for use. Its repr shows nothing."""

    @property
    def public_key(self) -> bytes:
        """SEC1 compressed, 32 raw bytes, SubjectPublicKeyInfo (RSA), or nothing (secret keys)."""

    def wipe(self) -> None:
        """Forget the private half, as far as the library behind allows; its use ends."""


@runtime_checkable
class SigningKey(PrivateKey, Protocol):
    """A private key that signs."""

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """Sign a message, or a 32-byte digest (ECDSA and BIP340 on secp256k1).

        Returns DER with low S (ECDSA, nonce by RFC 6979) or what the algorithm says. Raises
        `InvalidInputError`.
        """


@runtime_checkable
class CipherKey(PrivateKey, Protocol):
    """A key that encrypts and decrypts."""

    def encrypt(self, plaintext: bytes, algorithm: str, associated_data: bytes, nonce: bytes) -> bytes:
        """Encrypt; AEADs put the nonce of 12 bytes in front, RSA uses none."""

    def decrypt(self, ciphertext: bytes, algorithm: str, associated_data: bytes) -> bytes:
        """The plaintext. Raises `InvalidCiphertextError`."""


@runtime_checkable
class MacKey(PrivateKey, Protocol):
    """A key that authenticates messages."""

    def mac(self, message: bytes, algorithm: str) -> bytes:
        """The whole code."""

    def verify_mac(self, message: bytes, mac: bytes, algorithm: str) -> None:
        """Return if the code holds; raise `InvalidSignatureError`."""


@runtime_checkable
class AgreeingKey(PrivateKey, Protocol):
    """A key that agrees on a secret with another."""

    def agree(self, public_key: bytes, algorithm: str) -> bytes:
        """The shared secret; ``public_key`` is in our own form. Raises `InvalidInputError`."""


@runtime_checkable
class StretchingKey(PrivateKey, Protocol):
    """A secret that bytes are derived from."""

    def stretch(self, request: StretchRequest) -> bytes:
        """What the request wants. Raises `InvalidInputError`."""


class BitcoinKey(SigningKey, AgreeingKey, Protocol):
    """A private key of secp256k1."""

    def sign_taproot(self, message: bytes, merkle_root: bytes) -> bytes:
        """BIP340 with the key tweaked for a taproot output; an empty root is BIP86's."""

    def sign_tweaked(self, message: bytes, tweak: bytes) -> bytes:
        """BIP340 with the key plus a scalar (32 bytes, below the group order; the sum is not zero)."""

    def shared_point(self, public_key: bytes) -> bytes:
        """The public key times this private key, SEC1 compressed (33 bytes)."""

    def musig2_nonce(
        self, randomness: bytes, *, aggregate_key: bytes, message: bytes | None, extra_input: bytes
    ) -> SecretNonce:
        """A nonce for one MuSig2 signature, of 32 bytes of randomness that are never used again."""

    def musig2_partial_sign(self, nonce: SecretNonce, session: Session) -> bytes:
        """This key's part of a MuSig2 signature; the nonce is used up."""


@runtime_checkable
class KeyTree(Protocol):
    """A private key of secp256k1 that may have others below it."""

    def at(self, path: KeyPath) -> AbstractContextManager[BitcoinKey]:
        """The key at a BIP32 path, wiped at the end of the block unless it is the tree's own."""


@runtime_checkable
class Bip32Tree(KeyTree, Protocol):
    """A BIP32 private key."""

    def extended_public_key(self, path: KeyPath, *, testnet: bool) -> str:
        """The key at a path as ``xpub…`` or ``tpub…``."""


@runtime_checkable
class KeyFamily(PrivateKey, Protocol):
    """A key that acts through others alone, each derived from it for one context."""

    def under(self, context: bytes) -> AbstractContextManager[PrivateKey]:
        """The key of a context, wiped at the end of the block. Raises `InvalidInputError`."""


def sign_by(key: BitcoinKey, request: SignRequest) -> bytes:
    """Sign as the request says, with the tweak that it asks for."""
    root, tweak = request.taproot_merkle_root, request.tweak
    if root is None and tweak is None:
        return key.sign(request.message, request.algorithm)
    name = "tweak" if root is None else "taproot_merkle_root"
    if request.algorithm != "schnorr-bip340":
        raise InvalidInputError(name, "only BIP340 signatures are tweaked")
    if root is None:
        return key.sign_tweaked(request.message, tweak or b"")
    if tweak is not None:
        raise InvalidInputError(name, "a key is tweaked for taproot or by a scalar, not both")
    return key.sign_taproot(request.message, root)


class KeyAlgorithms(Protocol):
    """Every key type of the platform.

    Keys are kept in software, or in a token; then what stands for a private key is a handle to it.
    """

    @property
    def own(self) -> KeyAlgorithms:
        """For the HSM's own keys, which are in software wherever those of users are."""

    def check_kept(self, private_key: Secret) -> None:
        """Return if such keys are kept here; raise `NotSupportedError` for one that is kept elsewhere."""

    def discard(self, private_key: Secret) -> None:
        """Destroy a key wherever it is kept; one that is gone stays so. Raises `UnavailableError`."""

    def generate(self, key_type: str) -> Secret:
        """A new private key, uniform over the valid ones: 32 bytes, a BIP32 node of 73, PKCS#8 (RSA)."""

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        """A private key from outside, as `generate` would give it. Raises `InvalidInputError`."""

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        """Make a private key ready for signing. Raises `InvalidInputError` if it is out of range."""

    def load_any(self, key_type: str, private_key: Secret) -> PrivateKey:
        """Make a private or secret key of any type ready for use. Raises `InvalidInputError`."""

    def load_family(self, key_type: str, private_key: Secret, *, convergent: bool) -> KeyFamily:
        """Make a private key ready that acts through derived ones.

        Those of a ``convergent`` one choose their nonces by what they encrypt.
        """

    def verify(
        self, key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str
    ) -> None:
        """Return if ``signature`` holds; raise `InvalidSignatureError` or `InvalidInputError`."""

    def read_public_key(self, key_type: str, data: bytes) -> bytes:
        """A public key from SubjectPublicKeyInfo (DER, PEM), JWK, SEC1 or raw bytes, in our own form.

        Raises `InvalidInputError`.
        """

    def write_public_key(self, key_type: str, public_key: bytes, form: str) -> bytes:
        """A public key of our own form as ``pem``, ``jwk``, ``sec1``, ``spki`` or ``raw``."""

    def wrap_to(self, recipient_pem: bytes, private_key: Secret, digest: str) -> bytes:
        """A private key for the holder of an RSA key: RSA-OAEP and AES-KWP. Raises `InvalidInputError`."""

    def unwrap_with(self, wrapping_key: Secret, blob: bytes, digest: str) -> Secret:
        """What was wrapped to our RSA key (PKCS#8). Raises `InvalidCiphertextError`."""

    def write(self, key_type: str, private_key: Secret) -> Secret:
        """A private key as others read it: PKCS#8 DER, or the raw bytes of a secret key or BIP32 node."""
