"""What the HTTP door may be told; bootstrap fills it from `anya.toml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anya_actors.domain.machine import InvalidInputError


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """Limits of one replica, and whose tokens it takes.

    A limit of one replica is not shared with the others: two replicas admit twice as much.
    """

    audience: str
    issuer: str
    # One request body; what is longer is refused before it is read to its end.
    max_body_bytes: int = 1 << 20
    # From the first byte of a body to its last.
    body_timeout_s: float = 30.0
    # Requests being answered at one moment, over all callers.
    max_in_flight: int = 256
    # Per subject of a token; None lets a subject send as fast as it can.
    requests_per_s: float | None = None
    request_burst: int = 100
    # How long one call to an actor may take.
    call_timeout_s: float = 30.0
    # WebSocket and SSE listeners at one moment.
    max_event_clients: int = 128
    # Events kept in memory, so that many listeners cost one reader.
    event_buffer: int = 4096
    # A listener that takes no byte for this long is dropped.
    event_send_timeout_s: float = 10.0
    event_heartbeat_s: float = 15.0
    jwks_refresh_s: float = 300.0
    # Regtest alone lets a user make blocks.
    allow_generate: bool = False

    def __post_init__(self) -> None:
        for name in ("audience", "issuer"):
            if not getattr(self, name):
                raise InvalidInputError(name, "it must not be empty")
        for name in ("max_body_bytes", "max_in_flight", "max_event_clients", "event_buffer", "request_burst"):
            if getattr(self, name) < 1:
                raise InvalidInputError(name, "it must be at least 1")
        if self.requests_per_s is not None and self.requests_per_s <= 0:
            raise InvalidInputError("requests_per_s", "it must be above 0, or absent")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files of the door's certificate chain and its private key."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the replicas of one door listen; all of one machine share the port."""

    host: str
    port: int
    tls: TlsFiles | None = None
    drain_s: int = 5
    # Where the Transit listener stands beside the API; None for nowhere.
    transit_port: int | None = None
    access_log: bool = False
