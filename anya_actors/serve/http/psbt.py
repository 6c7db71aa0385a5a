"""`/api/v1/wallet`: the rounds of partially signed transactions (BIP174, BIP370, BIP371, BIP373)."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from anya_actors.domain.bitcoin.views import BroadcastView, PsbtView
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.http.bitcoin import BITCOIN
from anya_actors.serve.http.wallet import Reader, Writer, recipients_of, terms_of
from anya_actors.serve.schemas.bitcoin import WalletName
from anya_actors.serve.schemas.wallet import (
    NewPsbt,
    PsbtBody,
    PsbtList,
    PsbtToDecode,
    PsbtToSend,
    PsbtToSign,
)
from anya_actors.serve.shapes import shows

VIEWS: Final = (PsbtView,)

router = APIRouter(
    prefix="/api/v1/wallet", tags=["psbt"], default_response_class=Response, route_class=DirectRoute
)


@router.post("/wallets/{wallet}/psbts", status_code=201, responses=shows(PsbtView, "The PSBT.", 201))
async def create_psbt(caller: Writer, wallet: WalletName, body: NewPsbt) -> Response:
    """A PSBT that pays from the wallet's coins, for its signers.

    With `reserve` no other payment spends these coins, until they are unfrozen.
    """
    made = await caller.write(
        BITCOIN, "create_psbt", wallet, recipients_of(body), terms_of(body), body.version, body.reserve
    )
    return caller.answer(made, 201)


@router.post("/wallets/{wallet}/psbts/sign", responses=shows(PsbtView, "The PSBT."))
async def sign_psbt(caller: Writer, wallet: WalletName, body: PsbtToSign) -> Response:
    """Add what the wallet's key in the HSM can give: signatures, MuSig2 nonces and parts.

    Only inputs of the wallet's own scripts are signed, for the amounts that its coins have.
    """
    return caller.answer(await caller.write(BITCOIN, "sign_psbt", wallet, body.psbt, body.max_fee_sat))


@router.post("/psbts/combine", responses=shows(PsbtView, "The PSBT."))
async def combine_psbts(caller: Reader, body: PsbtList) -> Response:
    """All fields of several PSBTs of one transaction."""
    return caller.answer(await caller.read(BITCOIN, "combine_psbts", tuple(body.psbts)))


@router.post("/psbts/finalize", responses=shows(PsbtView, "The PSBT."))
async def finalize_psbt(caller: Reader, body: PsbtBody) -> Response:
    """Finalise the inputs that can be; `hex` is the transaction once all are."""
    return caller.answer(await caller.read(BITCOIN, "finalize_psbt", body.psbt))


@router.post("/psbts/decode", responses=shows(PsbtView, "What it does."))
async def decode_psbt(caller: Reader, body: PsbtToDecode) -> Response:
    """What a PSBT does, seen from a wallet if one is named."""
    return caller.answer(await caller.read(BITCOIN, "decode_psbt", body.psbt, body.wallet))


@router.post("/psbts/send", responses=shows(BroadcastView, "Sent."))
async def send_psbt(caller: Writer, body: PsbtToSend) -> Response:
    """Finalise a PSBT and hand its transaction to the node; again is harmless."""
    return caller.answer(await caller.write(BITCOIN, "send_psbt", body.psbt, body.max_fee_sat))
