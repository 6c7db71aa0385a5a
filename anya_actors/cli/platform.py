"""What the launcher needs of a platform, and the one place where it gets it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from anya_actors.bootstrap.addresses import Addresses
from anya_actors.config import Settings
from anya_actors.domain.machine import AnyaError

Report = Callable[[str, str], None]
"""Told of each stage: its stable name, and a sentence for a person."""


class Platform(Protocol):
    """A platform that serves, seen from the process that started it."""

    @property
    def addresses(self) -> Addresses:
        """Where it listens."""

    async def issue_token(self, subject: str, scopes: tuple[str, ...], ttl_s: int) -> str:
        """An access token of the platform's HSM."""

    async def unseal(self) -> None:
        """Have the HSM read its passphrase, if it was sealed."""

    async def wait_failed(self) -> AnyaError:
        """Return when the platform has given up: its root supervisor escalated."""

    async def stop(self) -> None:
        """Stop everything in the reverse order of its start. Nothing acknowledged is lost."""


StartPlatform = Callable[[Settings, Report], Awaitable[Platform]]
"""Starts a platform in the Ray that this process is connected to."""


async def start_platform(settings: Settings, report: Report) -> Platform:
    """Start the platform of `anya_actors.bootstrap`."""
    # Not before: it imports Ray, which reads its environment then.
    from anya_actors.bootstrap import platform

    return await platform.start_platform(settings, report)
