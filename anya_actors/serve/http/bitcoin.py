"""`/api/v1/bitcoin`: the chain, wallets and payments, through the `bitcoin` actor."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from anya_actors.domain.bitcoin.payees import PayeeView, PaymentRequestView
from anya_actors.domain.bitcoin.views import (
    AddressView,
    BalanceView,
    BlockView,
    BroadcastView,
    FeeratesView,
    MempoolView,
    PaymentView,
    ProofView,
    SubscriptionView,
    TipView,
    TransactionView,
    UnspentView,
    WaitingView,
    WalletView,
)
from anya_actors.domain.machine import NotSupportedError
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.errors import OutputNotFoundError
from anya_actors.serve.schemas.bitcoin import (
    Address,
    BlockName,
    NewBlocks,
    NewPayment,
    NewSubscription,
    NewWallet,
    OutputIndex,
    Payee,
    PaymentId,
    PaymentRequest,
    Proof,
    RawTransaction,
    SubscriptionId,
    Txid,
    WalletName,
)
from anya_actors.serve.shapes import Paging, page_of, shows, shows_page, shows_plain

BITCOIN: Final = "bitcoin/main"
VIEWS: Final = (
    TipView,
    BlockView,
    TransactionView,
    BroadcastView,
    ProofView,
    UnspentView,
    MempoolView,
    WaitingView,
    FeeratesView,
    PaymentRequestView,
    PayeeView,
    SubscriptionView,
    WalletView,
    AddressView,
    BalanceView,
    PaymentView,
)

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


@router.post("/transactions", status_code=201, responses=shows(BroadcastView, "The node has it.", 201))
async def broadcast(caller: Writer, body: RawTransaction) -> Response:
    """Hand a signed transaction to the node. One that it has already is taken as well."""
    sent: BroadcastView = await caller.write(BITCOIN, "broadcast", body.hex, body.max_fee_sat)
    return caller.answer(sent, 201, Location=f"{router.prefix}/transactions/{sent.txid}")


@router.get("/transactions/{txid}/proof", responses=shows(ProofView, "The proof."))
async def proof(caller: Reader, txid: Txid) -> Response:
    """Proof that a block of the active chain holds the transaction (SPV)."""
    return caller.answer(await caller.read(BITCOIN, "proof", txid))


@router.post("/proofs/verify", responses=shows(ProofView, "It holds."))
async def verify_proof(caller: Reader, body: Proof) -> Response:
    """What a proof proves; one that does not hold is an error."""
    return caller.answer(await caller.read(BITCOIN, "verify_proof", body.proof))


@router.post("/payment-requests/read", responses=shows(PaymentRequestView, "What is asked for."))
async def read_payment_request(caller: Reader, body: PaymentRequest) -> Response:
    """What a `bitcoin:` URI asks for, and all the ways to pay it (BIP21, BIP321)."""
    return caller.answer(await caller.read(BITCOIN, "payment_request", body.uri))


@router.post("/payees/verify", responses=shows(PayeeView, "What the payee wants to be paid by."))
async def verify_payee(caller: Reader, body: Payee) -> Response:
    """What the owner of a name wants to be paid by, if its DNSSEC proof holds now (BIP353)."""
    return caller.answer(await caller.read(BITCOIN, "payee", body.name, body.proof))


@router.get("/outputs/{txid}/{index}", responses=shows(UnspentView, "It is unspent."))
async def output(caller: Reader, txid: Txid, index: OutputIndex) -> Response:
    """An output that nothing has spent, in blocks or the mempool."""
    found: UnspentView | None = await caller.read(BITCOIN, "output", txid, index)
    if found is None:
        raise OutputNotFoundError(txid, index)
    return caller.answer(found)


@router.get("/addresses/{address}/unspent", responses=shows_page(UnspentView, "One page of coins."))
async def unspent(caller: Reader, address: Address, paging: Page) -> Response:
    """The coins of an address in blocks. A large chain is searched for minutes."""
    found: list[UnspentView] = await caller.read(BITCOIN, "unspent", address)
    return caller.answer(page_of(found, lambda one: f"{one.height:09d}{one.txid}{one.index:010d}", paging))


@router.get("/mempool", responses=shows(MempoolView, "The mempool."))
async def mempool(caller: Reader) -> Response:
    """The node's mempool as a whole."""
    return caller.answer(await caller.read(BITCOIN, "mempool"))


@router.get("/mempool/{txid}", responses=shows(WaitingView, "It waits."))
async def waiting(caller: Reader, txid: Txid) -> Response:
    """A transaction of the mempool with its relatives."""
    return caller.answer(await caller.read(BITCOIN, "waiting", txid))


@router.get("/feerates", responses=shows(FeeratesView, "The node's estimates."))
async def feerates(caller: Reader) -> Response:
    """What it takes to confirm within so many blocks."""
    return caller.answer(await caller.read(BITCOIN, "feerates"))


@router.get("/subscriptions", responses=shows_page(SubscriptionView, "One page of subscriptions."))
async def subscriptions(caller: Reader, paging: Page) -> Response:
    """Who waits for what, by id."""
    found: list[SubscriptionView] = await caller.read(BITCOIN, "subscriptions")
    return caller.answer(page_of(found, lambda one: one.subscription_id, paging))


@router.post("/subscriptions", status_code=201, responses=shows(SubscriptionView, "Made.", 201))
async def subscribe(caller: Writer, body: NewSubscription) -> Response:
    """Wait for a transaction, for payments to an address or script, or for an outpoint to be spent.

    The events BitcoinTransactionSeen, …Confirmed and …Reorged then come with the subscription's id,
    each exactly once and in order, whatever crashes.
    """
    made: SubscriptionView = await caller.write(
        BITCOIN, "subscribe", body.subject, body.value, body.confirmations
    )
    return caller.answer(made, 201, Location=f"{router.prefix}/subscriptions/{made.subscription_id}")


@router.get("/subscriptions/{subscription_id}", responses=shows(SubscriptionView, "The subscription."))
async def subscription(caller: Reader, subscription_id: SubscriptionId) -> Response:
    """What a subscription has seen."""
    return caller.answer(await caller.read(BITCOIN, "subscription", subscription_id))


@router.delete("/subscriptions/{subscription_id}", status_code=204)
async def unsubscribe(caller: Writer, subscription_id: SubscriptionId) -> Response:
    """End a subscription."""
    await caller.write(BITCOIN, "unsubscribe", subscription_id)
    return caller.answer_nothing()


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
