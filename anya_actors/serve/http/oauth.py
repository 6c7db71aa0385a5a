"""`/oauth`: tokens for clients (RFC 6749, section 4.4), revocation (RFC 7009), introspection (RFC 7662).

The bodies are forms and the errors those of RFC 6749, section 5.2, so that OAuth clients of others work.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from anya_actors.domain.hsm.clients import shown_secret
from anya_actors.domain.hsm.errors import ClientThrottledError, InvalidClientError, InvalidScopeError
from anya_actors.domain.hsm.views import IssuedToken
from anya_actors.ports.actors import HSM
from anya_actors.serve.auth import allows, bearer_token
from anya_actors.serve.caller import Door, message_id
from anya_actors.serve.shapes import json_of, shows_plain
from anya_actors.services.tokens import Claims, ExpiredTokenError, InvalidTokenError, RevokedTokenError

FORM: Final = "application/x-www-form-urlencoded"
MAX_FIELDS: Final = 16
_DEAD: Final = (ExpiredTokenError, InvalidTokenError, RevokedTokenError)
_TEXT: Final = {"type": "string"}

router = APIRouter(prefix="/oauth", tags=["oauth"], default_response_class=Response)


class _RefusedError(Exception):
    """An answer after RFC 6749, section 5.2."""

    def __init__(self, error: str, status: int = 400, **headers: str) -> None:
        super().__init__(error)
        self.response = _answer({"error": error}, status, **headers)


def _takes(*required: str, optional: tuple[str, ...] = ()) -> dict[str, Any]:
    fields = dict.fromkeys((*required, *optional, "client_id", "client_secret"), _TEXT)
    schema = {"type": "object", "properties": fields, "required": list(required)}
    return {"requestBody": {"required": True, "content": {FORM: {"schema": schema}}}}


@router.post(
    "/token",
    openapi_extra=_takes("grant_type", optional=("scope",)),
    responses=shows_plain("The token.", {"type": "object", "properties": {"access_token": _TEXT}}),
)
async def token(request: Request) -> Response:
    """A token for a client, by its id and secret: HTTP Basic, or `client_id` and `client_secret`.

    `grant_type` is `client_credentials`; `scope` narrows what the client may have.
    """
    try:
        form = await _form(request)
        credentials = _credentials(request, form)
        if form.get("grant_type") != "client_credentials":
            raise _RefusedError("unsupported_grant_type" if "grant_type" in form else "invalid_request")
        scopes = tuple(form.get("scope", "").split())
        issued: IssuedToken = await _asked(request, "client_token", credentials, scopes)
    except _RefusedError as refused:
        return refused.response
    made = {
        "access_token": issued.access_token,
        "token_type": "Bearer",
        "expires_in": issued.expires_in_s,
        "scope": " ".join(issued.scopes),
    }
    return _answer(made)


@router.post("/revoke", openapi_extra=_takes("token", optional=("token_type_hint",)))
async def revoke(request: Request) -> Response:
    """End a token: a client one of its own, the bearer of a token one of the same subject.

    It is answered when no door takes the token any more, after two seconds; a token that holds no
    longer is answered alike.
    """
    try:
        form = await _form(request)
        client_id, bearer = await _authenticated(request, form)
        claims = await _claims(request, form)
        if claims is not None:
            own = claims.client_id == client_id if bearer is None else claims.subject == bearer.subject
            if not own and not (bearer is not None and allows(bearer, "admin")):
                raise _RefusedError("unauthorized_client")
            by = client_id if bearer is None else bearer.subject
            door: Door = request.app.state.door
            facts = (claims.token_id, claims.expires_unix_s, claims.subject, by)
            name = message_id(by, f"revoke/{claims.token_id}")
            await door.actors.call(HSM, "revoke_token", *facts, message_id=name)
    except _RefusedError as refused:
        return refused.response
    return Response(None, 200, {"Cache-Control": "no-store"})


@router.post(
    "/introspect",
    openapi_extra=_takes("token", optional=("token_type_hint",)),
    responses=shows_plain("What it says.", {"type": "object", "properties": {"active": {"type": "boolean"}}}),
)
async def introspect(request: Request) -> Response:
    """What a token says, to a client or the bearer of a token; of a dead one, that it is not active."""
    try:
        form = await _form(request)
        await _authenticated(request, form)
        claims = await _claims(request, form)
    except _RefusedError as refused:
        return refused.response
    if claims is None:
        return _answer({"active": False})
    told = {
        "active": True,
        "scope": " ".join(sorted(claims.scopes)),
        "client_id": claims.client_id,
        "sub": claims.subject,
        "iat": claims.issued_unix_s,
        "exp": claims.expires_unix_s,
        "jti": claims.token_id,
        "token_type": "Bearer",
    }
    return _answer(told)


async def _form(request: Request) -> dict[str, str]:
    """The fields of the body; those without a value count as left out, and none may come twice."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise _RefusedError("invalid_request")
    try:
        text = (await request.body()).decode()
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise _RefusedError("invalid_request") from None
    if len({name for name, _ in pairs}) < len(pairs):
        raise _RefusedError("invalid_request")
    return {name: value for name, value in pairs if value}


