"""Routes that need nothing but their caller, without the cost of solving dependencies.

FastAPI resolves a route's parameters anew for each request: a third of the time that
`GET /api/v1/system` takes. Where the only parameter is the `Caller`, there is nothing to resolve.
The signature stays, and with it the OpenAPI document.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from anya_actors.serve.caller import Requires

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class DirectRoute(APIRoute):
    """An `APIRoute` that asks its one `Requires` itself; any other route is FastAPI's as always."""

    def get_route_handler(self) -> Handler:
        found = self.dependant
        others = (found.path_params, found.query_params, found.header_params, found.cookie_params)
        if self.body_field is not None or any(others) or found.request_param_name is not None:
            return super().get_route_handler()
        if len(found.dependencies) != 1:
            return super().get_route_handler()
        requires, name = found.dependencies[0].call, found.dependencies[0].name
        if not isinstance(requires, Requires) or name is None:
            return super().get_route_handler()
        endpoint = self.endpoint

        async def handle(request: Request) -> Response:
            response: Response = await endpoint(**{name: await requires(request)})
            return response

        return handle
