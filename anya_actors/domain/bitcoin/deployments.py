"""Soft forks of regtest: buried ones by height, signalled ones by the state machine of BIP9."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from types import MappingProxyType
from typing import Final

from anya_actors.domain.bitcoin.block_tree import BlockNode

REGTEST_BURIED: Final[Mapping[str, int]] = MappingProxyType(
    {"bip34": 1, "bip66": 1, "bip65": 1, "csv": 1, "segwit": 0}
)
"""The first height at which each rule holds (Core, ``kernel/chainparams.cpp``)."""

_TOP_BITS_MASK, _TOP_BITS = 0xE0000000, 0x20000000


class Status(enum.Enum):
    """How far a signalled soft fork has come, in Core's words."""

    DEFINED = "defined"
    STARTED = "started"
    LOCKED_IN = "locked_in"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Deployment:
    """A soft fork that blocks signal, starting with the first period and never given up."""

    bit: int
    period: int
    threshold: int


TESTDUMMY: Final = Deployment(bit=28, period=144, threshold=108)


@dataclass(frozen=True, slots=True)
class Signalling:
    """The state at one block. ``blocks`` says of each block of its period whether it signalled."""

    status: Status
    since_height: int
    next_status: Status
    active_height: int | None
    blocks: tuple[bool, ...]
    threshold: int | None

    @property
    def is_counting(self) -> bool:
        return self.status in (Status.STARTED, Status.LOCKED_IN)


def _signals(node: BlockNode, deployment: Deployment) -> bool:
    version = node.header.version & 0xFFFFFFFF
    return version & _TOP_BITS_MASK == _TOP_BITS and bool(version >> deployment.bit & 1)


def _locked_at(branch: list[BlockNode], deployment: Deployment) -> int | None:
    """The first height of the period after the one in which enough blocks signalled."""
    period = deployment.period
    # The first period only defines the deployment: it cannot lock it in.
    for start in range(period, len(branch) - period + 1, period):
        if sum(_signals(node, deployment) for node in branch[start : start + period]) >= deployment.threshold:
            return start + period
    return None


def signalling_of(node: BlockNode, deployment: Deployment) -> Signalling:
    """The state for this block and for the one after it (BIP9: it changes at whole periods only)."""
    branch = list(node.branch())[::-1]
    period = deployment.period
    locked_at = _locked_at(branch, deployment)

    def status_at(height: int) -> tuple[Status, int]:
        if height < period:
            return Status.DEFINED, 0
        if locked_at is None or height < locked_at:
            return Status.STARTED, period
        if height < locked_at + period:
            return Status.LOCKED_IN, locked_at
        return Status.ACTIVE, locked_at + period

    status, since = status_at(node.height)
    following, following_since = status_at(node.height + 1)
    counted = islice(branch, node.height - node.height % period, None)
    return Signalling(
        status,
        since,
        following,
        following_since if following is Status.ACTIVE else None,
        tuple(_signals(found, deployment) for found in counted),
        deployment.threshold if status is Status.STARTED else None,
    )
