"""secp256k1 on libsecp256k1, through coincurve: ECDSA for Bitcoin, BIP340 and taproot, MuSig2, ECDH."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from coincurve import PublicKey, PublicKeyXOnly

from anya_actors.domain.keys.algorithms import InvalidSignatureError, check_algorithm, check_message
from anya_actors.domain.keys.curve import (
    ORDER,
    CurveError,
    Point,
    add_to_secret,
    negate_secret,
    shared_point,
    sign_ecdsa,
    sign_schnorr,
    tagged_scalar,
)
from anya_actors.domain.keys.musig2 import Session as MusigSession
from anya_actors.domain.keys.musig2_signing import SecretNonce, generate_nonce, sign_partially
from anya_actors.domain.keys.operations import KeyPath, check_merkle_root
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.randomness import Randomness

KEY_TYPE: Final = "secp256k1"


class Secp256k1SigningKey:
    """A secp256k1 private key. Without ``randomness`` BIP340 signs with 32 zero bytes of auxiliary data."""

    def __init__(self, private_key: Secret, randomness: Randomness | None) -> None:
        if len(private_key) != 32:
            raise InvalidInputError("private_key", "it is not 32 bytes long")
        self._secret: Secret | None = Secret(bytearray(private_key.buffer))
        self._randomness = randomness
        try:
            self._public_key = Point.of_secret(private_key).serialize()
        except CurveError:
            raise InvalidInputError("private_key", "it is zero or not below the group order") from None

    def __repr__(self) -> str:
        return f"Secp256k1SigningKey({self._public_key.hex()})"

    @property
    def public_key(self) -> bytes:
        """SEC1 compressed, 33 bytes."""
        return self._public_key

    @contextmanager
    def at(self, path: KeyPath) -> Iterator[Secp256k1SigningKey]:
        """This key itself: it has no children."""
        if path:
            raise InvalidInputError("path", "a secp256k1 key has no children; a bip32 key has")
        yield self

    def sign(self, message: bytes, algorithm: str) -> bytes:
        """ECDSA: DER, low S, RFC 6979. BIP340: 64 bytes. ``message`` is the 32 bytes to sign."""
        check_algorithm(KEY_TYPE, algorithm)
        check_message(algorithm, message)
        if algorithm == "ecdsa-secp256k1":
            return sign_ecdsa(self._private(), message)
        return self._sign_schnorr(self._private(), message)

    def sign_taproot(self, message: bytes, merkle_root: bytes) -> bytes:
        """BIP340 by the key tweaked for a taproot output (BIP341, taproot_tweak_seckey)."""
        check_merkle_root(merkle_root)
        check_message("schnorr-bip340", message)
        with Secret(bytearray(self._private().buffer)) as tweaked:
            if self._public_key[0] == 3:
                negate_secret(tweaked)
            add_to_secret(tweaked, tagged_scalar("TapTweak", self._public_key[1:] + merkle_root))
            return self._sign_schnorr(tweaked, message)

    def shared_point(self, public_key: bytes) -> bytes:
        """The public key times this private key, SEC1 compressed: ECDH without a hash."""
        return shared_point(Point.parse(public_key), self._private()).serialize()

    def musig2_nonce(
        self, randomness: bytes, *, aggregate_key: bytes, message: bytes | None, extra_input: bytes
    ) -> SecretNonce:
        """A nonce for one MuSig2 signature by this key (BIP327, NonceGen)."""
        return generate_nonce(
            randomness,
            self._public_key,
            private_key=self._private(),
            aggregate_key=aggregate_key,
            message=message,
            extra_input=extra_input,
        )

    def musig2_partial_sign(self, nonce: SecretNonce, session: MusigSession) -> bytes:
        """Use the nonce up for this key's part of a MuSig2 signature."""
        return sign_partially(nonce, self._private(), session)

    def wipe(self) -> None:
        """Zero the private half."""
        if self._secret is not None:
            self._secret.wipe()
        self._secret = None

    def _private(self) -> Secret:
        if self._secret is None:
            raise InvalidInputError("key", "it was wiped")
        return self._secret

    def _sign_schnorr(self, secret: Secret, message: bytes) -> bytes:
        auxiliary = bytes(32) if self._randomness is None else self._randomness.token_bytes(32)
        return sign_schnorr(secret, message, auxiliary)


def generate(randomness: Randomness) -> Secret:
    """A private key, uniform in 1 to n-1."""
    while True:
        candidate = Secret(randomness.token_bytes(32))
        if 0 < int.from_bytes(candidate.buffer, "big") < ORDER:
            return candidate
        candidate.wipe()


def verify(public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> None:
    """Return if the signature holds; raise `InvalidSignatureError` or `InvalidInputError`.

    ``public_key`` is SEC1 (33 or 65 bytes), for BIP340 also x-only (32). ECDSA refuses a high S.
    BIP340 takes a message of any length.
    """
    check_algorithm(KEY_TYPE, algorithm)
    if algorithm == "ecdsa-secp256k1":
        check_message(algorithm, message)
        point = _point(public_key)
        holds = _holds(lambda: point.verify(signature, message, hasher=None))
    else:
        x_only = _x_only(public_key)
        holds = _holds(lambda: x_only.verify(signature, message))
    if not holds:
        raise InvalidSignatureError(algorithm)


def _holds(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except ValueError:  # the signature cannot even be parsed
        return False


def _point(public_key: bytes) -> PublicKey:
    try:
        return PublicKey(public_key)
    except ValueError as error:
        raise InvalidInputError("public_key", "it is not a point of secp256k1") from error


def _x_only(public_key: bytes) -> PublicKeyXOnly:
    if len(public_key) != 32:
        public_key = _point(public_key).format(compressed=True)[1:]
    try:
        return PublicKeyXOnly(public_key)
    except ValueError as error:
        raise InvalidInputError("public_key", "no point of secp256k1 has this x") from error
