"""The part of the ``bitcoin`` actor that is about wallets; each method as in `BitcoinService`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anya_actors.actors.shell import DurableActor, served
from anya_actors.domain.bitcoin.orders import Label
from anya_actors.domain.bitcoin.views import (
    AddressView,
    BalanceView,
    BroadcastView,
    CoinView,
    ExtendedKeyView,
    LabelView,
    MessageView,
    PaymentView,
    PsbtView,
    SignedMessageView,
    WalletView,
)

if TYPE_CHECKING:
    from anya_actors.services.bitcoin import BitcoinService, SendTerms, WalletOrder

    Shell = DurableActor[BitcoinService]
else:  # the coordinator names the shells of all kinds, and must not load what is behind them
    Shell = DurableActor


class WalletMethods(Shell):
    """Wallets, payments and messages."""

    @served
    async def create_wallet(
        self, name: str, order: WalletOrder | None = None, *, message_id: str
    ) -> WalletView:
        return await self.service.create_wallet(name, order, message_id=message_id)

    @served
    async def wallets(self) -> list[WalletView]:
        return await self.service.wallets()

    @served
    async def wallet(self, name: str) -> WalletView:
        return await self.service.wallet_book.wallet(name)

    @served
    async def new_address(self, wallet: str, change: bool = False, *, message_id: str) -> AddressView:
        return await self.service.wallet_book.new_address(wallet, message_id, change=change)

    @served
    async def silent_address(self, wallet: str, *, message_id: str) -> AddressView:
        return await self.service.wallet_book.silent_address(wallet, message_id)

    @served
    async def addresses(self, wallet: str) -> list[AddressView]:
        return await self.service.wallet_book.addresses(wallet)

    @served
    async def balance(self, wallet: str) -> BalanceView:
        return await self.service.balance(wallet)

    @served
    async def coins(self, wallet: str) -> list[CoinView]:
        return await self.service.wallet_book.coins(wallet)

    @served
    async def freeze(self, wallet: str, outpoints: Sequence[str], frozen: bool, *, message_id: str) -> None:
        await self.service.wallet_book.freeze(wallet, outpoints, frozen, message_id)

    @served
    async def labels(self, wallet: str) -> list[LabelView]:
        return await self.service.wallet_book.labels(wallet)

    @served
    async def set_labels(self, wallet: str, labels: Sequence[Label], *, message_id: str) -> None:
        await self.service.wallet_book.set_labels(wallet, labels, message_id)

    @served
    async def export_labels(self, wallet: str) -> str:
        return await self.service.wallet_book.export_labels(wallet)

    @served
    async def import_labels(self, wallet: str, text: str, *, message_id: str) -> None:
        await self.service.wallet_book.import_labels(wallet, text, message_id)

    @served
    async def rescan(self, wallet: str, height: int, *, message_id: str) -> None:
        await self.service.wallet_book.rescan(wallet, height, message_id)

    @served
    async def extended_key(self, wallet: str, path: str, *, message_id: str) -> ExtendedKeyView:
        return await self.service.wallet_book.extended_key(wallet, path)

    @served
    async def send(
        self,
        wallet: str,
        address: str,
        amount_sat: int,
        feerate_sat_per_vb: int | None = None,
        max_fee_sat: int | None = None,
        *,
        message_id: str,
    ) -> PaymentView:
        return await self.service.send(
            wallet, address, amount_sat, feerate_sat_per_vb, max_fee_sat, message_id=message_id
        )

    @served
    async def pay(
        self, wallet: str, to: Sequence[tuple[str, int]], terms: SendTerms, *, message_id: str
    ) -> PaymentView:
        return await self.service.pay(wallet, to, terms, message_id=message_id)

    @served
    async def bump_payment(
        self,
        payment_id: str,
        feerate_sat_per_vb: int | None = None,
        max_fee_sat: int | None = None,
        *,
        message_id: str,
    ) -> PaymentView:
        return await self.service.bump_payment(
            payment_id, feerate_sat_per_vb, max_fee_sat, message_id=message_id
        )

    @served
    async def cancel_payment(
        self,
        payment_id: str,
        feerate_sat_per_vb: int | None = None,
        max_fee_sat: int | None = None,
        *,
        message_id: str,
    ) -> PaymentView:
        return await self.service.cancel_payment(
            payment_id, feerate_sat_per_vb, max_fee_sat, message_id=message_id
        )

    @served
    async def accelerate(self, wallet: str, txid: str, terms: SendTerms, *, message_id: str) -> PaymentView:
        return await self.service.accelerate(wallet, txid, terms, message_id=message_id)

    @served
    async def payment(self, payment_id: str) -> PaymentView:
        return await self.service.payment(payment_id)

    @served
    async def payments(self, wallet: str) -> list[PaymentView]:
        return await self.service.payments(wallet)

    @served
    async def sign_message(
        self, wallet: str, address: str, message: str, *, message_id: str
    ) -> SignedMessageView:
        return await self.service.messages.sign(wallet, address, message)

    @served
    async def verify_message(self, address: str, message: str, signature: str) -> MessageView:
        return self.service.messages.verify(address, message, signature)

    @served
    async def create_psbt(
        self,
        wallet: str,
        to: Sequence[tuple[str, int]],
        terms: SendTerms,
        version: int = 0,
        reserve: bool = False,
        *,
        message_id: str,
    ) -> PsbtView:
        return await self.service.psbts.create(wallet, to, terms, version, message_id, reserve=reserve)

    @served
    async def sign_psbt(
        self, wallet: str, psbt: str, max_fee_sat: int | None = None, *, message_id: str
    ) -> PsbtView:
        return await self.service.psbts.sign(wallet, psbt, max_fee_sat)

    @served
    async def combine_psbts(self, psbts: Sequence[str]) -> PsbtView:
        return self.service.psbts.combine(psbts)

    @served
    async def finalize_psbt(self, psbt: str) -> PsbtView:
        return self.service.psbts.finalize(psbt)

    @served
    async def decode_psbt(self, psbt: str, wallet: str | None = None) -> PsbtView:
        return await self.service.psbts.decode(psbt, wallet)

    @served
    async def send_psbt(self, psbt: str, max_fee_sat: int | None = None, *, message_id: str) -> BroadcastView:
        return await self.service.psbts.send(psbt, max_fee_sat)
