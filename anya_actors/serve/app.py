"""The HTTP application: routes over ports. It starts no process and opens no socket."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute

from anya_actors import __version__
from anya_actors.ports.actors import Actors
from anya_actors.ports.clock import Clock
from anya_actors.serve.auth import Authenticator, HsmJwks, JwksSource, RateLimiter
from anya_actors.serve.caller import Door
from anya_actors.serve.event_feed import EventFeed
from anya_actors.serve.gate import Gate
from anya_actors.serve.hsm_metrics import HsmSums
from anya_actors.serve.http import (
    bitcoin,
    events,
    health,
    oauth,
    psbt,
    reference,
    security,
    security_access,
    security_batches,
    security_keys,
    security_metrics,
    security_seal,
    wallet,
)
from anya_actors.serve.http import system as system_routes
from anya_actors.serve.metrics import DoorMetrics
from anya_actors.serve.openapi import openapi_of
from anya_actors.serve.problems import install_problem_handlers
from anya_actors.serve.revocation import HsmRevocations, RevocationSource
from anya_actors.serve.settings import DoorSettings
from anya_actors.serve.system_source import CoordinatorSystem, SystemSource
from anya_actors.serve.transit.app import build_transit
from anya_actors.serve.websocket import events as websocket_events

AREAS: Final = (
    system_routes,
    bitcoin,
    wallet,
    psbt,
    security,
    security_access,
    security_batches,
    security_keys,
    security_metrics,
    oauth,
    security_seal,
    events,
    health,
    reference,
)
VIEWS: Final = (
    *system_routes.VIEWS,
    *bitcoin.VIEWS,
    *wallet.VIEWS,
    *psbt.VIEWS,
    *security.VIEWS,
    *security_metrics.VIEWS,
    *security_seal.VIEWS,
    *security_batches.VIEWS,
    *security_access.VIEWS,
)


def build_app(
    actors: Actors,
    clock: Clock,
    settings: DoorSettings,
    *,
    system: SystemSource | None = None,
    jwks: JwksSource | None = None,
    revocations: RevocationSource | None = None,
) -> FastAPI:
    """The ASGI application of one replica.

    ``system`` defaults to asking the coordinator, ``jwks`` and ``revocations`` to asking the HSM,
    all through ``actors`` and all remembered. Its `Door` is ``app.state.door``.
    """
    door = build_door(actors, clock, settings, system=system, jwks=jwks, revocations=revocations)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await door.drain()

    app = FastAPI(
        title="anya_actors",
        version=__version__,
        lifespan=lifespan,
        redoc_url=None,
        docs_url=None,  # `reference` shows the document without asking another host
        openapi_url="/openapi.json",
    )
    app.state.door = door
    app.state.build_transit = partial(build_transit, door)
    install_problem_handlers(app)
    app.add_middleware(Gate, settings=settings, metrics=door.metrics)
    routes: list[APIRoute] = []
    for area in AREAS:
        routes += [route for route in area.router.routes if isinstance(route, APIRoute)]
    # Flat and in front: an included router costs every request a layer, and each route that does
    # not match costs it a look.
    app.router.routes[:0] = [*routes, *websocket_events.router.routes]
    _document(app, routes)
    return app


def build_door(
    actors: Actors,
    clock: Clock,
    settings: DoorSettings,
    *,
    system: SystemSource | None = None,
    jwks: JwksSource | None = None,
    revocations: RevocationSource | None = None,
) -> Door:
    """What the routes share."""
    source = system or CoordinatorSystem(actors, clock)
    limiter = None
    if settings.requests_per_s is not None:
        limiter = RateLimiter(clock, settings.requests_per_s, settings.request_burst)
    return Door(
        actors=actors,
        system=source,
        authenticator=Authenticator(
            jwks or HsmJwks(actors), revocations or HsmRevocations(actors), clock, settings
        ),
        limiter=limiter,
        feed=EventFeed(actors, clock, buffer=settings.event_buffer, clients=settings.max_event_clients),
        metrics=DoorMetrics(),
        hsm_sums=HsmSums(actors, clock),
        clock=clock,
        settings=settings,
    )


def _document(app: FastAPI, routes: list[APIRoute]) -> None:
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(openapi_of(app, routes, VIEWS))
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to replace it
