"""The HTTP door, from the settings."""

from __future__ import annotations

from typing import Any

from anya_actors.config import Settings
from anya_actors.serve.settings import DoorSettings, Listen, TlsFiles


def build_api(settings: Settings) -> Any:
    """The ASGI application of one replica; called in the replica's process."""
    from anya_actors.actors.logs import configure_logs
    from anya_actors.adapters.system.clock import SystemClock
    from anya_actors.coordinator.client import connect
    from anya_actors.serve.app import build_app
    from anya_actors.services.hsm import HsmSettings

    configure_logs(settings.log.level, settings.log.format)
    names = HsmSettings()
    door = DoorSettings(
        audience=names.audience,
        issuer=names.issuer,
        max_body_bytes=settings.api.max_body_bytes,
        max_in_flight=settings.api.max_in_flight,
        allow_generate=settings.bitcoin.network == "regtest",
    )
    return build_app(connect(), SystemClock(), door)


def listen_of(settings: Settings) -> Listen:
    """Where the replicas listen. The launcher has chosen the port by now."""
    api = settings.api
    tls = None
    if api.tls_certificate_file is not None and api.tls_key_file is not None:
        tls = TlsFiles(api.tls_certificate_file, api.tls_key_file)
    return Listen(api.host, api.port, tls, transit_port=api.transit_port)
