"""What the HSM counts, as JSON and for Prometheus."""

from __future__ import annotations

import contextlib
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from anya_actors.domain.hsm.metrics import HsmMetricsView
from anya_actors.ports.actors import HSM
from anya_actors.serve.auth import bearer_token
from anya_actors.serve.caller import Caller, Door, Requires, admit
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.errors import MissingScopeError
from anya_actors.serve.hsm_metrics import exposition
from anya_actors.serve.shapes import shows

VIEWS: Final = (HsmMetricsView,)
SCOPE: Final = "security:read"

router = APIRouter(tags=["security"], default_response_class=Response, route_class=DirectRoute)

Reader = Annotated[Caller, Depends(Requires(SCOPE))]


@router.get("/api/v1/security/metrics", responses=shows(HsmMetricsView, "Counts and latencies."))
async def security_metrics(caller: Reader) -> Response:
    """Operations, latencies and failures of the caller's keys; an admin sees everyone's.

    Counters begin anew when the HSM restarts (`since_unix_ms`).
    """
    return caller.answer(await _counted(caller))


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """What this replica and the HSM count, in Prometheus' text format.

    Without a token the HSM's part names no key; with one of scope security:read it names the
    caller's keys, or everyone's to an admin.
    """
    door: Door = request.app.state.door
    view = await _visible(request, door)
    door.metrics.listeners.set(door.feed.listeners)
    return Response(door.metrics.render() + exposition(view), media_type=door.metrics.content_type)


async def _visible(request: Request, door: Door) -> HsmMetricsView | None:
    authorization = request.headers.get("authorization")
    if authorization is not None:
        with contextlib.suppress(MissingScopeError):
            return await _counted(await admit(request, bearer_token(authorization), SCOPE))
    return await door.hsm_sums.read()


async def _counted(caller: Caller) -> HsmMetricsView:
    found: HsmMetricsView = await caller.read(HSM, "metrics", None if caller.is_admin else caller.subject)
    return found
