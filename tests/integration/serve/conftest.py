"""A door that really listens, on a free port of loopback."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.domain.hsm.revocations import Revocations
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import Recorded
from anya_actors.serve.app import build_app
from anya_actors.serve.server import DoorServer
from anya_actors.serve.settings import DoorSettings, Listen
from anya_actors.serve.system_source import SystemSnapshot
from anya_actors.services.tokens import TokenClaims, public_jwk, sign_token
from anya_actors.testing.local_actors import LocalActors
from tests.integration.serve.vault_listener import Listener, listening


class LateClock(SystemClock):
    """The system's clock, which a test may set forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_unix_ms(self) -> int:
        return super().now_unix_ms() + self.ahead_ms


class Coordinator:
    """The event bus alone."""

    def __init__(self) -> None:
        self.bus = MemoryEventBus()
        self.published = 0

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        return await self.bus.events_after(cursor, limit, wait_s)

    async def events_head(self) -> int:
        return self.published

    async def publish(self, count: int = 1, size: int = 4) -> None:
        for _ in range(count):
            self.published += 1
            value = {"type": "PaymentSent", "txid": b"\xab" * size}
            record = msgspec.msgpack.encode((1, value))
            await self.bus.publish("bitcoin/main", [Recorded(self.published, record)])


class Bitcoin:
    """Answers when it is let."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()

    async def tip(self) -> dict[str, int]:
        self.entered.set()
        await self.gate.wait()
        return {"height": 1}


class StandingSystem:
    """A platform that never changes."""

    async def snapshot(self) -> SystemSnapshot:
        return SystemSnapshot.of({"actors": []})

    async def close(self) -> None:
        pass


class Tokens:
    """Makes tokens and gives their public key."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self._key = ed25519.Ed25519PrivateKey.generate()
        self._public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    async def jwks(self) -> Mapping[str, Any]:
        return {"keys": [public_jwk(self._public)]}

    async def revocations(self, known: int) -> Revocations | None:
        return Revocations()

    def make(self, *scopes: str, ttl_s: int = 600) -> str:
        now_s = self._clock.now_unix_ms() // 1000
        claims = TokenClaims("anya-hsm", "anya", "alice", " ".join(scopes), now_s, now_s + ttl_s, "t")
        private = self._key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
        return sign_token(claims, private, self._public)


class OpenDoor:
    """A listening door and what stands behind it, which lives on the door's own loop."""

    def __init__(self, listen: Listen, **settings: Any) -> None:
        self.clock = LateClock()
        self.tokens = Tokens(self.clock)
        self.coordinator: Coordinator
        self.bitcoin: Bitcoin
        self._settings = settings
        self.server = DoorServer(self._build, listen)
        self.host, self.port = self.server.address
        self.server.start()

    def _build(self) -> Any:
        self.coordinator = Coordinator()
        self.bitcoin = Bitcoin()
        actors = LocalActors({"coordinator": self.coordinator, "bitcoin/main": self.bitcoin})
        settings = DoorSettings(audience="anya", issuer="anya-hsm", **self._settings)
        tokens = self.tokens
        return build_app(
            actors, self.clock, settings, system=StandingSystem(), jwks=tokens, revocations=tokens
        )

    async def there(self, work: Any) -> Any:
        """Run a coroutine on the door's loop."""
        assert self.server._loop is not None
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self.server._loop))

    async def publish(self, count: int = 1, size: int = 4) -> None:
        await self.there(self.coordinator.publish(count, size))

    def bearer(self, *scopes: str, ttl_s: int = 600) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.tokens.make(*scopes, ttl_s=ttl_s)}"}

    def client(self, *scopes: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=f"http://{self.host}:{self.port}", headers=self.bearer(*scopes), timeout=60.0
        )


@pytest.fixture
async def open_door() -> AsyncIterator[Any]:
    """``open_door(**settings)``: an `OpenDoor`, drained after the test."""
    doors: list[OpenDoor] = []

    def open_(listen: Listen | None = None, **settings: Any) -> OpenDoor:
        doors.append(OpenDoor(listen or Listen("127.0.0.1", 0, drain_s=2), **settings))
        return doors[-1]

    yield open_
    for door in doors:
        await door.server.drain()


@pytest.fixture
def deadline() -> float:
    """When a test that polls gives up, on the monotonic clock."""
    return time.monotonic() + 60.0


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as found:
        yield found
