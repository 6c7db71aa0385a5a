"""Tokens that the HSM issues."""

from __future__ import annotations

import pytest

from anya_actors.domain.hsm.errors import SessionClosedError
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.durable import IdempotencyConflictError
from anya_actors.services.hsm import HsmService
from anya_actors.services.tokens import Claims, ExpiredTokenError, verify_token
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm


async def check(bench: LocalHsm, hsm: HsmService, token: str) -> Claims:
    now = bench.clock.now_unix_ms() // 1000
    return verify_token(token, await hsm.jwks(), now, audience="anya-api", issuer="anya")


async def test_an_issued_token_verifies_until_it_expires(bench: LocalHsm, hsm: HsmService) -> None:
    token = await hsm.issue_token("alice", ("system", "bitcoin:read"), 60, message_id="t1")
    claims = await check(bench, hsm, token)
    assert (claims.subject, claims.scopes) == ("alice", frozenset({"system", "bitcoin:read"}))
    assert claims.expires_unix_s - claims.issued_unix_s == 60
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(60)
    with pytest.raises(ExpiredTokenError):
        await check(bench, hsm, token)


async def test_a_repeated_request_gives_the_same_token_also_after_a_restart(
    bench: LocalHsm, hsm: HsmService
) -> None:
    token = await hsm.issue_token("alice", ("system",), 60, message_id="t1")
    other = await hsm.issue_token("alice", ("system",), 60, message_id="t2")
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(7)
    again = await bench.start()
    assert await again.issue_token("alice", ("system",), 60, message_id="t1") == token
    assert other != token
    issued = [e for e in await again.audit() if e.operation == "issue-token"]
    assert [(e.owner, e.key, e.outcome) for e in issued] == [("alice", "api-jwt", "ok")] * 2
    with pytest.raises(IdempotencyConflictError):
        await again.issue_token("alice", ("admin",), 60, message_id="t1")


async def test_the_key_set_survives_a_restart(bench: LocalHsm, hsm: HsmService) -> None:
    assert await (await bench.start()).jwks() == await hsm.jwks()
    assert set((await hsm.jwks())["keys"][0]) == {"kty", "crv", "x", "kid", "alg", "use"}


@pytest.mark.parametrize(
    ("subject", "scopes", "ttl_s"),
    [
        ("", ("system",), 60),
        ("a" * 129, ("system",), 60),
        ("bitcoin/main", ("system",), 60),
        ("hsm", ("system",), 60),
        ("alice\n", ("system",), 60),
        ("alice", (), 60),
        ("alice", ("two words",), 60),
        ("alice", ("system",), 0),
        ("alice", ("system",), 366 * 24 * 3600 + 1),
    ],
)
async def test_what_cannot_be_a_token_is_refused(
    hsm: HsmService, subject: str, scopes: tuple[str, ...], ttl_s: int
) -> None:
    with pytest.raises(InvalidInputError):
        await hsm.issue_token(subject, scopes, ttl_s, message_id="t1")
    assert (await hsm.audit())[-1].outcome == "refused: invalid-input"


async def test_no_session_gets_the_key_of_the_tokens(hsm: HsmService) -> None:
    with pytest.raises(InvalidInputError):
        await hsm.open_session("hsm", ("api-jwt",), message_id="m1")
    with pytest.raises(SessionClosedError):
        await hsm.release_keys("none", bytes(range(32)))
