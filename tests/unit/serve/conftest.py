"""A small platform in one process: services over memory, reached by `LocalActors`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from fastapi import FastAPI

from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.coordinator.views import ActorView, SupervisorView, SystemView
from anya_actors.domain.bitcoin.views import AddressView, BalanceView, PaymentView, TipView, WalletView
from anya_actors.domain.encoding import Schema
from anya_actors.domain.hsm.errors import SessionClosedError, UnknownKeyError
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.revocations import Revocations
from anya_actors.domain.hsm.views import AuditEntryView, AuditReport, KeyView, SessionView
from anya_actors.domain.keys.algorithms import InvalidSignatureError
from anya_actors.domain.machine import InvalidInputError, SystemEvent
from anya_actors.ports.event_bus import Delivered
from anya_actors.ports.state_store import Recorded
from anya_actors.serve.app import build_app
from anya_actors.serve.caller import Door
from anya_actors.serve.settings import DoorSettings
from anya_actors.services.durable import IdempotencyConflictError
from anya_actors.services.tokens import TokenClaims, public_jwk, sign_token
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_actors import LocalActors

AUDIENCE = "anya"
ISSUER = "anya-hsm"
HASH = "00" * 31 + "ab"


class PaymentSent(SystemEvent, frozen=True):
    """An event with bytes in it."""

    txid: bytes
    amount_sat: int


EVENTS: Schema[SystemEvent] = Schema("test event", PaymentSent)


class Once:
    """The first answer to each message id, as the durable engine keeps it."""

    def __init__(self) -> None:
        self._answers: dict[str, tuple[Any, Any]] = {}
        self.message_ids: list[str] = []

    def __call__(self, message_id: str, request: Any, act: Callable[[], Any]) -> Any:
        self.message_ids.append(message_id)
        if message_id not in self._answers:
            self._answers[message_id] = (request, act())
        first, answer = self._answers[message_id]
        if first != request:
            raise IdempotencyConflictError(message_id)
        return answer


class MemoryCoordinator:
    """A tree that stands still, and a real bus."""

    def __init__(self) -> None:
        self.bus = MemoryEventBus()
        self.published = 0
        self.asked = 0
        self.view = SystemView(
            name="anya_actors",
            platform_version="1",
            phase="serving",
            version=1,
            coordinator_pid=1,
            coordinator_epoch=1,
            started_unix_ms=0,
            restarts=0,
            kinds=("bitcoin", "hsm"),
            tree=SupervisorView("root", "one_for_one", 3, 5.0, ("hsm/main", "bitcoin/main")),
            actors=tuple(
                ActorView(name, "root", "serving", 0, False, False, pid=7)
                for name in ("hsm/main", "bitcoin/main")
            ),
            settings={"network": "regtest"},
        )

    async def system_after(self, epoch: int, version: int, wait_s: float) -> SystemView:
        self.asked += 1
        if (epoch, version) == (1, self.view.version):
            await self.bus.events_after(self.published, 1, wait_s)
        return self.view

    async def events_after(self, cursor: int, limit: int, wait_s: float) -> list[Delivered]:
        return await self.bus.events_after(cursor, limit, wait_s)

    async def events_head(self) -> int:
        return self.published

    async def publish(self, count: int = 1) -> None:
        for _ in range(count):
            self.published += 1
            event = PaymentSent(b"\xab" * 4, self.published)
            await self.bus.publish("bitcoin/main", [Recorded(self.published, EVENTS.encode(event))])


class MemoryBitcoin:
    """Wallets without a chain."""

    def __init__(self) -> None:
        self.once = Once()
        self.wallet_names: list[str] = []
        self.sent: list[PaymentView] = []

    async def tip(self) -> TipView:
        return TipView("regtest", 101, HASH, 101, 0, False)

    async def block(self, name: str | int) -> Any:
        return {"asked": name}

    async def create_wallet(self, name: str, *, message_id: str) -> WalletView:
        return self.once(message_id, name, lambda: self._create(name))  # type: ignore[no-any-return]

    async def wallets(self) -> list[WalletView]:
        return [self._wallet(name) for name in self.wallet_names]

    async def new_address(self, wallet: str, *, message_id: str) -> AddressView:
        return AddressView(wallet, "bcrt1qexample", "key")

    async def balance(self, wallet: str) -> BalanceView:
        return BalanceView(wallet, 5, 0, 5, 0, 0, 101)

    async def send(
        self,
        wallet: str,
        address: str,
        amount_sat: int,
        feerate_sat_per_vb: int | None,
        max_fee_sat: int | None,
        *,
        message_id: str,
    ) -> PaymentView:
        order = (wallet, address, amount_sat, feerate_sat_per_vb)
        request = (*order, max_fee_sat)
        return self.once(message_id, request, lambda: self._send(*order))  # type: ignore[no-any-return]

    async def payment(self, payment_id: str) -> PaymentView:
        return next(payment for payment in self.sent if payment.payment_id == payment_id)

    async def payments(self, wallet: str) -> list[PaymentView]:
        return [payment for payment in self.sent if payment.wallet == wallet]

    async def generate(self, address: str, blocks: int, *, message_id: str) -> list[str]:
        return [HASH] * blocks

    def _create(self, name: str) -> WalletView:
        self.wallet_names.append(name)
        return self._wallet(name)

    def _wallet(self, name: str) -> WalletView:
        return WalletView(name, "regtest", "bcrt1qexample", 0, 101, HASH)

    def _send(self, wallet: str, address: str, amount_sat: int, feerate: int | None) -> PaymentView:
        payment = PaymentView(
            payment_id=f"p{len(self.sent)}",
            wallet=wallet,
            phase="decided",
            address=address,
            amount_sat=amount_sat,
            feerate_sat_per_vb=feerate or 1,
            fee_sat=1,
            change_sat=0,
            txid="cd" * 32,
            height=None,
            confirmations=0,
            reason="",
            requested_unix_ms=0,
        )
        self.sent.append(payment)
        return payment


class MemoryHsm:
    """Ed25519 keys in memory, and the keys of tokens."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.once = Once()
        self.token_key = ed25519.Ed25519PrivateKey.generate()
        self.jwks_asked = 0
        self.revoked = Revocations()
        self.key_views: dict[str, KeyView] = {}
        self.open: dict[str, SessionView] = {}
        self.private = ed25519.Ed25519PrivateKey.generate()
        self.entries = [
            AuditEntryView(
                number,
                0,
                "hsm-session/s0",
                "alice",
                "sign",
                "k",
                1,
                "ed25519",
                "done",
                1,
                "",
                f"{number:064x}",
            )
            for number in range(1, 8)
        ]

    async def jwks(self) -> dict[str, Any]:
        self.jwks_asked += 1
        return {"keys": [public_jwk(raw_public(self.token_key))]}

    async def revocations(self, known: int) -> Revocations | None:
        return None if known == self.revoked.version else self.revoked

    async def issue_token(self, subject: str, scopes: tuple[str, ...], ttl_s: int, *, message_id: str) -> str:
        return self.sign(subject, scopes, ttl_s)

    def sign(self, subject: str, scopes: tuple[str, ...], ttl_s: int, audience: str = AUDIENCE) -> str:
        now_s = self._clock.now_unix_ms() // 1000
        claims = TokenClaims(ISSUER, audience, subject, " ".join(scopes), now_s, now_s + ttl_s, f"{now_s}")
        return sign_token(claims, raw_private(self.token_key), raw_public(self.token_key))

    async def create_key(
        self,
        name: str,
        key_type: str,
        owner: str,
        operations: tuple[str, ...],
        policy: KeyPolicy = NO_POLICY,
        *,
        message_id: str,
    ) -> KeyView:
        def make() -> KeyView:
            view = KeyView(name, key_type, 1, raw_public(self.private).hex(), owner, operations, 0)
            self.key_views[name] = view
            return view

        return self.once(message_id, (name, key_type, owner, operations), make)  # type: ignore[no-any-return]

    async def keys(self, owner: str | None) -> list[KeyView]:
        return [key for key in self.key_views.values() if owner in (None, key.owner)]

    async def key(self, name: str, caller: str = "") -> KeyView:
        if name not in self.key_views or caller not in ("", self.key_views[name].owner):
            raise UnknownKeyError(name)
        return self.key_views[name]

    async def open_session(self, owner: str, keys: tuple[str, ...], *, message_id: str) -> SessionView:
        name = f"s{len(self.open)}"
        self.open[name] = SessionView(name, f"hsm-session/{name}", owner, keys, 0, 60, 3600)
        return self.open[name]

    async def sessions(self) -> list[SessionView]:
        return list(self.open.values())

    async def close_session(self, session_id: str, *, message_id: str) -> None:
        self.open.pop(session_id, None)

    async def audit(self, after: int, limit: int) -> list[AuditEntryView]:
        return [entry for entry in self.entries if entry.sequence > after][:limit]

    async def verify_audit(self) -> AuditReport:
        return AuditReport(len(self.entries), self.entries[-1].hash, 0, 0, "k")


