"""Tokens are verified once, remembered until they expire, and their keys are fetched rarely."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from anya_actors.domain.hsm.revocations import LEASE_S
from anya_actors.domain.machine import UnavailableError
from anya_actors.serve import auth
from anya_actors.serve.auth import Authenticator, HsmJwks, allows, bearer_token
from anya_actors.serve.errors import MissingTokenError
from anya_actors.serve.revocation import HsmRevocations
from anya_actors.serve.settings import DoorSettings
from anya_actors.services.tokens import Claims, ExpiredTokenError, InvalidTokenError


@pytest.fixture
def authenticator(platform: Any) -> Authenticator:
    settings = DoorSettings(audience="anya", issuer="anya-hsm")
    sources = HsmJwks(platform.actors), HsmRevocations(platform.actors)
    return Authenticator(*sources, platform.clock, settings)


def claims(*scopes: str) -> Claims:
    return Claims("alice", frozenset(scopes), 0, 1, "t")


@pytest.mark.parametrize(
    ("granted", "asked", "allowed"),
    [
        ("bitcoin:read", "bitcoin:read", True),
        ("bitcoin:write", "bitcoin:read", True),
        ("security", "security:read", True),
        ("admin", "events:read", True),
        ("bitcoin:read", "bitcoin:write", False),
        ("security:read", "security", False),
        ("security", "admin", False),
        ("system:read", "bitcoin:read", False),
    ],
)
def test_a_scope_allows_what_it_says(granted: str, asked: str, allowed: bool) -> None:
    assert allows(claims(granted), asked) is allowed


def test_the_scheme_of_the_header_is_read_in_any_case() -> None:
    assert bearer_token("bEaReR  abc ") == "abc"
    with pytest.raises(MissingTokenError):
        bearer_token(None)


async def test_a_token_is_good_until_it_expires(platform: Any, authenticator: Authenticator) -> None:
    token = platform.token("system:read", ttl_s=60)
    assert (await authenticator.authenticate(token)).subject == "alice"
    await platform.clock.advance(59)
    assert (await authenticator.authenticate(token)).subject == "alice"
    await platform.clock.advance(1)
    for _ in range(2):
        with pytest.raises(ExpiredTokenError):
            await authenticator.authenticate(token)


async def test_many_tokens_ask_for_the_keys_once(platform: Any, authenticator: Authenticator) -> None:
    for number in range(50):
        await authenticator.authenticate(platform.token("admin", subject=f"s{number}"))
    assert platform.hsm.jwks_asked == 1


async def test_the_cache_of_tokens_is_bounded(
    platform: Any, authenticator: Authenticator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "CACHED_TOKENS", 3)
    for number in range(10):
        await authenticator.authenticate(platform.token("admin", subject=f"s{number}"))
    assert len(authenticator._verified) == 3


async def test_no_token_lies_in_memory(platform: Any, authenticator: Authenticator) -> None:
    token = platform.token("admin")
    await authenticator.authenticate(token)
    assert token not in repr(vars(authenticator))


async def test_a_key_younger_than_our_copy_is_found(platform: Any, authenticator: Authenticator) -> None:
    await authenticator.authenticate(platform.token("admin"))
    platform.hsm.token_key = ed25519.Ed25519PrivateKey.generate()
    await platform.clock.advance(auth.JWKS_MIN_AGE_S + 1)
    assert (await authenticator.authenticate(platform.token("admin"))).subject == "alice"
    assert platform.hsm.jwks_asked == 2


async def test_a_flood_of_forgeries_asks_for_the_keys_rarely(
    platform: Any, authenticator: Authenticator
) -> None:
    await authenticator.authenticate(platform.token("admin"))
    platform.hsm.token_key, genuine = ed25519.Ed25519PrivateKey.generate(), platform.hsm.token_key
    forgeries = [platform.token("admin", subject=f"s{number}") for number in range(20)]
    platform.hsm.token_key = genuine
    await platform.clock.advance(auth.JWKS_MIN_AGE_S + 1)
    for forgery in forgeries:
        with pytest.raises(InvalidTokenError):
            await authenticator.authenticate(forgery)
    assert platform.hsm.jwks_asked == 2


async def test_a_token_dies_with_its_key(platform: Any, authenticator: Authenticator) -> None:
    token = platform.token("admin", ttl_s=7200)
    await authenticator.authenticate(token)
    platform.hsm.token_key = ed25519.Ed25519PrivateKey.generate()
    await platform.clock.advance(301)
    with pytest.raises(InvalidTokenError):
        await authenticator.authenticate(token)


async def test_tokens_are_verified_without_the_hsm_for_as_long_as_the_list_of_revoked_ones_is_believed(
    platform: Any, authenticator: Authenticator
) -> None:
    token = platform.token("admin", ttl_s=7200)
    await authenticator.authenticate(token)
    platform.actors.remove("hsm/main")
    await platform.clock.advance(LEASE_S)
    assert (await authenticator.authenticate(token)).subject == "alice"
    await platform.clock.advance(0.1)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="the list of revoked tokens"):
            await authenticator.authenticate(token)
    platform.actors.place("hsm/main", platform.hsm)
    assert (await authenticator.authenticate(token)).subject == "alice"


async def test_tokens_are_verified_by_old_keys_while_the_hsm_gives_none(
    platform: Any, authenticator: Authenticator
) -> None:
    token = platform.token("admin", ttl_s=7200)
    await authenticator.authenticate(token)

    async def jwks() -> dict[str, Any]:
        raise UnavailableError("hsm/main", "it is sealed")

    platform.hsm.jwks = jwks
    await platform.clock.advance(301)
    assert (await authenticator.authenticate(token)).subject == "alice"


async def test_forgeries_do_not_wait_for_an_hsm_that_is_down_one_after_the_other(
    platform: Any, authenticator: Authenticator
) -> None:
    # Each question to it waits until its time is up, and everyone waits behind the question.
    await authenticator.authenticate(platform.token("admin"))
    asked = 0

    async def jwks() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        raise UnavailableError("hsm/main", "it is restarting")

    platform.hsm.jwks = jwks
    await platform.clock.advance(auth.JWKS_MIN_AGE_S + 1)
    for number in range(20):
        with pytest.raises(InvalidTokenError):
            await authenticator.authenticate(f"forgery.number.{number}")
    assert asked == 1
    await platform.clock.advance(auth.JWKS_MIN_AGE_S + 1)
    with pytest.raises(InvalidTokenError):
        await authenticator.authenticate("forgery")
    assert asked == 2


async def test_a_known_caller_does_not_wait_for_an_hsm_that_does_not_answer(
    platform: Any, authenticator: Authenticator
) -> None:
    token = platform.token("admin", ttl_s=7200)
    await authenticator.authenticate(token)
    answer = asyncio.Event()

    async def jwks() -> dict[str, Any]:
        await answer.wait()
        raise UnavailableError("hsm/main", "it is restarting")

    platform.hsm.jwks = jwks
    await platform.clock.advance(301)
    asking = asyncio.create_task(authenticator.authenticate(token))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert (await authenticator.authenticate(token)).subject == "alice"
    answer.set()
    assert (await asking).subject == "alice"


async def test_without_any_keys_nobody_is_let_in(platform: Any, authenticator: Authenticator) -> None:
    platform.actors.remove("hsm/main")
    with pytest.raises(UnavailableError):
        await authenticator.authenticate(platform.token("admin"))
