"""The arithmetic of keys: drawing, signing, verifying."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.musig2 import Session
from anya_actors.domain.keys.musig2_signing import SecretNonce
from anya_actors.domain.keys.operations import KeyPath, SignRequest
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError


class SigningKey(Protocol):
    """A private key ready for use. Its repr shows nothing."""

    @property
    def public_key(self) -> bytes:
        """As `KeyAlgorithms.public_key`."""

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """Sign a message (Ed25519) or a 32-byte digest (ECDSA, BIP340).

        Returns DER with low S (ECDSA, nonce by RFC 6979) or 64 bytes. Raises `InvalidInputError`.
        """

    def wipe(self) -> None:
        """Forget the private half, as far as the library behind allows; signing ends."""


class BitcoinKey(SigningKey, Protocol):
    """A private key of secp256k1."""

    def sign_taproot(self, message: bytes, merkle_root: bytes) -> bytes:
        """BIP340 with the key tweaked for a taproot output; an empty root is BIP86's."""

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


def sign_by(key: BitcoinKey, request: SignRequest) -> bytes:
    """Sign as the request says, the tweak for taproot included."""
    if request.taproot_merkle_root is None:
        return key.sign(request.message, request.algorithm)
    if request.algorithm != "schnorr-bip340":
        raise InvalidInputError("taproot_merkle_root", "only BIP340 signatures are tweaked")
    return key.sign_taproot(request.message, request.taproot_merkle_root)


class KeyAlgorithms(Protocol):
    """Every key type of the platform."""

    def generate(self, key_type: str) -> Secret:
        """A new private key, uniform over the valid ones: 32 bytes, or a BIP32 node of 73."""

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        """A private key from outside, as `generate` would give it. Raises `InvalidInputError`."""

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        """Make a private key ready for signing. Raises `InvalidInputError` if it is out of range."""

    def verify(
        self, key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str
    ) -> None:
        """Return if ``signature`` holds; raise `InvalidSignatureError` or `InvalidInputError`."""
