"""The key algorithms of the platform, each by the library that does it best."""

from __future__ import annotations

from anya_actors.adapters.keys import (
    bip32,
    derived,
    ed25519,
    nist,
    public_forms,
    rsa,
    secp256k1,
    symmetric,
    wrapping,
    written,
    x25519,
)
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import CMACS, RSA_BITS, check_algorithm, check_key_type
from anya_actors.domain.keys.secret import HANDLE_PREFIX, Secret
from anya_actors.domain.machine import InvalidInputError, NotSupportedError, UnavailableError
from anya_actors.ports.key_algorithms import KeyAlgorithms, KeyFamily, PrivateKey, SigningKey
from anya_actors.ports.randomness import Randomness

_SECP256K1 = (secp256k1.KEY_TYPE, bip32.KEY_TYPE)


class LibraryKeyAlgorithms:
    """secp256k1 and BIP32 by libsecp256k1, everything else by OpenSSL.

    Keys are drawn from ``randomness``, but for RSA's, which OpenSSL draws. BIP340 signatures use it
    for their auxiliary data unless ``deterministic``, which is for tests and for signers that must
    repeat themselves.
    """

    def __init__(self, randomness: Randomness, *, deterministic: bool = False) -> None:
        self._randomness = randomness
        self._auxiliary = None if deterministic else randomness

    @property
    def own(self) -> KeyAlgorithms:
        """These."""
        return self

    def check_kept(self, private_key: Secret) -> None:
        """Return for a key in software; raise `NotSupportedError` for a token's handle."""
        if private_key.buffer.startswith(HANDLE_PREFIX):
            raise NotSupportedError("a key in a PKCS#11 token", 'set hsm.backend to "pkcs11" to use it')

    def discard(self, private_key: Secret) -> None:
        """Nothing for a key in software: it is nowhere else."""
        if private_key.buffer.startswith(HANDLE_PREFIX):
            raise UnavailableError("the PKCS#11 token", 'hsm.backend is "software"')

    def generate(self, key_type: str) -> Secret:
        """A new private key: 32 bytes, a BIP32 node of 73, or PKCS#8 (RSA)."""
        check_key_type(key_type)
        if key_type == bip32.KEY_TYPE:
            return bip32.generate(self._randomness)
        if key_type == secp256k1.KEY_TYPE:
            return secp256k1.generate(self._randomness)
        if key_type in nist.CURVES:
            return nist.generate(key_type, self._randomness)
        if key_type in RSA_BITS:
            return rsa.generate(key_type)
        # Ed25519's and X25519's seeds, and secret keys, are any bytes; HMAC's as long as its hash.
        return Secret.taken(self._randomness.token_bytes(symmetric.KEY_BYTES.get(key_type, 32)))

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        """A private key from outside; raises `InvalidInputError` for one that cannot be."""
        check_key_type(key_type)
        if key_type == bip32.KEY_TYPE:
            return written.read_bip32(material)
        private_key = written.read_private_key(key_type, material)
        self.load_any(key_type, private_key).wipe()
        return private_key

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        """Make a private key ready for signing."""
        key = self.load_any(key_type, private_key)
        if not isinstance(key, SigningKey):
            raise InvalidInputError("key", f"a {key_type} key cannot sign")
        return key

    def load_any(self, key_type: str, private_key: Secret) -> PrivateKey:
        """Make a private key of any type ready for use."""
        check_key_type(key_type)
        self.check_kept(private_key)
        if key_type == secp256k1.KEY_TYPE:
            return secp256k1.Secp256k1SigningKey(private_key, self._auxiliary)
        if key_type == bip32.KEY_TYPE:
            return bip32.Bip32Key(private_key, self._auxiliary)
        if key_type == ed25519.KEY_TYPE:
            return ed25519.Ed25519SigningKey(private_key)
        if key_type == x25519.KEY_TYPE:
            return x25519.X25519Key(private_key)
        if key_type in nist.CURVES:
            return nist.NistKey(key_type, private_key)
        if key_type in RSA_BITS:
            return rsa.RsaKey(key_type, private_key)
        if key_type in symmetric.CIPHERS:
            return symmetric.CipherKey(key_type, private_key)
        if key_type == "secret":
            return symmetric.SecretKey(private_key)
        if key_type in CMACS:
            return symmetric.CmacKey(key_type, private_key)
        return symmetric.MacKey(key_type, private_key)

    def load_family(self, key_type: str, private_key: Secret, *, convergent: bool) -> KeyFamily:
        """Make a private key ready that acts through derived ones."""
        self.check_kept(private_key)
        return derived.DerivedKeys(key_type, private_key, convergent=convergent)

    def verify(
        self, key_type: str, public_key: bytes, message: bytes, signature: bytes, algorithm: str
    ) -> None:
        """Return if ``signature`` holds; raise `InvalidSignatureError` or `InvalidInputError`."""
        check_key_type(key_type)
        check_algorithm(key_type, algorithm, "verify")
        if key_type in _SECP256K1:
            secp256k1.verify(public_key, message, signature, algorithm)
        elif key_type == ed25519.KEY_TYPE:
            ed25519.verify(public_key, message, signature, algorithm)
        elif key_type in nist.CURVES:
            nist.verify(key_type, public_key, message, signature, algorithm)
        else:
            rsa.verify(key_type, public_key, message, signature, algorithm)

    def read_public_key(self, key_type: str, data: bytes) -> bytes:
        """A public key from SubjectPublicKeyInfo (DER or PEM), a JWK, SEC1 or raw bytes, in our own form."""
        check_key_type(key_type)
        return public_forms.read(key_type, data)

    def write_public_key(self, key_type: str, public_key: bytes, form: str) -> bytes:
        """A public key of our own form as ``pem``, ``jwk``, ``sec1``, ``spki`` or ``raw``."""
        check_key_type(key_type)
        return public_forms.write(key_type, public_key, form)

    def wrap_to(self, recipient_pem: bytes, private_key: Secret, digest: str) -> bytes:
        """A private key for the holder of an RSA key: RSA-OAEP and AES-KWP."""
        return wrapping.wrap_to(recipient_pem, private_key, self._randomness, digest)

    def unwrap_with(self, wrapping_key: Secret, blob: bytes, digest: str) -> Secret:
        """What was wrapped to our RSA key."""
        return wrapping.unwrap_with(wrapping_key, blob, digest)

    def write(self, key_type: str, private_key: Secret) -> Secret:
        """A private key as others read it."""
        return written.write_private_key(key_type, private_key)
