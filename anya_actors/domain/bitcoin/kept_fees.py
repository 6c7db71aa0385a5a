"""What a fee estimator learned, as bytes that outlive the node (Core's ``fee_estimates.dat``).

The layout is our own: a SHA-256 over the rest, then the record. What a file says is used only
when it is whole, fits this version's buckets, and is young enough to say something of today.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Final

import msgspec

from anya_actors.domain.encoding import Schema, UnreadableRecordError
from anya_actors.domain.machine import AnyaError

MAX_AGE_MS: Final = 60 * 3600 * 1000
"""Older ones are refused, as by Core."""
_CHECKSUM_BYTES: Final = 32


class DamagedFeeEstimatesError(AnyaError):
    """The kept fee estimates are not what was written."""

    code = "damaged-fee-estimates"
    message = "the kept fee estimates cannot be used: {}"
    remedy = "Estimates begin anew and the file is written again; nothing else depends on it."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class StaleFeeEstimatesError(AnyaError):
    """The kept fee estimates are from too long ago. Age in hours."""

    code = "stale-fee-estimates"
    message = "the kept fee estimates are {} hours old; {} are the most"
    remedy = "Estimates begin anew and the file is written again; nothing else depends on it."

    def __init__(self, age_hours: int, most_hours: int) -> None:
        super().__init__(age_hours, most_hours)


class KeptHorizon(msgspec.Struct, frozen=True):
    """One horizon's counts, faded to the best height, per bucket and per period."""

    scale: int
    decay: float
    confirmed: list[float]
    feerates: list[float]
    in_time: list[list[float]]
    failed: list[list[float]]

    def verify_fits(self, scale: int, decay: float, periods: int, buckets: int) -> None:
        """Raise `DamagedFeeEstimatesError` unless it was counted in the same way as ours."""
        if self.scale != scale or self.decay != decay:
            raise DamagedFeeEstimatesError("it was counted with another scale or decay")
        if len(self.in_time) != periods or len(self.failed) != periods:
            raise DamagedFeeEstimatesError("it has another number of periods")
        rows = (self.confirmed, self.feerates, *self.in_time, *self.failed)
        if any(len(row) != buckets for row in rows):
            raise DamagedFeeEstimatesError("it has another number of buckets")
        if not all(_are_counts(row) for row in rows):
            raise DamagedFeeEstimatesError("it holds what is no count")


class KeptEstimates(msgspec.Struct, frozen=True):
    """All of it. ``first_height`` to ``last_height`` are the blocks that it rests on."""

    written_unix_ms: int
    best_height: int
    first_height: int
    last_height: int
    horizons: dict[str, KeptHorizon]


_SCHEMA: Final[Schema[KeptEstimates]] = Schema("fee estimates", KeptEstimates)


def _are_counts(row: Sequence[float]) -> bool:
    return all(math.isfinite(count) and count >= 0 for count in row)


def encode_estimates(kept: KeptEstimates) -> bytes:
    """As bytes, their checksum in front."""
    data = _SCHEMA.encode(kept)
    return hashlib.sha256(data).digest() + data


def read_estimates(data: bytes, now_unix_ms: int) -> KeptEstimates:
    """Read what `encode_estimates` gave.

    Raises `DamagedFeeEstimatesError` and `StaleFeeEstimatesError`.
    """
    checksum, record = data[:_CHECKSUM_BYTES], data[_CHECKSUM_BYTES:]
    if hashlib.sha256(record).digest() != checksum:
        raise DamagedFeeEstimatesError("its checksum does not match")
    try:
        kept = _SCHEMA.decode(record)
    except UnreadableRecordError as error:
        raise DamagedFeeEstimatesError(str(error)) from error
    if not 0 <= kept.first_height <= kept.last_height <= kept.best_height:
        raise DamagedFeeEstimatesError("its range of heights is invalid")
    age_ms = now_unix_ms - kept.written_unix_ms
    if age_ms > MAX_AGE_MS:
        raise StaleFeeEstimatesError(age_ms // 3_600_000, MAX_AGE_MS // 3_600_000)
    return kept
