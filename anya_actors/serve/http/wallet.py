"""`/api/v1/wallet`: wallets on descriptors, their coins, payments and messages, by the `bitcoin` actor."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from anya_actors.domain.bitcoin.orders import Label, SendTerms, WalletOrder
from anya_actors.domain.bitcoin.views import (
    AddressView,
    BalanceView,
    CoinView,
    ExtendedKeyView,
    LabelView,
    MessageView,
    PaymentView,
    SignedMessageView,
    WalletView,
)
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.http.bitcoin import BITCOIN
from anya_actors.serve.schemas.bitcoin import PaymentId, Txid, WalletName
from anya_actors.serve.schemas.wallet import (
    Freeze,
    KeyPathBody,
    LabelFile,
    LabelList,
    MessageToSign,
    MessageToVerify,
    NewAccount,
    NewAddress,
    NewWalletPayment,
    Replacement,
    Rescan,
)
from anya_actors.serve.shapes import Paging, page_of, shows, shows_page, shows_plain

VIEWS: Final = (CoinView, LabelView, ExtendedKeyView, SignedMessageView, MessageView)

router = APIRouter(
    prefix="/api/v1/wallet", tags=["wallet"], default_response_class=Response, route_class=DirectRoute
)

Reader = Annotated[Caller, Depends(Requires("wallet:read"))]
Writer = Annotated[Caller, Depends(Requires("wallet:write"))]
Page = Annotated[Paging, Query()]

_LABEL_FILE: dict[str, Any] = {
    "type": "object",
    "properties": {"jsonl": {"type": "string"}},
    "required": ["jsonl"],
}
_DONE: dict[int | str, dict[str, Any]] = {204: {"description": "Done."}}


def recipients_of(body: NewWalletPayment) -> tuple[tuple[str, int], ...]:
    """Who is paid, as the actor wants it."""
    return tuple((one.address, one.amount_sat) for one in body.recipients)


def terms_of(body: NewWalletPayment) -> SendTerms:
    """How, as the actor wants it."""
    return SendTerms(
        body.feerate_sat_per_vb,
        body.max_fee_sat,
        tuple(body.inputs),
        body.only_inputs,
        body.subtract_fee,
        body.send_all,
    )


@router.get("/wallets", responses=shows_page(WalletView, "One page of wallets."))
async def wallets(caller: Reader, paging: Page) -> Response:
    """The wallets, by name."""
    found: list[WalletView] = await caller.read(BITCOIN, "wallets")
    return caller.answer(page_of(found, lambda wallet: wallet.name, paging))


@router.post("/wallets", status_code=201, responses=shows(WalletView, "The wallet.", 201))
async def create_wallet(caller: Writer, body: NewAccount) -> Response:
    """Make a wallet under a new key in the HSM, or one of descriptors."""
    order = WalletOrder(
        body.kind,
        body.account,
        body.descriptor,
        body.change_descriptor,
        body.key,
        body.gap_limit,
        body.birth_height,
    )
    return caller.answer(await caller.write(BITCOIN, "create_wallet", body.name, order), 201)


@router.get("/wallets/{wallet}", responses=shows(WalletView, "The wallet."))
async def wallet(caller: Reader, wallet: WalletName) -> Response:
    """One wallet with its descriptors: what a backup needs beside the HSM's."""
    return caller.answer(await caller.read(BITCOIN, "wallet", wallet))


@router.get("/wallets/{wallet}/addresses", responses=shows_page(AddressView, "One page of addresses."))
async def addresses(caller: Reader, wallet: WalletName, paging: Page) -> Response:
    """Every address given out or paid, receiving ones before change."""
    found: list[AddressView] = await caller.read(BITCOIN, "addresses", wallet)
    return caller.answer(page_of(found, lambda one: f"{one.change:d} {one.place:010d} {one.address}", paging))


@router.post("/wallets/{wallet}/addresses", status_code=201, responses=shows(AddressView, "It.", 201))
async def new_address(caller: Writer, wallet: WalletName, body: NewAddress) -> Response:
    """An address that was never given out."""
    return caller.answer(await caller.write(BITCOIN, "new_address", wallet, body.change), 201)


@router.post(
    "/wallets/{wallet}/silent-address", status_code=201, responses=shows(AddressView, "The address.", 201)
)
async def silent_address(caller: Writer, wallet: WalletName) -> Response:
    """The wallet's silent payment address (BIP352), always the same one.

    From the first time on, the wallet looks for what it is paid. What was paid before, by those who
    knew the address from elsewhere, a rescan finds.
    """
    return caller.answer(await caller.write(BITCOIN, "silent_address", wallet), 201)


@router.get("/wallets/{wallet}/balance", responses=shows(BalanceView, "The balance."))
async def balance(caller: Reader, wallet: WalletName) -> Response:
    """What the wallet has, in satoshis."""
    return caller.answer(await caller.read(BITCOIN, "balance", wallet))


@router.get("/wallets/{wallet}/coins", responses=shows_page(CoinView, "One page of coins."))
async def coins(caller: Reader, wallet: WalletName, paging: Page) -> Response:
    """The wallet's coins, own change in the mempool included."""
    found: list[CoinView] = await caller.read(BITCOIN, "coins", wallet)
    return caller.answer(page_of(found, lambda coin: f"{coin.txid} {coin.index:010d}", paging))


@router.post("/wallets/{wallet}/coins/freeze", status_code=204, responses=_DONE)
async def freeze(caller: Writer, wallet: WalletName, body: Freeze) -> Response:
    """Keep coins from being spent, or no longer."""
    await caller.write(BITCOIN, "freeze", wallet, tuple(body.outpoints), body.frozen)
    return caller.answer_nothing()


