"""The key algorithms of the platform, each by the library that does it best."""

from __future__ import annotations

from anya_actors.adapters.keys import bip32, ed25519, secp256k1, written
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import check_key_type
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.key_algorithms import SigningKey
from anya_actors.ports.randomness import Randomness


class LibraryKeyAlgorithms:
    """secp256k1 and BIP32 by libsecp256k1, Ed25519 by OpenSSL.

    Keys are drawn from ``randomness``. BIP340 signatures use it for their auxiliary data unless
    ``deterministic``, which is for tests and for signers that must repeat themselves.
    """

    def __init__(self, randomness: Randomness, *, deterministic: bool = False) -> None:
        self._randomness = randomness
        self._auxiliary = None if deterministic else randomness

    def generate(self, key_type: str) -> Secret:
        """A new private key: 32 bytes, or a BIP32 node of 73."""
        check_key_type(key_type)
        if key_type == bip32.KEY_TYPE:
            return bip32.generate(self._randomness)
        if key_type == secp256k1.KEY_TYPE:
            return secp256k1.generate(self._randomness)
        return ed25519.generate(self._randomness)

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        """A private key from outside; raises `InvalidInputError` for one that cannot be."""
        check_key_type(key_type)
        if key_type == bip32.KEY_TYPE:
            return written.read_bip32(material)
        if material.form != "raw":
            raise InvalidInputError("form", f"a {key_type} key is imported as its raw bytes")
        private_key = Secret(material.data)
        self.load(key_type, private_key).wipe()
        return private_key

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        """Make a private key ready for signing."""
        check_key_type(key_type)
        if key_type == secp256k1.KEY_TYPE:
            return secp256k1.Secp256k1SigningKey(private_key, self._auxiliary)
        if key_type == bip32.KEY_TYPE:
            return bip32.Bip32Key(private_key, self._auxiliary)
        return ed25519.Ed25519SigningKey(private_key)

    def verify(
        self, key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str
    ) -> None:
        """Return if ``signature`` holds; raise `InvalidSignatureError` or `InvalidInputError`."""
        check_key_type(key_type)
        if key_type in (secp256k1.KEY_TYPE, bip32.KEY_TYPE):
            secp256k1.verify(public_key, message, signature, algorithm)
        else:
            ed25519.verify(public_key, message, signature, algorithm)
