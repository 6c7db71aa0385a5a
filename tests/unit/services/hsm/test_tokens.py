"""Access tokens: what is accepted, and every way in which one is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.tokens import (
    ExpiredTokenError,
    InvalidTokenError,
    TokenClaims,
    TokenVerifier,
    check_scopes,
    public_jwk,
    sign_token,
    verify_token,
)
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm

SEED = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
JWKS = {"keys": [public_jwk(PUBLIC)]}
NOW = 1_700_000_000


def claims(**changed: Any) -> TokenClaims:
    facts: dict[str, Any] = {
        "iss": "anya", "aud": "anya-api", "sub": "alice", "scope": "bitcoin system",
        "iat": NOW, "exp": NOW + 60, "jti": "t1",
    }  # fmt: skip
    return TokenClaims(**{**facts, **changed})


def check(token: str, now: int = NOW) -> Any:
    return verify_token(token, JWKS, now, audience="anya-api", issuer="anya")


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: dict[str, Any], signature: bytes | None = None, payload: bytes | None = None) -> str:
    body = payload if payload is not None else json.dumps({"iss": "anya", "sub": "mallory"}).encode()
    signed = f"{b64(json.dumps(header).encode())}.{b64(body)}"
    if signature is None:
        signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(signed.encode())
    return f"{signed}.{b64(signature)}"


KID = public_jwk(PUBLIC)["kid"]
GOOD_HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": KID}


def test_a_genuine_token_says_who_and_what() -> None:
    found = check(sign_token(claims(), SEED, PUBLIC))
    assert (found.subject, found.scopes) == ("alice", {"bitcoin", "system"})
    assert (found.issued_unix_s, found.expires_unix_s, found.token_id) == (NOW, NOW + 60, "t1")


def test_the_same_claims_give_the_same_token() -> None:
    assert sign_token(claims(), SEED, PUBLIC) == sign_token(claims(), SEED, PUBLIC)


def test_the_header_has_the_type_of_an_access_token() -> None:
    header = sign_token(claims(), SEED, PUBLIC).split(".")[0]
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == GOOD_HEADER


def test_the_key_id_is_the_thumbprint_of_rfc_8037_appendix_a3() -> None:
    public = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert public_jwk(public)["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_an_expired_token_is_refused_as_expired() -> None:
    with pytest.raises(ExpiredTokenError):
        check(sign_token(claims(), SEED, PUBLIC), NOW + 60)


@pytest.mark.parametrize(
    "changed",
    [{"iss": "other"}, {"aud": "other"}, {"aud": ["a", "b"]}, {"iat": NOW + 60}, {"nbf": NOW + 60}],
)
def test_a_token_for_another_place_or_time_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError):
        check(sign_token(claims(**changed), SEED, PUBLIC))


def test_a_token_of_another_key_is_refused() -> None:
    other = bytes(reversed(SEED))
    public = Ed25519PrivateKey.from_private_bytes(other).public_key().public_bytes_raw()
    with pytest.raises(InvalidTokenError, match="not known"):
        check(sign_token(claims(), other, public))
    with pytest.raises(InvalidTokenError, match="signature"):
        check(sign_token(claims(), other, PUBLIC))


def test_a_changed_payload_is_refused() -> None:
    header, _, signature = sign_token(claims(), SEED, PUBLIC).split(".")
    with pytest.raises(InvalidTokenError, match="signature"):
        check(f"{header}.{b64(json.dumps({'sub': 'root'}).encode())}.{signature}")


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "at+jwt", "kid": KID},
        {"alg": "HS256", "typ": "at+jwt", "kid": KID},
        {"alg": "Ed25519", "typ": "at+jwt", "kid": KID},
        {"alg": "EdDSA", "typ": "JWT", "kid": KID},
        {"alg": "EdDSA", "typ": "at+jwt"},
        {"alg": "EdDSA", "kid": KID},
        {**GOOD_HEADER, "jwk": public_jwk(PUBLIC)},
        {**GOOD_HEADER, "crit": ["x"], "x": 1},
        {**GOOD_HEADER, "kid": ["a"]},
        {**GOOD_HEADER, "alg": 7},
        {},
    ],
)
def test_a_header_that_differs_in_anything_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(InvalidTokenError):
        check(forged(header))


def test_the_public_key_is_not_taken_for_a_shared_secret() -> None:
    header = {"alg": "HS256", "typ": "at+jwt", "kid": KID}
    body = b64(json.dumps({"sub": "root"}).encode())
    signed = f"{b64(json.dumps(header).encode())}.{body}"
    mac = hmac.digest(PUBLIC, signed.encode(), hashlib.sha256)
    with pytest.raises(InvalidTokenError):
        check(f"{signed}.{b64(mac)}")


def test_an_unsigned_token_is_refused() -> None:
    with pytest.raises(InvalidTokenError):
        check(forged(GOOD_HEADER, signature=b""))


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"{", b"[" * 4000, b'{"sub":1}', json.dumps({"iss": "anya"}).encode()]
)
def test_a_signed_payload_without_the_claims_is_refused(payload: bytes) -> None:
    with pytest.raises(InvalidTokenError):
        check(forged(GOOD_HEADER, payload=payload))


@given(st.one_of(st.text(max_size=300), st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*")))
def test_whatever_is_sent_is_refused_in_our_own_words(text: str) -> None:
    with pytest.raises(InvalidTokenError):
        check(text)


def test_a_token_longer_than_the_limit_is_not_even_read() -> None:
    with pytest.raises(InvalidTokenError, match="too long"):
        check("a" * 8193)


def test_a_key_set_with_foreign_keys_keeps_only_ours() -> None:
    mixed = {"keys": [{"kty": "oct", "k": "AA", "kid": "x"}, {"kty": "RSA"}, *JWKS["keys"]]}
    verifier = TokenVerifier(mixed, audience="anya-api", issuer="anya")
    assert verifier.verify(sign_token(claims(), SEED, PUBLIC), NOW).subject == "alice"


def test_scopes_are_checked_before_they_are_signed() -> None:
    assert check_scopes(["a", "b:read", "a"]) == ("a", "b:read")
    for wrong in ([], ["a b"], [""], ['a"'], ["é"]):
        with pytest.raises(InvalidInputError):
            check_scopes(wrong)


@pytest.mark.parametrize("error", [InvalidTokenError("it is too long"), ExpiredTokenError(7)])
def test_the_refusals_survive_pickling(error: Exception) -> None:
    assert pickle.loads(pickle.dumps(error)).args == error.args


# -- rotation of the key that signs ---------------------------------------------------------------


async def test_tokens_of_an_old_key_hold_until_it_is_revoked() -> None:
    clock = ManualClock()
    bench = LocalHsm(clock=clock)
    hsm = await bench.start()
    now_s = bench.clock.now_unix_ms() // 1000

    async def verifier() -> TokenVerifier:
        names = bench.settings
        return TokenVerifier(await hsm.jwks(), audience=names.audience, issuer=names.issuer)

    old = await hsm.issue_token("alice", ("system:read",), 600, message_id="t1")
    await hsm.rotate_token_key(message_id="r1")
    new = await hsm.issue_token("alice", ("system:read",), 600, message_id="t2")
    assert await hsm.issue_token("alice", ("system:read",), 600, message_id="t1") == old
    assert len((await hsm.jwks())["keys"]) == 2
    for token in (old, new):
        assert (await verifier()).verify(token, now_s).subject == "alice"
    for _ in range(2):
        await clock.pass_until(hsm.rotate_token_key(True, message_id="r2"))
    assert len((await hsm.jwks())["keys"]) == 1
    for token in (old, new):
        with pytest.raises(InvalidTokenError):
            (await verifier()).verify(token, now_s)
    latest = await hsm.issue_token("alice", ("system:read",), 600, message_id="t3")
    assert (await verifier()).verify(latest, now_s).subject == "alice"
    await bench.close()
