"""Proofs that two points are one secret's multiples of two others (BIP374). The letters are the BIP's."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.keys.curve import (
    GENERATOR,
    ORDER,
    CurveError,
    Point,
    add_to_secret,
    check_secret,
    multiply_secret,
    read_scalar,
    shared_point,
    sum_points,
    tagged_hash,
    tagged_scalar,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError

PROOF_BYTES: Final = 64


class DleqError(InvalidInputError):
    """A proof of equality that does not hold, or a message that none can be bound to."""

    code = "invalid-dleq-proof"
    message = "{} is not valid: {}"
    remedy = "Do not use the points that it should prove; ask their maker again."


def verify_dleq(
    A: Point, B: Point, C: Point, proof: bytes, *, G: Point = GENERATOR, message: bytes | None = None
) -> None:
    """Return if the prover knows one ``a`` with A = a·G and C = a·B; raise `DleqError`."""
    if len(proof) != PROOF_BYTES:
        raise DleqError("the proof", f"it has {len(proof)} bytes, not {PROOF_BYTES}")
    try:
        e, s = read_scalar(proof[:32], "e"), read_scalar(proof[32:], "s")
    except CurveError as error:
        raise DleqError("the proof", str(error)) from error
    R1 = sum_points([G.times(s), A.times(-e)])
    R2 = sum_points([B.times(s), C.times(-e)])
    if R1 is None or R2 is None or e != _challenge(A, B, C, R1, R2, G, message):
        raise DleqError("the proof", "the points are not multiples by one secret")


def _challenge(A: Point, B: Point, C: Point, R1: Point, R2: Point, G: Point, message: bytes | None) -> int:
    points = b"".join(point.serialize() for point in (A, B, C, G, R1, R2))
    return tagged_scalar("BIP0374/challenge", points + _checked(message))


def _checked(message: bytes | None) -> bytes:
    if message is not None and len(message) != 32:
        raise DleqError("the message", f"it has {len(message)} bytes, not 32")
    return message or b""


def prove_dleq(
    secret: Secret, B: Point, auxiliary: bytes, *, G: Point = GENERATOR, message: bytes | None = None
) -> bytes:
    """The proof, 64 bytes, by the process that holds the secret. ``auxiliary`` is 32 random bytes."""
    if len(auxiliary) != 32:
        raise DleqError("the auxiliary randomness", f"it has {len(auxiliary)} bytes, not 32")
    check_secret(secret)
    bound = _checked(message)
    A, C = shared_point(G, secret), shared_point(B, secret)
    mask = tagged_hash("BIP0374/aux", auxiliary)
    masked = bytes(one ^ other for one, other in zip(secret.buffer, mask, strict=True))
    seed = tagged_hash("BIP0374/nonce", masked + A.serialize() + C.serialize() + bound)
    k = int.from_bytes(seed, "big") % ORDER
    with Secret(k.to_bytes(32, "big")) as nonce, Secret(bytearray(secret.buffer)) as product:
        e = _challenge(A, B, C, shared_point(G, nonce), shared_point(B, nonce), G, message)
        multiply_secret(product, e)
        add_to_secret(product, nonce)  # s = k + e·a
        proof = e.to_bytes(32, "big") + product.reveal()
    # A fault in the computation could give the secret away (BIP374).
    verify_dleq(A, B, C, proof, G=G, message=message)
    return proof
