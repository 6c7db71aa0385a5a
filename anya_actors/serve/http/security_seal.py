"""`/api/v1/security`: the HSM sealed and unsealed, rekeyed, given another passphrase.

No passphrase is in any of these requests: the HSM's own process reads it where the settings say.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from anya_actors.domain.hsm.views import SealView
from anya_actors.ports.actors import HSM
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.schemas.security import Rekeying
from anya_actors.serve.shapes import shows

VIEWS: Final = (SealView,)

router = APIRouter(
    prefix="/api/v1/security", tags=["security"], default_response_class=Response, route_class=DirectRoute
)

Reader = Annotated[Caller, Depends(Requires("security:read"))]
Admin = Annotated[Caller, Depends(Requires("admin"))]


@router.get("/seal-status", responses=shows(SealView, "The seal."))
async def seal_status(caller: Reader) -> Response:
    """Whether the HSM is sealed and why, how far a rekeying is, and what hardening the system refuses."""
    return caller.answer(await caller.read(HSM, "seal_status"))


@router.post("/seal", responses=shows(SealView, "The seal."))
async def seal(caller: Admin) -> Response:
    """Wipe every key from memory and close every session, until someone unseals; a restart does not."""
    return caller.answer(await caller.write(HSM, "seal", caller.subject))


@router.post("/unseal", responses=shows(SealView, "The seal."))
async def unseal(caller: Admin) -> Response:
    """Have the HSM read its passphrase, or its shares, and serve."""
    return caller.answer(await caller.write(HSM, "unseal", caller.subject))


@router.post("/rekey", responses=shows(SealView, "The seal."))
async def rekey(caller: Admin, body: Rekeying) -> Response:
    """Wrap every key by a new key-encryption key, in the background; sessions go on."""
    return caller.answer(await caller.write(HSM, "rekey", caller.subject, body.new_master_key))


@router.post("/change-passphrase", responses=shows(SealView, "The seal."))
async def change_passphrase(caller: Admin) -> Response:
    """Seal by the passphrase that waits beside the present one (`<file>.new`), which then replaces it."""
    return caller.answer(await caller.write(HSM, "change_passphrase", caller.subject))
