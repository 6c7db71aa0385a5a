"""`/docs`: the OpenAPI document as a page, served whole from here.

FastAPI's own page loads its script from a public host: nothing shows without a network, and that
host learns who reads. Here the files come from an installed package, and the policy header keeps a
browser from asking anybody else.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

# Each script and style is a file of its own, so that none has to be allowed within the page.
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>anya_actors: HTTP API (Swagger UI)</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="reference"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""

# validatorUrl: Swagger UI would hand the document to its makers' validator.
_START: Final = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  validatorUrl: null,
});
"""

# Content Security Policy, level 3. Swagger UI sets styles from its script and has its icons inline.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "no-referrer"}
_A_DAY: Final = {"Cache-Control": "public, max-age=86400"}

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def page() -> Response:
    """The page."""
    return Response(_PAGE, media_type="text/html", headers=_HEADERS)


@router.get("/docs/start.js")
async def start() -> Response:
    """What shows the document in the page."""
    return Response(_START, media_type="text/javascript")


@router.get("/docs/swagger-ui-bundle.js")
async def script() -> Response:
    """Swagger UI."""
    return FileResponse(_files() / "swagger-ui-bundle.js", media_type="text/javascript", headers=_A_DAY)


@router.get("/docs/swagger-ui.css")
async def style() -> Response:
    """Swagger UI's style."""
    return FileResponse(_files() / "swagger-ui.css", media_type="text/css", headers=_A_DAY)


def _files() -> Path:
    """Where `fastapi-offline`, of which we use only these files, has been installed."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("fastapi_offline")
    return Path(spec.origin).parent / "static"