@router.get("/wallets/{wallet}/labels", responses=shows_page(LabelView, "One page of labels."))
async def labels(caller: Reader, wallet: WalletName, paging: Page) -> Response:
    """The wallet's labels."""
    found: list[LabelView] = await caller.read(BITCOIN, "labels", wallet)
    return caller.answer(page_of(found, lambda label: f"{label.type} {label.ref}", paging))


@router.post("/wallets/{wallet}/labels", status_code=204, responses=_DONE)
async def set_labels(caller: Writer, wallet: WalletName, body: LabelList) -> Response:
    """Set labels; an empty one is taken away."""
    labels = tuple(Label(one.type, one.ref, one.label, one.origin, one.spendable) for one in body.labels)
    await caller.write(BITCOIN, "set_labels", wallet, labels)
    return caller.answer_nothing()


@router.get("/wallets/{wallet}/labels/export", responses=shows_plain("A BIP329 file.", _LABEL_FILE))
async def export_labels(caller: Reader, wallet: WalletName) -> Response:
    """Every label, as a BIP329 file."""
    return caller.answer({"jsonl": await caller.read(BITCOIN, "export_labels", wallet)})


@router.post("/wallets/{wallet}/labels/import", status_code=204, responses=_DONE)
async def import_labels(caller: Writer, wallet: WalletName, body: LabelFile) -> Response:
    """Set the labels of a BIP329 file."""
    await caller.write(BITCOIN, "import_labels", wallet, body.jsonl)
    return caller.answer_nothing()


@router.post("/wallets/{wallet}/rescan", status_code=204, responses=_DONE)
async def rescan(caller: Writer, wallet: WalletName, body: Rescan) -> Response:
    """Look through the chain again; what was told before is not told again."""
    await caller.write(BITCOIN, "rescan", wallet, body.from_height)
    return caller.answer_nothing()


@router.post("/wallets/{wallet}/keys", status_code=201, responses=shows(ExtendedKeyView, "The key.", 201))
async def extended_key(caller: Writer, wallet: WalletName, body: KeyPathBody) -> Response:
    """The extended public key at a path of the wallet's key, to be shared with other signers.

    The key is made at the first time, before there is a wallet of this name.
    """
    return caller.answer(await caller.write(BITCOIN, "extended_key", wallet, body.path), 201)


@router.get("/wallets/{wallet}/payments", responses=shows_page(PaymentView, "One page of payments."))
async def payments(caller: Reader, wallet: WalletName, paging: Page) -> Response:
    """The wallet's payments, by id."""
    found: list[PaymentView] = await caller.read(BITCOIN, "payments", wallet)
    return caller.answer(page_of(found, lambda payment: payment.payment_id, paging))


@router.post("/wallets/{wallet}/payments", status_code=201, responses=shows(PaymentView, "It.", 201))
async def pay(caller: Writer, wallet: WalletName, body: NewWalletPayment) -> Response:
    """Pay. The answer means that the payment is decided and will be sent, whatever crashes."""
    payment: PaymentView = await caller.write(BITCOIN, "pay", wallet, recipients_of(body), terms_of(body))
    return caller.answer(payment, 201, Location=f"{router.prefix}/payments/{payment.payment_id}")


@router.post(
    "/wallets/{wallet}/transactions/{txid}/accelerate",
    status_code=201,
    responses=shows(PaymentView, "The child.", 201),
)
async def accelerate(caller: Writer, wallet: WalletName, txid: Txid, body: Replacement) -> Response:
    """Have a transaction of the mempool mined sooner: a child that spends its output pays for both."""
    terms = SendTerms(body.feerate_sat_per_vb, body.max_fee_sat)
    child: PaymentView = await caller.write(BITCOIN, "accelerate", wallet, txid, terms)
    return caller.answer(child, 201, Location=f"{router.prefix}/payments/{child.payment_id}")


@router.get("/payments/{payment_id}", responses=shows(PaymentView, "The payment."))
async def payment(caller: Reader, payment_id: PaymentId) -> Response:
    """How far a payment has come."""
    return caller.answer(await caller.read(BITCOIN, "payment", payment_id))


@router.post("/payments/{payment_id}/bump", responses=shows(PaymentView, "The payment."))
async def bump(caller: Writer, payment_id: PaymentId, body: Replacement) -> Response:
    """Raise the fee of a payment in the mempool. Of all its versions at most one is ever made."""
    found = await caller.write(BITCOIN, "bump_payment", payment_id, body.feerate_sat_per_vb, body.max_fee_sat)
    return caller.answer(found)


@router.post("/payments/{payment_id}/cancel", responses=shows(PaymentView, "The payment."))
async def cancel(caller: Writer, payment_id: PaymentId, body: Replacement) -> Response:
    """Take a payment in the mempool back, by a replacement that pays the wallet itself."""
    found = await caller.write(
        BITCOIN, "cancel_payment", payment_id, body.feerate_sat_per_vb, body.max_fee_sat
    )
    return caller.answer(found)


@router.post("/wallets/{wallet}/messages", status_code=201, responses=shows(SignedMessageView, "It.", 201))
async def sign_message(caller: Writer, wallet: WalletName, body: MessageToSign) -> Response:
    """Sign a message by one of the wallet's addresses (BIP322)."""
    signed = await caller.write(BITCOIN, "sign_message", wallet, body.address, body.message)
    return caller.answer(signed, 201)


@router.post("/messages/verify", responses=shows(MessageView, "What it shows."))
async def verify_message(caller: Reader, body: MessageToVerify) -> Response:
    """Verify a signed message of any address; a problem if it does not hold."""
    return caller.answer(
        await caller.read(BITCOIN, "verify_message", body.address, body.message, body.signature)
    )
