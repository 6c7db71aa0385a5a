"""Many operations of one kind by one key: permitted once, done in a row, one audit entry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any, Final, cast

import msgspec

from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.keys.algorithms import AEADS, check_algorithm
from anya_actors.domain.keys.operations import MAX_BATCH, PERMISSION_OF
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.clock import Clock
from anya_actors.ports.key_algorithms import CipherKey, KeyAlgorithms, KeyTree, MacKey, SigningKey
from anya_actors.services.hsm_session.allotments import Allotments
from anya_actors.services.hsm_session.holding import HeldKey, SessionKeys
from anya_actors.services.hsm_session.performing import as_kind, is_kind
from anya_actors.services.hsm_session.recording import REFUSALS, SessionRecords

SLICE: Final = 16
LONGEST_TURN_S: Final = 0.01

Begin = Callable[[HeldKey], Awaitable[Iterator[Any]]]
"""Makes, for a key, the iterator whose every step is one operation."""


def check_count(name: str, count: int) -> None:
    """Raise `InvalidInputError` for a batch of nothing, or of too much."""
    if not 1 <= count <= MAX_BATCH:
        raise InvalidInputError(name, f"send 1 to {MAX_BATCH}")


class Turn:
    """Lets health checks and what needs no key in between the operations of a long batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s = clock.monotonic_s()

    async def pause_if_long(self) -> None:
        """Let others in if the last pause was a while ago."""
        if self._clock.monotonic_s() - self._began_s >= LONGEST_TURN_S:
            await asyncio.sleep(0)
            self._began_s = self._clock.monotonic_s()


class Batches:
    """Each batch is done as a whole or not at all, by one version of its key.

    Where the key is rotated or configured while a batch runs, it is done again by what the key is
    then; nothing of the first time leaves this process.
    """

    def __init__(
        self,
        keys: SessionKeys,
        records: SessionRecords,
        allotments: Allotments,
        algorithms: KeyAlgorithms,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._records = records
        self._allotments = allotments
        self._algorithms = algorithms
        self._clock = clock

    async def sign(self, key: str, messages: Sequence[bytes], algorithm: str, version: int) -> list[bytes]:
        """The signature of each message."""

        async def begin(held: HeldKey) -> Iterator[bytes]:
            return _signatures(held, messages, algorithm)

        return await self._do(OperationRecord("sign", key, version, algorithm, count=len(messages)), begin)

    async def verify(
        self, key: str, messages: Sequence[bytes], signatures: Sequence[bytes], algorithm: str, version: int
    ) -> None:
        """Return if each signature is one of its message."""

        async def begin(held: HeldKey) -> Iterator[None]:
            if len(messages) != len(signatures):
                raise InvalidInputError("signatures", "send one for each message")
            facts = held.facts
            types, public_keys = repeat(facts.key_type), repeat(facts.public_key)
            return map(self._algorithms.verify, types, public_keys, messages, signatures, repeat(algorithm))

        await self._do(OperationRecord("verify", key, version, algorithm, count=len(messages)), begin)

    async def mac(self, key: str, messages: Sequence[bytes], algorithm: str, version: int) -> list[bytes]:
        """The code of each message."""

        async def begin(held: HeldKey) -> Iterator[bytes]:
            return map(as_kind(MacKey, held.facts, held.private).mac, messages, repeat(algorithm))

        return await self._do(OperationRecord("mac", key, version, algorithm, count=len(messages)), begin)

    async def encrypt(
        self, key: str, plaintexts: Sequence[bytes], algorithm: str, associated_data: bytes, version: int
    ) -> tuple[int, list[bytes]]:
        """The version that encrypts, and each ciphertext, all with the same associated data."""
        used = version

        async def begin(held: HeldKey) -> Iterator[bytes]:
            nonlocal used
            used = held.facts.version
            cipher = as_kind(CipherKey, held.facts, held.private)
            check_algorithm(held.facts.key_type, algorithm, "encrypt")
            nonces: Iterator[bytes] = repeat(b"")
            if algorithm in AEADS:
                nonces = iter(await self._allotments.take(held.facts, len(plaintexts)))
            return map(cipher.encrypt, plaintexts, repeat(algorithm), repeat(associated_data), nonces)

        record = OperationRecord("encrypt", key, version, algorithm, count=len(plaintexts))
        found = await self._do(record, begin)
        return used, found

    async def decrypt(
        self, key: str, ciphertexts: Sequence[bytes], algorithm: str, associated_data: bytes, version: int
    ) -> list[bytes]:
        """The plaintext of each ciphertext, all with the same associated data."""

        async def begin(held: HeldKey) -> Iterator[bytes]:
            cipher = as_kind(CipherKey, held.facts, held.private)
            return map(cipher.decrypt, ciphertexts, repeat(algorithm), repeat(associated_data))

        record = OperationRecord("decrypt", key, version, algorithm, count=len(ciphertexts))
        return await self._do(record, begin)

    async def _do(self, record: OperationRecord, begin: Begin) -> list[Any]:
        self._keys.check_open()
        began_s = self._clock.monotonic_s()
        found = None
        try:
            check_count("messages", record.count)
            async with self._records.order:
                while found is None:
                    needed = PERMISSION_OF[record.operation]
                    held = await self._keys.permitted(record.key, needed, (), record.key_version)
                    if not held.facts.encrypts and record.operation in ("sign", "mac", "encrypt"):
                        raise InvalidInputError("version", "this version only decrypts and verifies")
                    found = await self._attempt(held, begin)
        except REFUSALS as error:
            await self._records.refuse(error, record)
            raise
        done = msgspec.structs.replace(record, key_version=held.facts.version)
        await self._records.add(done, seconds=self._clock.monotonic_s() - began_s)
        return found

    async def _attempt(self, held: HeldKey, begin: Begin) -> list[Any] | None:
        """What each step gave; None if the key was changed meanwhile."""
        steps = await begin(held)
        found: list[Any] = []
        turn = Turn(self._clock)
        while self._keys.holds(held):
            part = list(islice(steps, SLICE))
            if not part:
                return found
            found += part
            await turn.pause_if_long()
        return None


def _signatures(held: HeldKey, messages: Sequence[bytes], algorithm: str) -> Iterator[bytes]:
    if is_kind(KeyTree, held.private):
        with cast(KeyTree, held.private).at(()) as key:
            yield from map(key.sign, messages, repeat(algorithm))
    else:
        signing = as_kind(SigningKey, held.facts, held.private)
        yield from map(signing.sign, messages, repeat(algorithm))
