"""The OpenAPI 3.1 document: what FastAPI finds, with scopes, problems and idempotency added.

Added from the routes themselves, so that the document cannot say other than the code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from anya_actors.domain.hsm.scopes import SCOPES
from anya_actors.serve.caller import IDEMPOTENCY_HEADER, Requires
from anya_actors.serve.event_stream import ENDINGS
from anya_actors.serve.problems import MEDIA_TYPE, Problem
from anya_actors.serve.shapes import REFERENCE, components

SCHEME: Final = "bearer"
_IDEMPOTENT: Final = ("post", "delete")
_DESCRIPTION: Final = """A durable actor platform for building on Bitcoin.

Every error is a problem document (RFC 9457); its `type` and `code` never change and `remedy` says
what to do. What answers 429, 503, 504 or 507 may be sent again after `Retry-After` seconds, with
the same `Idempotency-Key`: it is applied once.

`/api/v1/events` also speaks WebSocket, with the token in `Authorization` or as
`Sec-WebSocket-Protocol: bearer, TOKEN`. Close codes:
"""
_KEY_PARAMETER: Final[dict[str, Any]] = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "required": False,
    "description": (
        "1 to 128 visible characters. Repeating a request with its key returns the first answer; "
        "another request with the same key is refused (422). Without one, the answer's header "
        "names the key that was made for it."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 130},
}


def openapi_of(
    app: FastAPI, routes: Sequence[APIRoute], views: Sequence[type[msgspec.Struct]]
) -> dict[str, Any]:
    """The whole document of ``app``."""
    codes = "\n".join(f"- {ending.code} {ending.reason}" for ending in ENDINGS)
    document = get_openapi(
        title=app.title, version=app.version, description=_DESCRIPTION + codes, routes=list(routes)
    )
    parts = document.setdefault("components", {})
    parts.setdefault("schemas", {}).update(components([*views, Problem]))
    parts["securitySchemes"] = {
        SCHEME: {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT (EdDSA), scopes: "
            + "; ".join(f"`{scope}` {meaning}" for scope, meaning in SCOPES.items()),
        }
    }
    for route in routes:
        for method in route.methods or ():
            _complete(document["paths"].get(route.path_format, {}).get(method.lower()), route, method.lower())
    return document


def _complete(operation: dict[str, Any] | None, route: APIRoute, method: str) -> None:
    if operation is None:
        return
    operation["responses"]["default"] = {
        "description": "A problem document.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": REFERENCE.format(name=Problem.__name__)}}},
    }
    operation["responses"].pop("422", None)
    for dependency in route.dependant.dependencies:
        if isinstance(dependency.call, Requires):
            operation["security"] = [{SCHEME: [scope]} for scope in dependency.call.scopes]
    if method in _IDEMPOTENT and "security" in operation:  # who gives no name repeats nothing by it
        operation.setdefault("parameters", []).append(_KEY_PARAMETER)
