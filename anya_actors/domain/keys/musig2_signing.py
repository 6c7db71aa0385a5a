"""MuSig2, the secret side: nonces that can be used once, and partial signatures (BIP327).

For the process that holds the private key. Two signatures by one nonce give the private key away,
so a `SecretNonce` empties itself before it signs, and cannot be copied, pickled or written down.
"""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn

from anya_actors.domain.keys.curve import (
    ORDER,
    CurveError,
    Point,
    add_to_secret,
    check_secret,
    multiply_secret,
    negate_secret,
    tagged_hash,
)
from anya_actors.domain.keys.musig2 import (
    AggregateKey,
    InvalidContributionError,
    MusigError,
    Session,
    aggregate_nonces,
)
from anya_actors.domain.keys.secret import Secret, SecretCopyError
from anya_actors.domain.machine import AnyaError


class NonceReusedError(AnyaError):
    """A secret nonce that was used or wiped before."""

    code = "musig2-nonce-used"
    message = "the MuSig2 nonce {} was used before"
    remedy = "Begin the session again with new nonces of all signers; a second use would give the key away."

    def __init__(self, public_nonce: str) -> None:
        super().__init__(public_nonce)


class SecretNonce:
    """Two secret scalars for one signature, bound to the key that may use them."""

    __slots__ = ("_first", "_second", "public_key", "public_nonce")

    def __init__(self, first: Secret, second: Secret, public_key: bytes) -> None:
        for secret, name in ((first, "first"), (second, "second")):
            if not 0 < int.from_bytes(secret.buffer, "big") < ORDER:
                raise MusigError("the nonce", f"{name} secnonce value is out of range.")
        self._first: Secret | None = first
        self._second: Secret | None = second
        self.public_key = public_key
        self.public_nonce = Point.of_secret(first).serialize() + Point.of_secret(second).serialize()

    def __repr__(self) -> str:
        return f"SecretNonce(of {self.public_nonce.hex()})"

    def __enter__(self) -> SecretNonce:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __reduce__(self) -> NoReturn:
        raise SecretCopyError

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise SecretCopyError

    __copy__ = __reduce__

    @property
    def is_used(self) -> bool:
        return self._first is None

    def take(self) -> tuple[Secret, Secret]:
        """The two scalars, once; whoever takes them wipes them. Raises `NonceReusedError`."""
        first, second = self._first, self._second
        if first is None or second is None:
            raise NonceReusedError(self.public_nonce.hex())
        self._first = self._second = None
        return first, second

    def wipe(self) -> None:
        """Zero the scalars of a nonce that will not be used."""
        for secret in (self._first, self._second):
            if secret is not None:
                secret.wipe()
        self._first = self._second = None


def generate_nonce(
    randomness: bytes,
    public_key: bytes,
    *,
    private_key: Secret | None = None,
    aggregate_key: bytes = b"",
    message: bytes | None = None,
    extra_input: bytes = b"",
) -> SecretNonce:
    """A nonce for ``public_key`` (NonceGen). ``randomness`` is 32 fresh bytes that are never used again.

    The rest is defence in depth should the randomness be weak; give whatever is known already:
    the x-only aggregate key, the message, and something that never repeats.
    """
    if len(randomness) != 32:
        raise MusigError("the randomness", f"it has {len(randomness)} bytes, not 32")
    Point.parse(public_key)
    seed = randomness
    if private_key is not None:
        seed = _masked(private_key, randomness)
    prefixed_message = b"\x00" if message is None else b"\x01" + len(message).to_bytes(8, "big") + message
    common = b"".join((bytes((len(public_key),)), public_key, bytes((len(aggregate_key),)), aggregate_key))
    common += prefixed_message + len(extra_input).to_bytes(4, "big") + extra_input
    scalars = [_nonce_scalar("MuSig/nonce", seed + common, index) for index in (0, 1)]
    return SecretNonce(scalars[0], scalars[1], bytes(public_key))


def _masked(private_key: Secret, randomness: bytes) -> bytes:
    mask = tagged_hash("MuSig/aux", randomness)
    return bytes(one ^ other for one, other in zip(private_key.buffer, mask, strict=True))


def _nonce_scalar(tag: str, data: bytes, index: int) -> Secret:
    value = int.from_bytes(tagged_hash(tag, data + bytes((index,))), "big") % ORDER
    return Secret(value.to_bytes(32, "big"))  # zero is as likely as guessing a key, and refused


def sign_partially(nonce: SecretNonce, private_key: Secret, session: Session) -> bytes:
    """One signer's part of a signature, 32 bytes (Sign). Uses the nonce up, whatever happens after.

    Raises `MusigError` if the key is not the one the nonce was made for, or not of this session.
    """
    public_nonce = nonce.public_nonce
    first, second = nonce.take()
    with first, second:
        try:
            public_key = Point.of_secret(private_key).serialize()
        except CurveError:
            raise MusigError("the private key", "secret key value is out of range.") from None
        if public_key != nonce.public_key:
            raise MusigError("the private key", "Public key does not match nonce_gen argument")
        factor = session.e * session.key.coefficient(public_key) * session.sign_of_key * session.key.gacc
        with Secret(bytearray(private_key.buffer)) as part:
            # s = k1 + b*k2 + e*a*d, where R's oddness negates both nonces.
            multiply_secret(part, factor)
            multiply_secret(second, session.b)
            add_to_secret(first, second)
            if not session.R.has_even_y:
                negate_secret(first)
            add_to_secret(part, first)
            signature = part.reveal()
    # A fault in the computation could give the key away: nothing unverified leaves (BIP327, Sign).
    session.verify_partial(signature, public_nonce, public_key)
    return signature


def sign_deterministically(
    private_key: Secret,
    aggregate_of_other_nonces: bytes,
    key: AggregateKey,
    message: bytes,
    randomness: bytes | None = None,
) -> tuple[bytes, bytes]:
    """Public nonce and partial signature of the signer who signs last (DeterministicSign).

    Needs no stored nonce: safe because the nonces of all others are already fixed and part of the hash.
    """
    check_secret(private_key)
    seed = private_key.reveal() if randomness is None else _masked(private_key, randomness)
    data = seed + aggregate_of_other_nonces + key.x_only + len(message).to_bytes(8, "big") + message
    public_key = Point.of_secret(private_key).serialize()
    first, second = (_nonce_scalar("MuSig/deterministic/nonce", data, index) for index in (0, 1))
    with SecretNonce(first, second, public_key) as nonce:
        try:
            total = aggregate_nonces([nonce.public_nonce, aggregate_of_other_nonces])
        except InvalidContributionError as error:
            raise InvalidContributionError(None, "aggothernonce") from error
        session = Session(key, total, message)
        return nonce.public_nonce, sign_partially(nonce, private_key, session)
