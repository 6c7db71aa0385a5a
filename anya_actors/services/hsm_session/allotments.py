"""Nonces for authenticated encryption, out of what the HSM allotted to this session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from anya_actors.domain.hsm.parcel import ParcelKey
from anya_actors.ports.actors import Actors
from anya_actors.ports.randomness import Randomness

HSM: Final = "hsm/main"
SIZE: Final = 1024


@dataclass(slots=True)
class _Allotment:
    next: int
    end: int


class Allotments:
    """Encryptions that this process may still make, for each version of a key.

    The HSM counts an allotment as used before it gives it, so no counter comes twice, whichever
    process dies when; what a dead process had left is skipped.
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
        place = (facts.name, facts.version)
        allotment = self._left.get(place)
        if allotment is None or allotment.next >= allotment.end:
            async with self._asking:
                allotment = self._left.get(place)
                if allotment is None or allotment.next >= allotment.end:
                    arguments = (self._session_id, *place, SIZE)
                    first, end = await self._actors.call(HSM, "allot_nonces", *arguments)
                    allotment = self._left[place] = _Allotment(first, end)
        number, allotment.next = allotment.next, allotment.next + 1
        if facts.policy.counter_nonces:
            return number.to_bytes(12, "big")
        return self._randomness.token_bytes(12)

    def forget(self, key: str) -> None:
        """Ask anew for the allotments of a key that has changed."""
        for place in [place for place in self._left if place[0] == key]:
            del self._left[place]
