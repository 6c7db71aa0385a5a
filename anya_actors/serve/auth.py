"""Who is asking, and what their token lets them do."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, Protocol

from anya_actors.domain.hsm import scopes
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.clock import Clock
from anya_actors.serve.errors import MissingScopeError, MissingTokenError, RateLimitError
from anya_actors.serve.revocation import RevocationSource, RevokedTokens
from anya_actors.serve.settings import DoorSettings
from anya_actors.services.tokens import Claims, ExpiredTokenError, InvalidTokenError, TokenVerifier

CACHED_TOKENS: Final = 4096
CACHED_SUBJECTS: Final = 4096
# An unknown or forged key must not make every request ask the HSM for its keys.
JWKS_MIN_AGE_S: Final = 5.0
# Everyone whose token is not known yet waits for the answer.
JWKS_TIMEOUT_S: Final = 5.0


class JwksSource(Protocol):
    """Where the public keys of tokens come from."""

    async def jwks(self) -> Mapping[str, Any]:
        """A JSON Web Key Set (RFC 7517, section 5). Raises `UnavailableError`."""


class HsmJwks:
    """The HSM's own public keys."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors

    async def jwks(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = await self._actors.call(HSM, "jwks", timeout_s=JWKS_TIMEOUT_S)
        return found


def allows(claims: Claims, scope: str) -> bool:
    """Whether the token has the scope, one that includes it, or admin."""
    return scopes.allows(claims.scopes, scope)


class Authenticator:
    """Verifies tokens, remembering each until it expires. One that was revoked is good nowhere."""

    def __init__(
        self, source: JwksSource, revocations: RevocationSource, clock: Clock, settings: DoorSettings
    ) -> None:
        self._source = source
        self._revoked = RevokedTokens(revocations, clock)
        self._clock = clock
        self._settings = settings
        self._jwks: Mapping[str, Any] | None = None
        self._verifier: TokenVerifier | None = None
        self._fetched_s = -math.inf
        self._asked_s = -math.inf
        self._verified: OrderedDict[bytes, Claims] = OrderedDict()
        self._lock = asyncio.Lock()

    async def jwks(self) -> Mapping[str, Any]:
        """The key set as last fetched, renewed when it is due."""
        await self._keys_younger_than(self._settings.jwks_refresh_s)
        return self._jwks or {"keys": []}

    async def authenticate(self, token: str) -> Claims:
        """What the token says.

        Raises `InvalidTokenError`, `ExpiredTokenError`, `RevokedTokenError`, `UnavailableError`.
        """
        claims = await self.genuine(token)
        await self._revoked.check(claims)
        return claims

    async def check_revoked(self, claims: Claims) -> None:
        """Return if a token that was good still is not revoked; raises what `authenticate` raises."""
        await self._revoked.check(claims)

    async def close(self) -> None:
        """Ask the HSM no more."""
        await self._revoked.close()

    async def genuine(self, token: str) -> Claims:
        """What the token says, be it revoked or not; raises the rest of what `authenticate` raises."""
        age_s = self._clock.monotonic_s() - self._fetched_s
        # One asks; whoever is known already does not wait behind it.
        if age_s > self._settings.jwks_refresh_s and not self._lock.locked():
            await self._keys_younger_than(self._settings.jwks_refresh_s)
        # The digest stands for the token, so that no usable token lies in this process's memory.
        name = hashlib.sha256(token.encode(errors="replace")).digest()
        claims = self._verified.get(name)
        now_unix_s = self._clock.now_unix_ms() // 1000
        if claims is None:
            claims = await self._verify(token, now_unix_s)
            self._remember(name, claims)
        elif claims.expires_unix_s <= now_unix_s:
            del self._verified[name]
            raise ExpiredTokenError(claims.expires_unix_s)
        return claims

    async def _verify(self, token: str, now_unix_s: int) -> Claims:
        verifier = await self._keys_younger_than(self._settings.jwks_refresh_s)
        try:
            return verifier.verify(token, now_unix_s)
        except InvalidTokenError:
            # The key may be younger than our copy of the set.
            renewed = await self._keys_younger_than(JWKS_MIN_AGE_S)
            if renewed is verifier:
                raise
        return renewed.verify(token, now_unix_s)

    def _remember(self, name: bytes, claims: Claims) -> None:
        self._verified[name] = claims
        if len(self._verified) > CACHED_TOKENS:
            self._verified.popitem(last=False)

    async def _keys_younger_than(self, age_s: float) -> TokenVerifier:
        async with self._lock:
            verifier = self._verifier
            now_s = self._clock.monotonic_s()
            if verifier is not None and (
                now_s - self._fetched_s <= age_s or now_s - self._asked_s <= JWKS_MIN_AGE_S
            ):
                return verifier
            try:
                jwks = await self._source.jwks()
            except AnyaError as error:
                if verifier is None:
                    raise UnavailableError("the key set that verifies tokens", error.code) from error
                # Old keys still prove what they proved; ask again after the short interval.
                return verifier
            finally:
                self._asked_s = self._clock.monotonic_s()
            self._fetched_s = self._clock.monotonic_s()
            if verifier is None or jwks != self._jwks:
                self._jwks = jwks
                self._verified.clear()
                verifier = self._verifier = TokenVerifier(
                    jwks, audience=self._settings.audience, issuer=self._settings.issuer
                )
            return verifier


class RateLimiter:
    """A token bucket for each subject, the longest unused forgotten first."""

    def __init__(self, clock: Clock, requests_per_s: float, burst: int) -> None:
        self._clock = clock
        self._rate = requests_per_s
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, subject: str) -> None:
        """Take one request of the subject's share; raise `RateLimitError`."""
        now_s = self._clock.monotonic_s()
        left, filled_s = self._buckets.pop(subject, (self._burst, now_s))
        left = min(self._burst, left + (now_s - filled_s) * self._rate)
        allowed = left >= 1
        self._buckets[subject] = (left - 1 if allowed else left, now_s)
        if len(self._buckets) > CACHED_SUBJECTS:
            self._buckets.popitem(last=False)
        if not allowed:
            raise RateLimitError(self._rate, math.ceil((1 - left) / self._rate))


def bearer_token(authorization: str | None) -> str:
    """The token of an Authorization header (RFC 6750, section 2.1); raise `MissingTokenError`."""
    if authorization is None:
        raise MissingTokenError
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise MissingTokenError
    return token


def check_scope(claims: Claims, *any_of: str) -> None:
    """Return if the token allows one of the scopes, else raise `MissingScopeError` of the first."""
    if not any(allows(claims, scope) for scope in any_of):
        raise MissingScopeError(any_of[0])
