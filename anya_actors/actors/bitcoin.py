"""The shell of the ``bitcoin`` actor."""

from __future__ import annotations

from anya_actors.actors.shell import served
from anya_actors.actors.wallet_methods import WalletMethods
from anya_actors.domain.bitcoin.payees import PayeeView, PaymentRequestView
from anya_actors.domain.bitcoin.views import (
    BlockView,
    BroadcastView,
    FeeratesView,
    MempoolView,
    ProofView,
    SubscriptionView,
    TipView,
    TransactionView,
    UnspentView,
    WaitingView,
)


class BitcoinActor(WalletMethods):
    """Chain, wallets and payments; each method as in `BitcoinService`."""

    @served
    async def tip(self) -> TipView:
        return await self.service.tip()

    @served
    async def block(self, block: str | int) -> BlockView:
        return await self.service.block(block)

    @served
    async def transaction(self, txid: str) -> TransactionView:
        return await self.service.transaction(txid)

    @served
    async def mempool(self) -> MempoolView:
        return await self.service.node.mempool()

    @served
    async def waiting(self, txid: str) -> WaitingView:
        return await self.service.node.waiting(txid)

    @served
    async def feerates(self) -> FeeratesView:
        return await self.service.node.feerates()

    @served
    async def unspent(self, address: str) -> list[UnspentView]:
        return await self.service.node.unspent(address)

    @served
    async def output(self, txid: str, index: int) -> UnspentView | None:
        return await self.service.node.output(txid, index)

    @served
    async def broadcast(
        self, transaction_hex: str, max_fee_sat: int | None = None, *, message_id: str
    ) -> BroadcastView:
        # Repeating a broadcast changes nothing: it needs no message id to be safe.
        return await self.service.node.broadcast(transaction_hex, max_fee_sat)

    @served
    async def proof(self, txid: str) -> ProofView:
        return await self.service.node.proof(txid)

    @served
    async def verify_proof(self, proof_hex: str) -> ProofView:
        return await self.service.node.verify_proof(proof_hex)

    @served
    async def payment_request(self, uri: str) -> PaymentRequestView:
        return self.service.payees.read(uri)

    @served
    async def payee(self, name: str, proof_hex: str) -> PayeeView:
        return self.service.payees.verify(name, proof_hex)

    @served
    async def subscribe(
        self, subject: str, value: str, confirmations: int, *, message_id: str
    ) -> SubscriptionView:
        return await self.service.subscriptions.subscribe(
            subject, value, confirmations, message_id=message_id
        )

    @served
    async def unsubscribe(self, subscription_id: str, *, message_id: str) -> None:
        await self.service.subscriptions.unsubscribe(subscription_id, message_id=message_id)

    @served
    async def subscriptions(self) -> list[SubscriptionView]:
        return await self.service.subscriptions.subscriptions()

    @served
    async def subscription(self, subscription_id: str) -> SubscriptionView:
        return await self.service.subscriptions.subscription(subscription_id)

    @served
    async def generate(self, address: str, blocks: int, *, message_id: str) -> list[str]:
        return await self.service.generate(address, blocks, message_id=message_id)
