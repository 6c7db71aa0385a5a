"""What a session did, told to the HSM's audit trail before anyone gets an answer."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import msgspec

from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.hsm.errors import (
    KeyExhaustedError,
    NonceLostError,
    OperationRefusedError,
    SessionClosedError,
    UnknownKeyError,
)
from anya_actors.domain.keys.algorithms import InvalidCiphertextError, InvalidSignatureError
from anya_actors.domain.keys.musig2 import InvalidContributionError
from anya_actors.domain.keys.musig2_signing import NonceReusedError
from anya_actors.domain.keys.operations import (
    OPERATION_OF,
    AgreeRequest,
    Answer,
    DecryptRequest,
    MacRequest,
    Request,
    SignRequest,
)
from anya_actors.domain.machine import AnyaError, InvalidInputError, NotSupportedError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness
from anya_actors.services.hsm_session.holding import SessionKeys

REFUSALS: Final = (
    InvalidCiphertextError,
    InvalidContributionError,
    InvalidInputError,
    InvalidSignatureError,
    KeyExhaustedError,
    NonceLostError,
    NonceReusedError,
    NotSupportedError,
    OperationRefusedError,
    UnknownKeyError,
)


class SessionRecords:
    """Makes the session's operations durable in the audit trail, in the order in which they were called.

    An operation holds ``order`` while it is done, and lets go of it when its record is next: records
    are then on their way together, and no operation overtakes a slower one before it. The HSM refuses
    those of a session that is over; ``end`` is then told why.
    """

    def __init__(
        self,
        session_id: str,
        keys: SessionKeys,
        end: Callable[[str], None],
        *,
        actors: Actors,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._session_id = session_id
        self._keys = keys
        self._end = end
        self._actors = actors
        self._clock = clock
        self._randomness = randomness
        self.order = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def audited(self, *records: OperationRecord) -> AsyncIterator[None]:
        """Make the records durable, with the outcome of the block, before its answer leaves."""
        self._keys.check_open()
        began_s = self._clock.monotonic_s()
        try:
            async with self.order:
                yield
        except REFUSALS as error:
            await self.refuse(error, *records)
            raise
        await self.add(*records, seconds=self._clock.monotonic_s() - began_s)

    async def refuse(self, error: AnyaError, *records: OperationRecord) -> None:
        """Return when it is durable that the operations were refused."""
        await self.add(*with_outcome(error, records))

    async def add(self, *records: OperationRecord, seconds: float = 0.0) -> None:
        """Return when the records are durable; raise `SessionClosedError`, `AuditUnavailableError`."""
        versioned = tuple(
            msgspec.structs.replace(
                each,
                key=each.key[:128],
                key_version=each.key_version or self._keys.newest_version(each.key),
                algorithm=each.algorithm[:32],
            )
            for each in records
        )
        try:
            arguments = (self._session_id, versioned, seconds)
            await self._actors.call(HSM, "append_audit", *arguments, message_id=self.fresh_id())
        except SessionClosedError as error:
            self._end(str(error.args[1]))
            raise
        self._keys.touch()

    def fresh_id(self) -> str:
        """A message id that nobody else has."""
        return f"{self._session_id}/{self._randomness.token_bytes(16).hex()}"


def records_of(requests: Sequence[Request], answers: Sequence[Answer] = ()) -> list[OperationRecord]:
    """One record for each operation, key, version and algorithm, that counts."""
    if not requests:
        return [OperationRecord("sign", "", count=0)]
    versions = [answer.version for answer in answers] or [request.version for request in requests]
    counts = Counter(
        (OPERATION_OF[type(request)], request.key, version, request.algorithm)
        for request, version in zip(requests, versions, strict=True)
    )
    return [OperationRecord(*facts, count=count) for facts, count in counts.items()]


def digest_of(request: Request) -> str:
    """Hex SHA-256 of what its approvers may name; empty for what they cannot."""
    match request:
        case SignRequest() | MacRequest():
            return hashlib.sha256(request.message).hexdigest()
        case DecryptRequest():
            return hashlib.sha256(request.ciphertext).hexdigest()
        case AgreeRequest():
            return hashlib.sha256(request.public_key).hexdigest()
    return ""


def with_outcome(error: AnyaError, records: Sequence[OperationRecord]) -> list[OperationRecord]:
    """The records of what was refused."""
    outcome = f"refused: {error.code}"
    return [msgspec.structs.replace(record, outcome=outcome) for record in records]


def counted(records: Sequence[OperationRecord]) -> list[OperationRecord]:
    """Records that differ in nothing as one that counts them."""
    return [msgspec.structs.replace(record, count=count) for record, count in Counter(records).items()]
