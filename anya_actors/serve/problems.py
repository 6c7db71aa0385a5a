"""Errors as problem documents: RFC 9457, `application/problem+json`."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from anya_actors.domain.machine import AnyaError, NotSupportedError
from anya_actors.serve.errors import (
    InvalidFieldsError,
    MalformedJsonError,
    MethodNotAllowedError,
    MissingScopeError,
    UnexpectedError,
    UnknownRouteError,
    retry_after_s,
    status_of,
)

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:anya:problem:"
# Where a route keeps headers that its answer must carry even when it is an error.
SCOPE_HEADERS: Final = "anya.headers"

_log = structlog.get_logger(__name__)
_encode = msgspec.json.Encoder().encode


class FieldProblem(msgspec.Struct, frozen=True):
    """One field that was refused: its path in the request, and why."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem document. ``type`` and ``code`` never change; ``detail`` is for people."""

    type: str
    code: str
    title: str
    status: int
    detail: str
    remedy: str
    errors: Sequence[FieldProblem] = ()


def problem_of(error: AnyaError) -> Problem:
    """The document of one error of ours. Its text is the error's own, which holds no secret."""
    return Problem(
        type=TYPE_PREFIX + error.code,
        code=error.code,
        title=error.code.replace("-", " ").capitalize(),
        status=status_of(type(error)) or 500,
        detail=error.message.format(*error.args),
        remedy=error.remedy,
        errors=tuple(FieldProblem(*pair) for pair in getattr(error, "fields", ())),
    )


def problem_response(error: AnyaError, headers: dict[str, str] | None = None) -> Response:
    """The answer to a request that met ``error``."""
    problem = problem_of(error)
    found = dict(headers or {})
    wait_s = retry_after_s(error, problem.status)
    if wait_s is not None:
        found["Retry-After"] = str(wait_s)
    if problem.status == 401:
        found["WWW-Authenticate"] = _challenge(problem)
    elif isinstance(error, MissingScopeError):
        found["WWW-Authenticate"] = f'Bearer error="insufficient_scope", scope="{error.scope}"'
    return Response(_encode(problem), problem.status, found, MEDIA_TYPE)


def unexpected_response(error: Exception, where: str) -> Response:
    """The answer to a fault of ours: an id that leads to the log, and nothing of its inside."""
    error_id = secrets.token_hex(8)
    _log.error("request failed", error_id=error_id, where=where, trace=_trace(error))
    return problem_response(UnexpectedError(error_id))


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error that a route or the framework raises a problem document."""
    app.add_exception_handler(AnyaError, _on_anya_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)


def _challenge(problem: Problem) -> str:
    # RFC 6750, section 3.1: a request without a token is told no error code.
    if problem.code == "missing-token":
        return "Bearer"
    return f'Bearer error="invalid_token", error_description="{problem.code.replace("-", " ")}"'


async def _on_anya_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, AnyaError) or status_of(type(error)) is None:
        return unexpected_response(error, request.url.path)
    if status_of(type(error)) == 500:
        _log.error("request failed", code=error.code, where=request.url.path, trace=_trace(error))
    return problem_response(error, request.scope.get(SCOPE_HEADERS))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    found: Sequence[Any] = error.errors() if isinstance(error, RequestValidationError) else ()
    for item in found:
        if item["type"] == "json_invalid":
            reason = f"{item['ctx']['error']} at character {item['loc'][-1]}"
            return problem_response(MalformedJsonError(reason))
    return problem_response(InvalidFieldsError.of([(_path(item["loc"]), str(item["msg"])) for item in found]))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return unexpected_response(error, request.url.path)
    if error.status_code == 404:
        return problem_response(UnknownRouteError())
    if error.status_code == 405:
        return problem_response(MethodNotAllowedError(request.method), dict(error.headers or {}))
    if error.status_code == 400:
        # What the framework says of a body it cannot read at all: wrong bytes, too deep, too long a number.
        return problem_response(MalformedJsonError("it cannot be read"))
    return problem_response(NotSupportedError("this request", str(error.detail)))


def _trace(error: Exception) -> str:
    # Rendered here: a log renderer that shows local variables would show secrets.
    return "".join(traceback.format_exception(error))


def _path(location: Sequence[str | int]) -> str:
    """``("body", "inputs", 0, "txid")`` as ``body.inputs[0].txid``."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.lstrip(".")