def _credentials(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """The client's id and secret, by one of the two ways of RFC 6749, section 2.3.1."""
    scheme, _, sent = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        if "client_id" not in form or "client_secret" not in form:
            raise _invalid_client()
        return form["client_id"], form["client_secret"]
    if "client_secret" in form:
        raise _RefusedError("invalid_request")
    try:
        name, colon, secret = base64.b64decode(sent.strip(), validate=True).decode().partition(":")
        found = unquote_plus(name, errors="strict"), unquote_plus(secret, errors="strict")
    except (binascii.Error, ValueError):
        raise _invalid_client() from None
    if not colon or form.get("client_id", found[0]) != found[0]:
        raise _invalid_client()
    return found


async def _authenticated(request: Request, form: dict[str, str]) -> tuple[str, Claims | None]:
    """The client that shows its secret, or what the bearer's token says."""
    header = request.headers.get("authorization", "")
    if header.lower().startswith("bearer "):
        door: Door = request.app.state.door
        try:
            return "", await door.authenticator.authenticate(bearer_token(header))
        except _DEAD:
            raise _RefusedError(
                "invalid_token", 401, **{"WWW-Authenticate": 'Bearer error="invalid_token"'}
            ) from None
    credentials = _credentials(request, form)
    await _asked(request, "verify_client", credentials)
    return credentials[0], None


async def _claims(request: Request, form: dict[str, str]) -> Claims | None:
    """What the token of the form says, None if it holds no longer or never did."""
    if "token" not in form:
        raise _RefusedError("invalid_request")
    door: Door = request.app.state.door
    try:
        return await door.authenticator.authenticate(form["token"])
    except _DEAD:
        return None


async def _asked(request: Request, method: str, credentials: tuple[str, str], *arguments: Any) -> Any:
    """The HSM's answer to a client, of whose secret it is sent no more than a hash."""
    door: Door = request.app.state.door
    client_id, secret = credentials
    try:
        shown = shown_secret(client_id, secret)
        return await door.actors.call(
            HSM, method, client_id, shown, *arguments, timeout_s=door.settings.call_timeout_s
        )
    except InvalidClientError:
        raise _invalid_client() from None
    except InvalidScopeError:
        raise _RefusedError("invalid_scope") from None
    except ClientThrottledError as error:
        raise _RefusedError("invalid_client", 429, **{"Retry-After": str(error.retry_after_s)}) from None


def _invalid_client() -> _RefusedError:
    return _RefusedError("invalid_client", 401, **{"WWW-Authenticate": 'Basic realm="anya"'})


def _answer(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache", **headers}
    return Response(json_of(body), status, headers, "application/json")
