"""What Vault's tools ask besides Transit: the token of the caller, the server's health, its mounts."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anya_actors.domain.hsm.views import SealView
from anya_actors.domain.machine import AnyaError, NotSupportedError
from anya_actors.ports.actors import HSM
from anya_actors.serve.transit.caller import (
    TransitDesk,
    answer,
    caller_of,
    envelope,
    fields_of,
    nothing,
    plain,
)
from anya_actors.serve.transit.words import rfc3339

# Tools read from it which of Vault's features they may use; SemVer wants the three numbers.
VERSION: Final = "1.17.0+anya"
HEALTH_TIMEOUT_S: Final = 5.0


async def lookup_self(request: Request) -> Response:
    """The caller's token, without its text."""
    claims = (await caller_of(request, "security:read")).claims
    desk: TransitDesk = request.app.state.desk
    now_unix_s = desk.door.clock.now_unix_ms() // 1000
    return answer(
        {
            "accessor": claims.token_id,
            "creation_time": claims.issued_unix_s,
            "creation_ttl": claims.expires_unix_s - claims.issued_unix_s,
            "display_name": claims.subject,
            "entity_id": "",
            "expire_time": rfc3339(claims.expires_unix_s * 1000),
            "explicit_max_ttl": 0,
            "id": "",
            "issue_time": rfc3339(claims.issued_unix_s * 1000),
            "meta": None,
            "num_uses": 0,
            "orphan": True,
            "path": "auth/token/create",
            "policies": sorted(claims.scopes),
            "renewable": False,
            "ttl": max(0, claims.expires_unix_s - now_unix_s),
            "type": "service",
        }
    )


async def renew_self(request: Request) -> Response:
    """Refused: a token says itself when it expires."""
    await caller_of(request, "security:read")
    raise NotSupportedError("renewing a token", "it says itself when it expires: take a new one")


async def revoke_self(request: Request) -> Response:
    """End the caller's token, at every door."""
    caller = await caller_of(request, "security:read")
    claims = caller.claims
    facts = (claims.token_id, claims.expires_unix_s, claims.subject, claims.subject)
    await caller.write("revoke_token", *facts)
    return nothing()


async def health(request: Request) -> Response:
    """200 while the HSM answers, 503 as for a sealed Vault while it does not."""
    sealed = await _sealed(request)
    desk: TransitDesk = request.app.state.desk
    body = {
        "initialized": True,
        "sealed": sealed,
        "standby": False,
        "performance_standby": False,
        "replication_performance_mode": "disabled",
        "replication_dr_mode": "disabled",
        "server_time_utc": desk.door.clock.now_unix_ms() // 1000,
        "version": VERSION,
    }
    wanted = request.query_params.get("sealedcode", "503")
    return plain(body, (int(wanted) if wanted in ("200", "299", "429", "503") else 503) if sealed else 200)


async def seal_status(request: Request) -> Response:
    """Whether the HSM can be used. How it is unsealed is no matter of this listener's."""
    body = {
        "type": "anya",
        "initialized": True,
        "sealed": await _sealed(request),
        "t": 1,
        "n": 1,
        "progress": 0,
        "nonce": "",
        "version": VERSION,
        "build_date": "",
        "migration": False,
        "recovery_seal": False,
        "storage_type": "anya",
    }
    return plain(body)


async def seal(request: Request) -> Response:
    """Seal the HSM, by a token with the scope ``admin``."""
    caller = await caller_of(request, "admin")
    await caller.write("seal", caller.subject)
    return nothing()


async def unseal(request: Request) -> Response:
    """Have the HSM read its passphrase, or its shares; none of them travels through this listener."""
    caller, fields = await caller_of(request, "admin"), await fields_of(request)
    if fields.get("key"):
        raise NotSupportedError("unsealing by a key in a request", "the HSM reads it where its settings say")
    await caller.write("unseal", caller.subject)
    return await seal_status(request)


async def init(_: Request) -> Response:
    """The HSM initialises itself at its first start."""
    return plain({"initialized": True})


async def leader(_: Request) -> Response:
    """There is one HSM, which is nobody's replica."""
    return plain({"ha_enabled": False, "is_self": False, "leader_address": "", "performance_standby": False})


async def mounts(request: Request) -> Response:
    """The one secrets engine that is mounted here, and always."""
    await caller_of(request, "security:read")
    found = {"transit/": _MOUNT}
    return plain({**envelope(found), **found})  # old clients look beside the data


async def mount(request: Request) -> Response:
    """What there is to know of the mount; nothing else can be mounted, and this one not be moved."""
    await caller_of(request, "security:read")
    if request.path_params["path"] != "transit":
        return plain({"errors": []}, 404)
    return answer(_MOUNT)


async def tune(request: Request) -> Response:
    """The mount's time-outs, which it has none of."""
    await caller_of(request, "security:read")
    return answer({**_MOUNT["config"], "description": _MOUNT["description"]})


async def _sealed(request: Request) -> bool:
    desk: TransitDesk = request.app.state.desk
    try:
        view: SealView = await desk.door.actors.call(HSM, "seal_status", timeout_s=HEALTH_TIMEOUT_S)
    except AnyaError:  # whoever cannot be asked is of no use either
        return True
    return view.sealed


_MOUNT: Final[dict[str, Any]] = {
    "accessor": "transit_anya",
    "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "force_no_cache": False},
    "description": "the keys of the HSM",
    "external_entropy_access": False,
    "local": False,
    "options": None,
    "plugin_version": "",
    "running_plugin_version": VERSION,
    "seal_wrap": False,
    "type": "transit",
    "uuid": "",
}
_CHANGING: Final = ["POST", "PUT"]
ROUTES: Final = (
    Route("/v1/auth/token/lookup-self", lookup_self, methods=["GET", *_CHANGING]),
    Route("/v1/auth/token/renew-self", renew_self, methods=_CHANGING),
    Route("/v1/auth/token/revoke-self", revoke_self, methods=_CHANGING),
    Route("/v1/sys/health", health, methods=["GET", "HEAD"]),
    Route("/v1/sys/seal-status", seal_status, methods=["GET"]),
    Route("/v1/sys/seal", seal, methods=_CHANGING),
    Route("/v1/sys/unseal", unseal, methods=_CHANGING),
    Route("/v1/sys/init", init, methods=["GET"]),
    Route("/v1/sys/leader", leader, methods=["GET"]),
    Route("/v1/sys/mounts", mounts, methods=["GET"]),
    Route("/v1/sys/mounts/{path}", mount, methods=["GET"]),
    Route("/v1/sys/mounts/{path}/tune", tune, methods=["GET"]),
)
