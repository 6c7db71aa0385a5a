"""Nonces for authenticated encryption, out of what the HSM allotted to this session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.hsm.parcel import ParcelKey
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.randomness import Randomness

SMALLEST: Final = 1024
LARGEST: Final = 64 * 1024
NONCE_BYTES: Final = 12


@dataclass(slots=True)
class _Allotment:
    next: int = 0
    end: int = 0
    size: int = SMALLEST


class Allotments:
    """Encryptions that this process may still make, for each version of a key.

    The HSM counts an allotment as used before it gives it, so no counter comes twice, whichever
    process dies when; what a dead process had left is skipped. Each is double the one before it,
    up to a limit: who encrypts much seldom waits for one, who encrypts once skips few.
    """

    def __init__(self, session_id: str, actors: Actors, randomness: Randomness) -> None:
        self._session_id = session_id
        self._actors = actors
        self._randomness = randomness
        self._left: dict[tuple[str, int], _Allotment] = {}
        self._asking = asyncio.Lock()

    async def nonce(self, facts: ParcelKey) -> bytes:
        """12 bytes that no other encryption by this version has: a counter, or drawn.

        Raises `KeyExhaustedError` once the version has made the encryptions that it may make.
        """
        return (await self.take(facts, 1))[0]

    async def take(self, facts: ParcelKey, count: int) -> list[bytes]:
        """As `nonce`, for ``count`` encryptions; what was taken before a refusal is skipped."""
        found: list[bytes] = []
        while len(found) < count:
            allotment = await self._allotment((facts.name, facts.version))
            first = allotment.next
            allotment.next = end = min(allotment.end, first + count - len(found))
            if facts.policy.counter_nonces:
                found += [number.to_bytes(NONCE_BYTES, "big") for number in range(first, end)]
            else:
                drawn = self._randomness.token_bytes(NONCE_BYTES * (end - first))
                found += [drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)]
        return found

    def forget(self, key: str) -> None:
        """Ask anew for the allotments of a key that has changed."""
        for place in [place for place in self._left if place[0] == key]:
            del self._left[place]

    async def _allotment(self, place: tuple[str, int]) -> _Allotment:
        """One with at least one encryption left. Whoever gets it takes its part before any await."""
        left = self._left.get(place)
        if left is not None and left.next < left.end:
            return left
        async with self._asking:
            left = self._left.get(place, _Allotment())
            if left.next >= left.end:
                first, end = await self._actors.call(HSM, "allot_nonces", self._session_id, *place, left.size)
                left = self._left[place] = _Allotment(first, end, min(LARGEST, 2 * left.size))
            return left
