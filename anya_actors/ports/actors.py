"""Reaching another actor by its name, wherever it lives and however often it died."""

from __future__ import annotations

from typing import Any, Final, Protocol

from anya_actors.domain.machine import AnyaError

COORDINATOR: Final = "coordinator"
"""The one actor whose name has no key: supervisor, registry and event bus."""
HSM: Final = "hsm/main"
"""The one that keeps the keys."""


class UnknownActorError(AnyaError):
    """No actor of this kind exists on this platform, or the key is not one it accepts."""

    code = "unknown-actor"
    message = "there is no actor {}"
    remedy = "GET /api/v1/system lists the kinds and the living actors."

    def __init__(self, actor: str) -> None:
        super().__init__(actor)


class UnknownMethodError(AnyaError):
    """The actor does not serve this method."""

    code = "unknown-method"
    message = "{} serves no method {}"
    remedy = "Correct the method's name."

    def __init__(self, actor: str, method: str) -> None:
        super().__init__(actor, method)


class CallTimeoutError(AnyaError):
    """The call did not finish in its time. It may still happen."""

    code = "call-timeout"
    message = "{} did not answer {} within {} s"
    remedy = "Send the call again with the same message id; it is applied once."

    def __init__(self, actor: str, method: str, timeout_s: float) -> None:
        super().__init__(actor, method, timeout_s)


class Actors(Protocol):
    """Calls actors by name, ``kind/key``. The first call to a name activates the actor."""

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        """Call ``method`` and return its answer or raise its error.

        A call with a ``message_id`` mutates, is passed that id as a keyword, and is sent again
        when the actor dies in the middle: it is applied once. A call without one only reads, and
        is sent again likewise. Raises `UnknownActorError`, `UnknownMethodError`,
        `OverloadedError`, `CallTimeoutError`, `UnavailableError`, or what the method raises.
        """
