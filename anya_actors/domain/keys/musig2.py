"""MuSig2, the public side: keys, tweaks, nonces and partial signatures of all signers (BIP327).

What a coordinator or any co-signer may do without a secret. The letters are the BIP's.
`musig2_signing` has the secret side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

from anya_actors.domain.keys.curve import (
    GENERATOR,
    ORDER,
    CurveError,
    Point,
    schnorr_holds,
    sum_points,
    tagged_hash,
    tagged_scalar,
)
from anya_actors.domain.machine import AnyaError, InvalidInputError

Contribution = Literal["pubkey", "pubnonce", "aggnonce", "aggothernonce", "psig"]
PUBLIC_NONCE_BYTES: Final = 66
_INFINITY: Final = bytes(33)


class MusigError(InvalidInputError):
    """Input of a MuSig2 session that can never lead to a signature."""

    code = "invalid-musig2-input"
    message = "{} of the MuSig2 session: {}"
    remedy = "Start the session again with the values that all signers agreed on."


class InvalidContributionError(AnyaError):
    """What one signer sent (or the aggregator, if ``signer`` is None) breaks the protocol.

    Whoever sees it knows whom to blame (BIP327, identifying disruptive signers).
    """

    code = "invalid-musig2-contribution"
    message = "the {1} of MuSig2 signer {0} is not valid"
    remedy = "Leave this signer out, or start the session again with a correct contribution."

    def __init__(self, signer: int | None, contribution: Contribution) -> None:
        super().__init__(signer, contribution)
        self.signer = signer
        self.contribution = contribution


@dataclass(frozen=True)
class AggregateKey:
    """Several public keys as one (the BIP's ``keyagg_ctx``), with the tweaks made to it.

    Only `aggregate` and the methods here make one. ``gacc`` and ``tacc`` are the BIP's accumulators.
    """

    public_keys: tuple[bytes, ...]
    Q: Point
    gacc: int = 1
    tacc: int = 0

    @property
    def public_key(self) -> bytes:
        """The aggregate as a compressed public key, 33 bytes."""
        return self.Q.serialize()

    @property
    def x_only(self) -> bytes:
        """The aggregate as the key of BIP340 that signatures verify under, 32 bytes."""
        return self.Q.x

    def tweak(self, tweak: bytes, *, x_only: bool) -> AggregateKey:
        """The key plus ``tweak`` times the generator (ApplyTweak); raises `MusigError`.

        Plain tweaks derive BIP32 children; x-only ones make taproot output keys.
        """
        if len(tweak) != 32:
            raise MusigError("the tweak", f"it has {len(tweak)} bytes, not 32")
        g = -1 if x_only and not self.Q.has_even_y else 1
        t = int.from_bytes(tweak, "big")
        if t >= ORDER:
            raise MusigError("the tweak", "The tweak must be less than n.")
        Q = (self.Q.negate() if g < 0 else self.Q).plus(t)
        if Q is None:
            raise MusigError("the tweak", "The result of tweaking cannot be infinity.")
        return replace(self, Q=Q, gacc=g * self.gacc % ORDER, tacc=(t + g * self.tacc) % ORDER)

    def coefficient(self, public_key: bytes) -> int:
        """By what a signer's key is multiplied in the sum (KeyAggCoeff)."""
        if public_key not in self.public_keys:
            raise MusigError("a key", "The signer's pubkey must be included in the list of pubkeys.")
        return _coefficient(self._keys_hash, self._second_key, public_key)

    @cached_property
    def _keys_hash(self) -> bytes:
        return _keys_hash(self.public_keys)

    @cached_property
    def _second_key(self) -> bytes:
        return _second_key(self.public_keys)


def sort_keys(public_keys: Sequence[bytes]) -> tuple[bytes, ...]:
    """The order in which signers agree when they have none of their own (KeySort)."""
    return tuple(sorted(public_keys))


def aggregate(public_keys: Sequence[bytes]) -> AggregateKey:
    """One key for all compressed ``public_keys``, whose order matters (KeyAgg).

    Raises `InvalidContributionError` naming the signer whose key is no point.
    """
    keys = tuple(bytes(key) for key in public_keys)
    if not keys:
        raise MusigError("the list of keys", "it is empty")
    L, second = _keys_hash(keys), _second_key(keys)
    terms = []
    for at, key in enumerate(keys):
        a = _coefficient(L, second, key)
        P = _point(key, at, "pubkey")
        terms.append(P if a == 1 else P.times(a))
    Q = sum_points(terms)
    if Q is None:  # not by accident: somebody knows a relation between the keys' hashes
        raise MusigError("the list of keys", "its aggregate is infinity")
    return AggregateKey(keys, Q)


def _keys_hash(keys: Sequence[bytes]) -> bytes:
    return tagged_hash("KeyAgg list", b"".join(keys))


def _second_key(keys: Sequence[bytes]) -> bytes:
    return next((key for key in keys if key != keys[0]), _INFINITY)


def _coefficient(keys_hash: bytes, second_key: bytes, key: bytes) -> int:
    if key == second_key:
        return 1
    return tagged_scalar("KeyAgg coefficient", keys_hash + key)


def _point(data: bytes, signer: int | None, contribution: Contribution) -> Point:
    try:
        if len(data) != 33:
            raise CurveError("the point", f"it has {len(data)} bytes, not 33")
        return Point.parse(data)
    except CurveError as error:
        raise InvalidContributionError(signer, contribution) from error


def read_public_nonce(nonce: bytes, signer: int | None = None) -> tuple[Point, Point]:
    """The two points of one signer's public nonce."""
    if len(nonce) != PUBLIC_NONCE_BYTES:
        raise InvalidContributionError(signer, "pubnonce")
    return _point(nonce[:33], signer, "pubnonce"), _point(nonce[33:], signer, "pubnonce")


def aggregate_nonces(public_nonces: Sequence[bytes]) -> bytes:
    """All signers' public nonces as one (NonceAgg); a half may be infinity, 33 zero bytes."""
    if not public_nonces:
        raise MusigError("the list of nonces", "it is empty")
    pairs = [read_public_nonce(nonce, at) for at, nonce in enumerate(public_nonces)]
    return b"".join(_extended(sum_points([pair[half] for pair in pairs])) for half in (0, 1))


def _extended(point: Point | None) -> bytes:
    return _INFINITY if point is None else point.serialize()


@dataclass(frozen=True)
class Session:
    """What all signers of one signature share: the key, the aggregated nonce and the message.

    ``message`` may have any length. Raises `InvalidContributionError` for a broken nonce.
    """

    key: AggregateKey
    aggregate_nonce: bytes
    message: bytes
    R: Point = field(init=False)
    b: int = field(init=False)
    e: int = field(init=False)

    def __post_init__(self) -> None:
        nonce, Q = self.aggregate_nonce, self.key.Q
        if len(nonce) != PUBLIC_NONCE_BYTES:
            raise InvalidContributionError(None, "aggnonce")
        R1, R2 = (
            None if half == _INFINITY else _point(half, None, "aggnonce") for half in (nonce[:33], nonce[33:])
        )
        b = tagged_scalar("MuSig/noncecoef", nonce + Q.x + self.message)
        # A sum at infinity takes a malicious signer, whom partial verification then finds.
        R = sum_points([R1, None if R2 is None else R2.times(b)]) or GENERATOR
        object.__setattr__(self, "b", b)
        object.__setattr__(self, "R", R)
        object.__setattr__(self, "e", tagged_scalar("BIP0340/challenge", R.x + Q.x + self.message))

    @property
    def sign_of_key(self) -> int:
        """1 or -1 modulo the order: what makes the aggregate's y even (the BIP's ``g``)."""
        return 1 if self.key.Q.has_even_y else ORDER - 1

    def verify_partial(
        self, partial_signature: bytes, public_nonce: bytes, public_key: bytes, signer: int | None = None
    ) -> None:
        """Return if a signer's part holds; raise `InvalidContributionError` naming him (PartialSigVerify)."""
        s = int.from_bytes(partial_signature, "big")
        if len(partial_signature) != 32 or s >= ORDER:
            raise InvalidContributionError(signer, "psig")
        first, second = read_public_nonce(public_nonce, signer)
        P = _point(public_key, signer, "pubkey")
        nonce = sum_points([first, second.times(self.b)])
        if nonce is not None and not self.R.has_even_y:
            nonce = nonce.negate()
        a = self.key.coefficient(public_key)
        factor = self.e * a * self.sign_of_key * self.key.gacc % ORDER
        left = Point.of_scalar(s) if s else None
        if left != sum_points([nonce, P.times(factor)]):
            raise InvalidContributionError(signer, "psig")

    def aggregate(self, partial_signatures: Sequence[bytes]) -> bytes:
        """The BIP340 signature (64 bytes) of all parts (PartialSigAgg).

        Raises `InvalidContributionError` for a part out of range. A part that is merely wrong gives
        a signature that does not verify: check it with `verify`, find the culprit with `verify_partial`.
        """
        total = self.e * self.sign_of_key * self.key.tacc
        for at, part in enumerate(partial_signatures):
            s = int.from_bytes(part, "big")
            if len(part) != 32 or s >= ORDER:
                raise InvalidContributionError(at, "psig")
            total += s
        return self.R.x + (total % ORDER).to_bytes(32, "big")

    def verify(self, signature: bytes) -> None:
        """Return if the signature holds under the aggregate key; raise `MusigError`."""
        if not schnorr_holds(self.key.x_only, self.message, signature):
            raise MusigError("the signature", "it does not verify under the aggregate key")
