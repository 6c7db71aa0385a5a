"""`KeyAlgorithms` whose private keys lie in a PKCS#11 token and never leave it.

What the HSM wraps and stores as the private key is then a handle: the token's id for it. Public
operations (verification, forms of public keys) are done by the libraries, as without a token.
"""

from __future__ import annotations

from typing import Final

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.pkcs11.key import TokenKey
from anya_actors.adapters.pkcs11.objects import CURVES, NEEDED, destroy, draw, take_in
from anya_actors.adapters.pkcs11.token import Token, check_mechanisms
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.keys.algorithms import NIST_CURVES, SIGNATURE_ALGORITHMS, check_key_type
from anya_actors.domain.keys.secret import HANDLE_PREFIX, Secret
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.key_algorithms import KeyAlgorithms, KeyFamily, PrivateKey, SigningKey
from anya_actors.ports.randomness import Randomness

ID_BYTES: Final = 16


class TokenKeyAlgorithms(LibraryKeyAlgorithms):
    """Draws, takes in and uses keys in a token; a key outside of it is refused.

    Types that no token has (BIP32, ChaCha20-Poly1305 and others) are refused too: who chose a token must
    not get keys in software. Nothing is exported.
    """

    def __init__(self, token: Token, randomness: Randomness) -> None:
        super().__init__(randomness)
        self._token = token
        self._ids = randomness
        self._software = LibraryKeyAlgorithms(randomness)

    @property
    def own(self) -> KeyAlgorithms:
        """The libraries."""
        return self._software

    def generate(self, key_type: str) -> Secret:
        """A key drawn in the token; what is returned is its handle."""
        self._check(key_type)
        identity = self._ids.token_bytes(ID_BYTES)
        with self._token.session() as session:
            draw(session, key_type, identity)
        return Secret(HANDLE_PREFIX + identity)

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        """A key from outside, put into the token; what is returned is its handle."""
        self._check(key_type)
        with self._software.read(key_type, material) as private_key:
            key = self._software.load_any(key_type, private_key)
            public_key = key.public_key
            key.wipe()
            identity = self._ids.token_bytes(ID_BYTES)
            point = self._point(key_type, public_key)
            with private_key.revealed() as raw, self._token.session() as session:
                take_in(session, key_type, raw, point, identity)
        return Secret(HANDLE_PREFIX + identity)

    def write(self, key_type: str, private_key: Secret) -> Secret:
        """Refused."""
        raise NotSupportedError(f"export of a {key_type} key from a token", "it does not leave it")

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        """Find the key of a handle, which must sign."""
        key = self.load_any(key_type, private_key)
        if key_type not in SIGNATURE_ALGORITHMS or not isinstance(key, SigningKey):
            raise InvalidInputError("key", f"a {key_type} key cannot sign")
        return key

    def load_any(self, key_type: str, private_key: Secret) -> PrivateKey:
        """Find the key of a handle."""
        self._check(key_type)
        self.check_kept(private_key)
        return TokenKey.found(key_type, self._token, _identity(private_key), self.read_public_key)

    def load_family(self, key_type: str, private_key: Secret, *, convergent: bool) -> KeyFamily:
        """Refused: what is in the token derives nothing."""
        raise NotSupportedError("derived keys in a token", "make keys that are not derived")

    def check_kept(self, private_key: Secret) -> None:
        """Return for a handle; raise `NotSupportedError` for a key in software."""
        if not private_key.buffer.startswith(HANDLE_PREFIX):
            raise NotSupportedError(
                "a key that was made without the token", 'set hsm.backend to "software" to use it'
            )

    def discard(self, private_key: Secret) -> None:
        """Destroy the key in the token."""
        self.check_kept(private_key)
        with self._token.session() as session:
            destroy(session, _identity(private_key))

    def _point(self, key_type: str, public_key: bytes) -> bytes:
        """The public key of a curve as tokens have it: uncompressed, or Ed25519's 32 bytes."""
        if key_type not in CURVES or key_type in ("ed25519", "x25519"):
            return public_key
        size = NIST_CURVES.get(key_type, 32)
        return self.write_public_key(key_type, public_key, "spki")[-1 - 2 * size :]

    def _check(self, key_type: str) -> None:
        check_key_type(key_type)
        if key_type not in NEEDED:
            raise NotSupportedError(
                f"a {key_type} key in a token", f"a token has {', '.join(sorted(NEEDED))}"
            )
        check_mechanisms(self._token, f"a {key_type} key", *NEEDED[key_type])


def _identity(handle: Secret) -> bytes:
    return handle.reveal()[len(HANDLE_PREFIX) :]
