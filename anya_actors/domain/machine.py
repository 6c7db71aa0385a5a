"""The four words every rule is written in: Event, Command, Step and AnyaError."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar

import msgspec

S = TypeVar("S")


class Event(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Something that happened, in the past tense: ``FundingConfirmed``. What ``step`` takes."""


class Command(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """Something owed to the outside, in the imperative: ``BroadcastFunding``. What ``step`` gives.

    A command is stored with the state that owes it and performed until it is done, so performing
    it twice must have the effect of performing it once.
    """


class SystemEvent(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """A fact published on the event bus: ``BitcoinTransactionSeen``. Committed with the state."""


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """The outcome of one event: the next state, what it owes, and what the world may know."""

    state: S
    commands: tuple[Command, ...] = ()
    events: tuple[SystemEvent, ...] = ()


class AnyaError(Exception):
    """The root of every exception of this package.

    A subclass names its facts in a typed ``__init__`` and hands all of them to
    ``super().__init__``: so it survives the pickling between two Ray processes. ``message`` is a
    format string over those facts, ``remedy`` tells the reader what to do about it, and ``code``
    is the stable word that HTTP problem documents carry.
    """

    code: ClassVar[str] = "internal-error"
    message: ClassVar[str] = "{}"
    remedy: ClassVar[str] = "Look into the platform's log and report what you find."

    def __str__(self) -> str:
        return f"{self.message.format(*self.args)}. {self.remedy}"


class IllegalTransitionError(AnyaError):
    """An event that the state machine does not accept in its present phase."""

    code = "illegal-transition"
    message = "{1} is not legal in {0}"
    remedy = "Read the present state and send what it allows."

    def __init__(self, phase: str, event: str) -> None:
        super().__init__(phase, event)


class NotSupportedError(AnyaError):
    """A thing that this platform does not do, said plainly instead of pretended."""

    code = "not-supported"
    message = "{} is not supported: {}"
    remedy = "The README lists what is supported."

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)


class InvalidInputError(AnyaError):
    """Input that can never be accepted, with the field at fault."""

    code = "invalid-input"
    message = "{} is not valid: {}"
    remedy = "Correct the value and send it again."

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)


class OverloadedError(AnyaError):
    """A bounded queue is full; nothing was done."""

    code = "overloaded"
    message = "{} has {} calls waiting, its limit"
    remedy = "Send the call again after the time that Retry-After names."

    def __init__(self, actor: str, waiting: int, retry_after_s: int = 1) -> None:
        super().__init__(actor, waiting, retry_after_s)
        self.retry_after_s = retry_after_s


class UnavailableError(AnyaError):
    """Something needed is not there now; the same call may succeed later."""

    code = "unavailable"
    message = "{} is not available: {}"
    remedy = "Send the call again with the same message id; it is applied once."

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
