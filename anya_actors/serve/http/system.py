"""`/api/v1/system`: what runs, since when, how often it died, with which settings."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from anya_actors.coordinator.views import ActorView, SystemView
from anya_actors.ports.actors import UnknownActorError
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.shapes import Paging, page_of, shows, shows_page

router = APIRouter(prefix="/api/v1/system", tags=["system"], route_class=DirectRoute)

Reader = Annotated[Caller, Depends(Requires("system:read"))]

VIEWS: Final = (SystemView, ActorView)


@router.get("", responses=shows(SystemView, "The whole picture."), response_class=Response)
async def system(caller: Reader) -> Response:
    """The supervision tree, actors, restarts, versions and settings, without any secret.

    The picture follows every change by some milliseconds; no request waits for the coordinator.
    """
    snapshot = await caller.door.system.snapshot()
    return Response(snapshot.json, media_type="application/json")


@router.get("/actors", responses=shows_page(ActorView, "One page of actors."), response_class=Response)
async def actors(caller: Reader, paging: Annotated[Paging, Query()]) -> Response:
    """The living actors, by name."""
    return caller.answer(page_of(await _actors(caller), _name, paging))


@router.get("/actors/{name:path}", responses=shows(ActorView, "One actor."), response_class=Response)
async def actor(caller: Reader, name: str) -> Response:
    """One living actor, by its name `kind/key`."""
    for found in await _actors(caller):
        if _name(found) == name:
            return caller.answer(found)
    raise UnknownActorError(name)


async def _actors(caller: Caller) -> list[dict[str, Any]]:
    snapshot = await caller.door.system.snapshot()
    found: list[dict[str, Any]] = snapshot.value["actors"]
    return found


def _name(actor: dict[str, Any]) -> str:
    name: str = actor["name"]
    return name
