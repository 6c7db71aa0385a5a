"""Access tokens of the API: JWTs signed with EdDSA (RFC 8037), after the profile of RFC 9068.

The HSM makes them, every door verifies them with the public keys of its JWKS. What may vary in a
JWT is fixed here (RFC 8725, sections 3.1, 3.8, 3.9 and 3.11): one algorithm, one type, three header fields,
one audience, one issuer.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OKPKey

from anya_actors.domain.machine import AnyaError, InvalidInputError

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
MAX_TOKEN_BYTES: Final = 8192
CLOCK_SKEW_S: Final = 5

# RFC 6749, section 3.3: printable ASCII without space, quote and backslash.
_SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]+\Z")


class InvalidTokenError(AnyaError):
    """A token that proves nothing: malformed, forged, or made for someone else."""

    code = "invalid-token"
    message = "the access token is not valid: {}"
    remedy = "Make a new one with `anya token create --scopes ...`."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class ExpiredTokenError(AnyaError):
    """A genuine token whose time is over."""

    code = "expired-token"
    message = "the access token expired at {} (seconds since the Unix epoch)"
    remedy = "Make a new one with `anya token create --scopes ...`."

    def __init__(self, expired_unix_s: int) -> None:
        super().__init__(expired_unix_s)


class RevokedTokenError(AnyaError):
    """A genuine token that was revoked."""

    code = "revoked-token"
    message = "the access token was revoked"
    remedy = "Ask for a new one: its subject, its client or all tokens may have been meant."


class Claims(msgspec.Struct, frozen=True):
    """What a verified token says. Only `TokenVerifier` makes one."""

    subject: str
    scopes: frozenset[str]
    issued_unix_s: int
    expires_unix_s: int
    token_id: str
    client_id: str = ""

    @property
    def names(self) -> tuple[str, str]:
        """Whom it was issued to: what is revoked by name."""
        return self.subject, self.client_id


class TokenClaims(msgspec.Struct, frozen=True):
    """The payload, with the names of RFC 7519 section 4.1 and RFC 9068 section 2.2."""

    iss: str
    aud: str | list[str]
    sub: str
    scope: str
    iat: int
    exp: int
    jti: str
    nbf: int | None = None
    client_id: str | None = None


class _OnlyEdDsa(jws.JWSRegistry):
    """Knows one algorithm, whatever the token asks for.

    ``EdDSA`` is what other JWT libraries read; joserfc warns on each use that RFC 9864 prefers the
    name ``Ed25519``. The curve is fixed by the key, so the wider name admits nothing.
    """

    def get_alg(self, name: str) -> Any:
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError("only EdDSA is allowed")
        return self.algorithms[ALGORITHM]


_REGISTRY: Final = _OnlyEdDsa()
_DECODER: Final = msgspec.json.Decoder(TokenClaims)
_ENCODER: Final = msgspec.json.Encoder()


def check_scopes(scopes: Sequence[str]) -> tuple[str, ...]:
    """The scopes without repetition; raise `InvalidInputError` for one that OAuth could not carry."""
    for scope in scopes:
        if not _SCOPE.match(scope):
            raise InvalidInputError("scopes", "a scope is printable ASCII without space, quote and backslash")
    if not scopes:
        raise InvalidInputError("scopes", "a token needs at least one scope")
    return tuple(dict.fromkeys(scopes))


def public_jwk(public_key: bytes) -> dict[str, str]:
    """The JWK (RFC 8037) of a 32-byte Ed25519 public key; ``kid`` is its RFC 7638 thumbprint."""
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _base64url(public_key)})
    x = _base64url(public_key)
    return {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": key.thumbprint(), "alg": ALGORITHM, "use": "sig"}


def sign_token(claims: TokenClaims, private_key: bytes, public_key: bytes) -> str:
    """The compact JWS of ``claims`` by a 32-byte Ed25519 seed. The same input gives the same token."""
    jwk = public_jwk(public_key)
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"], "d": _base64url(private_key)})
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": jwk["kid"]}
    payload = {name: value for name, value in msgspec.structs.asdict(claims).items() if value is not None}
    return jws.serialize_compact(header, _ENCODER.encode(payload), key, registry=_REGISTRY)


class TokenVerifier:
    """Verifies tokens of one issuer for one audience. Keep one: the keys are read once."""

    def __init__(self, jwks: Mapping[str, Any], *, audience: str, issuer: str) -> None:
        self._keys = _public_keys(jwks)
        self._audience = audience
        self._issuer = issuer

    def verify(self, token: str, now_unix_s: int) -> Claims:
        """What the token says; raise `InvalidTokenError` or `ExpiredTokenError`."""
        payload = self._authentic_payload(token)
        try:
            claims = _DECODER.decode(payload)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidTokenError("a claim is missing or has the wrong type") from error
        if claims.iss != self._issuer:
            raise InvalidTokenError("it has another issuer")
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if self._audience not in audiences:
            raise InvalidTokenError("it is for another audience")
        if claims.exp <= now_unix_s:
            raise ExpiredTokenError(claims.exp)
        begins = max(claims.iat, claims.nbf or claims.iat)
        if begins > now_unix_s + CLOCK_SKEW_S:
            raise InvalidTokenError("it is not yet valid")
        scopes = frozenset(claims.scope.split())
        return Claims(claims.sub, scopes, claims.iat, claims.exp, claims.jti, claims.client_id or "")

    def _authentic_payload(self, token: str) -> bytes:
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidTokenError("it is too long")
        try:
            signed = jws.extract_compact(token.encode("ascii"), registry=_REGISTRY)
            header = signed.headers()
            if set(header) != {"alg", "typ", "kid"} or header["typ"] != TYPE:
                raise InvalidTokenError("its header is not that of an access token")
            key = self._keys.get(header["kid"])
            if key is None:
                raise InvalidTokenError("its key is not known")
            if not jws.validate_compact(signed, key, registry=_REGISTRY):
                raise InvalidTokenError("its signature is wrong")
        # A deeply nested header makes the JSON reader give up with RecursionError.
        except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InvalidTokenError("it is not a signed token of this platform") from error
        return signed.payload or b""


def verify_token(
    token: str, jwks: Mapping[str, Any], now_unix_s: int, *, audience: str, issuer: str
) -> Claims:
    """Verify one token against a JWKS; raise `InvalidTokenError` or `ExpiredTokenError`."""
    return TokenVerifier(jwks, audience=audience, issuer=issuer).verify(token, now_unix_s)


def _public_keys(jwks: Mapping[str, Any]) -> dict[str, OKPKey]:
    found: dict[str, OKPKey] = {}
    for jwk in jwks.get("keys", ()):
        if jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519" or jwk.get("alg", ALGORITHM) != ALGORITHM:
            continue
        key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": jwk["x"]})
        found[str(jwk.get("kid") or key.thumbprint())] = key
    return found


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
