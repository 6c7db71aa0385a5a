"""`/api/v1/bitcoin`: the chain, wallets and payments, through the `bitcoin` actor."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from anya_actors.domain.bitcoin.views import (
    AddressView,
    BalanceView,
    BlockView,
    PaymentView,
    TipView,
    TransactionView,
    WalletView,
)
from anya_actors.domain.machine import NotSupportedError
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.schemas.bitcoin import (
    BlockName,
    NewBlocks,
    NewPayment,
    NewWallet,
    PaymentId,
    Txid,
    WalletName,
)
from anya_actors.serve.shapes import Paging, page_of, shows, shows_page, shows_plain

BITCOIN: Final = "bitcoin/main"
VIEWS: Final = (TipView, BlockView, TransactionView, WalletView, AddressView, BalanceView, PaymentView)

router = APIRouter(
    prefix="/api/v1/bitcoin", tags=["bitcoin"], default_response_class=Response, route_class=DirectRoute
)

Reader = Annotated[Caller, Depends(Requires("bitcoin:read"))]
Writer = Annotated[Caller, Depends(Requires("bitcoin:write"))]
Page = Annotated[Paging, Query()]

_HASHES: dict[str, Any] = {
    "type": "object",
    "properties": {"block_hashes": {"type": "array", "items": {"type": "string"}}},
    "required": ["block_hashes"],
}


@router.get("/tip", responses=shows(TipView, "The best block."))
async def tip(caller: Reader) -> Response:
    """The newest block of the best chain."""
    return caller.answer(await caller.read(BITCOIN, "tip"))


@router.get("/blocks/{block}", responses=shows(BlockView, "The block."))
async def block(caller: Reader, block: BlockName) -> Response:
    """One block, by hash or height."""
    name = block if len(block) == 64 else int(block)
    return caller.answer(await caller.read(BITCOIN, "block", name))


@router.post("/blocks", status_code=201, responses=shows_plain("The new blocks.", _HASHES, 201))
async def generate(caller: Writer, body: NewBlocks) -> Response:
    """Make blocks. Regtest alone."""
    if not caller.door.settings.allow_generate:
        raise NotSupportedError("making blocks at will", "this platform is not on regtest")
    hashes = await caller.write(BITCOIN, "generate", body.address, body.blocks)
    return caller.answer({"block_hashes": hashes}, 201)


@router.get("/transactions/{txid}", responses=shows(TransactionView, "The transaction."))
async def transaction(caller: Reader, txid: Txid) -> Response:
    """One transaction, of the chain or the mempool."""
    return caller.answer(await caller.read(BITCOIN, "transaction", txid))


@router.get("/wallets", responses=shows_page(WalletView, "One page of wallets."))
async def wallets(caller: Reader, paging: Page) -> Response:
    """The wallets, by name."""
    found: list[WalletView] = await caller.read(BITCOIN, "wallets")
    return caller.answer(page_of(found, lambda wallet: wallet.name, paging))


@router.post("/wallets", status_code=201, responses=shows(WalletView, "The wallet.", 201))
async def create_wallet(caller: Writer, body: NewWallet) -> Response:
    """Make a wallet whose key is made in the HSM."""
    return caller.answer(await caller.write(BITCOIN, "create_wallet", body.name), 201)


@router.post("/wallets/{wallet}/addresses", status_code=201, responses=shows(AddressView, "Made.", 201))
async def new_address(caller: Writer, wallet: WalletName) -> Response:
    """A receiving address that was never given before."""
    return caller.answer(await caller.write(BITCOIN, "new_address", wallet), 201)


@router.get("/wallets/{wallet}/balance", responses=shows(BalanceView, "The balance."))
async def balance(caller: Reader, wallet: WalletName) -> Response:
    """What the wallet has, in satoshis."""
    return caller.answer(await caller.read(BITCOIN, "balance", wallet))


@router.get("/wallets/{wallet}/payments", responses=shows_page(PaymentView, "One page of payments."))
async def payments(caller: Reader, wallet: WalletName, paging: Page) -> Response:
    """The wallet's payments, by id."""
    found: list[PaymentView] = await caller.read(BITCOIN, "payments", wallet)
    return caller.answer(page_of(found, lambda payment: payment.payment_id, paging))


@router.post("/wallets/{wallet}/payments", status_code=201, responses=shows(PaymentView, "The payment.", 201))
async def send(caller: Writer, wallet: WalletName, body: NewPayment) -> Response:
    """Pay. The answer means that the payment is decided and will be sent, whatever crashes.

    Repeat a request without an answer with the same Idempotency-Key: it pays once.
    """
    payment: PaymentView = await caller.write(
        BITCOIN,
        "send",
        wallet,
        body.address,
        body.amount_sat,
        body.feerate_sat_per_vb,
        body.max_fee_sat,
    )
    return caller.answer(payment, 201, Location=f"{router.prefix}/payments/{payment.payment_id}")


@router.get("/payments/{payment_id:path}", responses=shows(PaymentView, "The payment."))
async def payment(caller: Reader, payment_id: PaymentId) -> Response:
    """How far a payment has come."""
    return caller.answer(await caller.read(BITCOIN, "payment", payment_id))