class MemorySession:
    """One session's signatures."""

    def __init__(self, hsm: MemoryHsm, session_id: str) -> None:
        self._hsm = hsm
        self._session_id = session_id

    async def sign(self, key: str, message: bytes, algorithm: str) -> bytes:
        if self._session_id not in self._hsm.open:
            raise SessionClosedError(self._session_id, "closed on request")
        if algorithm != "ed25519":
            raise InvalidInputError("algorithm", "an ed25519 key serves ed25519")
        return self._hsm.private.sign(message)

    async def verify(self, key: str, message: bytes, signature: bytes, algorithm: str) -> None:
        try:
            self._hsm.private.public_key().verify(signature, message)
        except Exception as error:
            raise InvalidSignatureError(algorithm) from error


def raw_public(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def raw_private(key: ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


@dataclass
class Platform:
    """The services, the application over them, and clients of it."""

    clock: ManualClock = field(default_factory=ManualClock)
    coordinator: MemoryCoordinator = field(default_factory=MemoryCoordinator)
    bitcoin: MemoryBitcoin = field(default_factory=MemoryBitcoin)

    def __post_init__(self) -> None:
        self.hsm = MemoryHsm(self.clock)
        self.actors = LocalActors(
            {"coordinator": self.coordinator, "bitcoin/main": self.bitcoin, "hsm/main": self.hsm},
            kinds={"hsm-session": lambda key: MemorySession(self.hsm, key)},
        )
        self.clients: list[httpx.AsyncClient] = []
        self.apps: list[FastAPI] = []

    def app(self, **settings: Any) -> FastAPI:
        """An application with these settings."""
        app = build_app(self.actors, self.clock, DoorSettings(audience=AUDIENCE, issuer=ISSUER, **settings))
        self.apps.append(app)
        return app

    def token(self, *scopes: str, subject: str = "alice", ttl_s: int = 3600) -> str:
        """A genuine token."""
        return self.hsm.sign(subject, scopes, ttl_s)

    def client(
        self, *scopes: str, subject: str = "alice", app: FastAPI | None = None, **settings: Any
    ) -> httpx.AsyncClient:
        """A client with a token for the scopes; without scopes, without a token."""
        headers = {"Authorization": f"Bearer {self.token(*scopes, subject=subject)}"} if scopes else {}
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app or self.app(**settings)),
            base_url="http://anya.test",
            headers=headers,
        )
        self.clients.append(client)
        return client

    async def close(self) -> None:
        for client in self.clients:
            await client.aclose()
        for app in self.apps:
            door: Door = app.state.door
            await door.drain()


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    """A platform; closed after the test."""
    platform = Platform()
    yield platform
    await platform.close()
