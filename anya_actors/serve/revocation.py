"""What a door knows of revoked tokens, and for how long it may believe that."""

from __future__ import annotations

import asyncio
import math
from typing import Final, Protocol

from anya_actors.domain.hsm.revocations import LEASE_S, Revocations
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.clock import Clock
from anya_actors.services.tokens import Claims, RevokedTokenError

# Time for a dead HSM's successor to come to life before callers hear of it.
ATTEMPTS: Final = 3


class RevocationSource(Protocol):
    """Where the list of revoked tokens comes from."""

    async def revocations(self, known: int) -> Revocations | None:
        """The list, or None if it still is the version that is known. Raises `UnavailableError`."""


class HsmRevocations:
    """The HSM's own list."""

    def __init__(self, actors: Actors) -> None:
        self._actors = actors

    async def revocations(self, known: int) -> Revocations | None:
        found: Revocations | None = await self._actors.call(HSM, "revocations", known, timeout_s=LEASE_S)
        return found


class RevokedTokens:
    """The list, asked for again before its lease is over; without a valid one, no token is good.

    The lease counts from the question, so an answer on its way never lengthens it (see
    ``domain.hsm.revocations``).
    """

    def __init__(self, source: RevocationSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._list = Revocations(version=-1)
        self._asked_s = -math.inf
        self._renewal: asyncio.Task[None] | None = None

    async def check(self, claims: Claims) -> None:
        """Return if the token is not revoked; raise `RevokedTokenError` or `UnavailableError`."""
        age_s = self._age_s()
        if age_s > LEASE_S / 2:  # ahead of time: who asks for something meanwhile does not wait for it
            renewal = self._renewal or self._begin()
            if age_s > LEASE_S:
                await asyncio.shield(renewal)
        if self._list.covers(claims.token_id, claims.names, claims.issued_unix_s):
            raise RevokedTokenError

    async def close(self) -> None:
        """Ask no more."""
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)

    def _begin(self) -> asyncio.Task[None]:
        self._renewal = asyncio.create_task(self._renew())
        self._renewal.add_done_callback(self._end)
        return self._renewal

    def _end(self, renewal: asyncio.Task[None]) -> None:
        self._renewal = None
        if not renewal.cancelled():
            renewal.exception()  # who waited has heard it; who comes next asks again

    async def _renew(self) -> None:
        """Ask until an answer came within the lease."""
        cause = "it answers too slowly"
        for _ in range(ATTEMPTS):
            asked_s = self._clock.monotonic_s()
            try:
                found = await self._source.revocations(self._list.version)
            except AnyaError as error:
                cause = error.code
                continue
            self._list, self._asked_s = found or self._list, asked_s
            if self._age_s() <= LEASE_S:
                return
        raise UnavailableError("the list of revoked tokens", cause)

    def _age_s(self) -> float:
        return self._clock.monotonic_s() - self._asked_s
