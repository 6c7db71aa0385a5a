"""secp256k1 on libsecp256k1, through coincurve: ECDSA for Bitcoin, BIP340 and taproot, MuSig2, ECDH."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from coincurve import PublicKey, PublicKeyXOnly
from coincurve.ecdsa import cdata_to_der, der_to_cdata, deserialize_compact, signature_normalize

from anya_actors.domain.keys.algorithms import InvalidSignatureError, check_algorithm, check_message
from anya_actors.domain.keys.curve import (
    ORDER,
    CurveError,
    Point,
    add_to_secret,
    negate_secret,
    recovery_id,
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
        """ECDSA: DER, low S, RFC 6979. BIP340: 64 bytes. ``message`` is the 32 bytes to sign.

        Recoverable: 64 bytes and the recovery id. ``…-sha256`` hash the message first.
        """
        check_algorithm(KEY_TYPE, algorithm)
        check_message(algorithm, message)
        if algorithm == "schnorr-bip340":
            return self._sign_schnorr(self._private(), message)
        digest = hashlib.sha256(message).digest() if "-sha256" in algorithm else message
        signature = sign_ecdsa(self._private(), digest)
        if algorithm in ("ecdsa-secp256k1", "ecdsa-secp256k1-sha256"):
            return signature
        compact, number = recovery_id(self._public_key, digest, signature)
        return compact if algorithm.endswith("-p1363") else compact + bytes((number,))

    def agree(self, public_key: bytes, algorithm: str) -> bytes:
        """The shared point's x coordinate (32 bytes), or the whole point (33 bytes)."""
        check_algorithm(KEY_TYPE, algorithm, "agree")
        point = self.shared_point(public_key)
        return point if algorithm == "point-secp256k1" else point[1:]

    def sign_taproot(self, message: bytes, merkle_root: bytes) -> bytes:
        """BIP340 by the key tweaked for a taproot output (BIP341, taproot_tweak_seckey)."""
        check_merkle_root(merkle_root)
        check_message("schnorr-bip340", message)
        with Secret(bytearray(self._private().buffer)) as tweaked:
            if self._public_key[0] == 3:
                negate_secret(tweaked)
            add_to_secret(tweaked, tagged_scalar("TapTweak", self._public_key[1:] + merkle_root))
            return self._sign_schnorr(tweaked, message)

    def sign_tweaked(self, message: bytes, tweak: bytes) -> bytes:
        """BIP340 by the key plus a scalar, with no other tweak on top (BIP352)."""
        check_message("schnorr-bip340", message)
        scalar = int.from_bytes(tweak, "big")
        if len(tweak) != 32 or scalar >= ORDER:
            raise InvalidInputError("tweak", "it is a scalar of 32 bytes, below the group order")
        with Secret(bytearray(self._private().buffer)) as tweaked:
            try:
                add_to_secret(tweaked, scalar)
            except CurveError:
                raise InvalidInputError("tweak", "the key and it add up to zero") from None
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
        candidate = Secret.taken(randomness.token_bytes(32))
        if 0 < int.from_bytes(candidate.buffer, "big") < ORDER:
            return candidate
        candidate.wipe()


def verify(public_key: bytes, message: bytes, signature: bytes, algorithm: str) -> None:
    """Return if the signature holds; raise `InvalidSignatureError` or `InvalidInputError`.

    ``public_key`` is SEC1 (33 or 65 bytes), for BIP340 also x-only (32). ``ecdsa-secp256k1`` and the
    recoverable form refuse a high S, as Bitcoin does; ``…-sha256`` take either, as X9.62 and JOSE do.
    BIP340 takes a message of any length.
    """
    check_algorithm(KEY_TYPE, algorithm)
    if algorithm == "schnorr-bip340":
        x_only = _x_only(public_key)
        holds = _holds(lambda: x_only.verify(signature, message))
    else:
        check_message(algorithm, message)
        point = _point(public_key)
        digest = hashlib.sha256(message).digest() if "-sha256" in algorithm else message
        holds = _holds(lambda: _ecdsa_holds(point, digest, signature, algorithm))
    if not holds:
        raise InvalidSignatureError(algorithm)


def _ecdsa_holds(point: PublicKey, digest: bytes, signature: bytes, algorithm: str) -> bool:
    if algorithm == "ecdsa-secp256k1":
        return point.verify(signature, digest, hasher=None)
    if algorithm == "ecdsa-secp256k1-recoverable":
        if len(signature) != 65 or signature[64] > 3:
            return False
        der = cdata_to_der(deserialize_compact(signature[:64]))
        found = PublicKey.from_signature_and_message(signature, digest, hasher=None)
        return found == point and point.verify(der, digest, hasher=None)
    if algorithm.endswith("-p1363"):
        if len(signature) != 64:
            return False
        parsed = deserialize_compact(signature)
    else:
        parsed = der_to_cdata(signature)
        if cdata_to_der(parsed) != signature:
            return False  # libsecp256k1 reads numbers out of range as zero, and pads that DER forbids
    return point.verify(cdata_to_der(signature_normalize(parsed)[1]), digest, hasher=None)


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
