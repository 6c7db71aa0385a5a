"""Paying: promises, replacements, and how they fare."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin import payment as payments
from anya_actors.domain.bitcoin.child_plan import ChildOrder, NothingToSpendError, own_outputs, plan_child
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.orders import SendTerms
from anya_actors.domain.bitcoin.payment import Payment
from anya_actors.domain.bitcoin.payment_order import (
    DEFAULT_MAX_FEERATE_SAT_PER_VB,
    PaymentOrder,
    check_feerate,
    recipients_from,
)
from anya_actors.domain.bitcoin.payment_plan import PaymentPlan, plan_payment
from anya_actors.domain.bitcoin.replacement_plan import plan_replacement
from anya_actors.domain.bitcoin.silent_sending import has_silent, share_requests, with_silent_scripts
from anya_actors.domain.bitcoin.transaction import parse_outpoint
from anya_actors.domain.bitcoin.views import PaymentView
from anya_actors.domain.bitcoin.wallet import (
    PaymentRequested,
    ReplacementRequested,
    UnknownPaymentError,
    UnknownWalletError,
    Wallet,
    check_wallet_name,
)
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.signer import Signer
from anya_actors.services.bitcoin.ledger import Ledger, call_id, expect, wallet_key
from anya_actors.services.bitcoin.settings import REGTEST_FEERATE_SAT_PER_VB, BitcoinSettings
from anya_actors.services.bitcoin.wallets import Wallets
from anya_actors.services.durable import IdempotencyConflictError

_SEED_SIZE: Final = 16


class FeerateUnknownError(AnyaError):
    """The payment names no feerate and the node cannot estimate one."""

    code = "feerate-unknown"
    message = "the node on {} has seen too few transactions to estimate a feerate"
    remedy = "Give feerate_sat_per_vb with the payment, or set bitcoin.fallback_feerate_sat_per_vb."

    def __init__(self, network: str) -> None:
        super().__init__(network)


class Payments:
    """See `BitcoinService`, which says what each method promises."""

    def __init__(
        self,
        ledger: Ledger,
        rpc: BitcoinRpc,
        wallets: Wallets,
        signer: Signer,
        clock: Clock,
        randomness: Randomness,
        settings: BitcoinSettings,
    ) -> None:
        self._ledger, self._rpc, self._wallets = ledger, rpc, wallets
        self._clock, self._randomness, self._settings = clock, randomness, settings
        self._signer = signer

    async def send(
        self, wallet: str, to: Sequence[tuple[str, int]], terms: SendTerms, message_id: str, request: object
    ) -> PaymentView:
        """Promise a payment; ``request`` is what makes two calls the same."""
        key = wallet_key(check_wallet_name(wallet))
        async with self._ledger.locks(key):
            answered = await self._ledger.engine.answered(key, call_id(message_id), request)
            if isinstance(answered, PaymentView):
                return answered
            before = await self._ledger.wallet(wallet)
            # Before anything is asked of the node, so that bad input is told as such even without one.
            recipients = recipients_from(to, self._settings.network, send_all=terms.send_all)
            inputs = tuple(parse_outpoint(one) for one in terms.inputs)
            payment_id = _payment_id(wallet, message_id)
            promised = next((one for one in before.payments if one.payment_id == payment_id), None)
            if promised is not None:
                return _same_payment(promised, to, before, message_id)
            order = PaymentOrder(
                payment_id=payment_id,
                recipients=recipients,
                feerate_sat_per_vb=await self.feerate(terms.feerate_sat_per_vb),
                max_fee_sat=self._cap(terms.max_fee_sat),
                final_confirmations=self._settings.final_confirmations,
                requested_unix_ms=self._clock.now_unix_ms(),
                seed=self._randomness.token_bytes(_SEED_SIZE),
                inputs=tuple((bytes(one.txid), one.index) for one in inputs),
                only_inputs=terms.only_inputs,
                subtract_fee=terms.subtract_fee,
                send_all=terms.send_all,
            )
            plan = await self._revealed(before, plan_payment(before, order))
            change = await self._wallets.change_output(before) if plan.needs_change else None
            event = PaymentRequested(plan.payment(change), change)
            answer = await self._ledger.engine.handle(
                key, event, message_id=call_id(message_id), request=request
            )
        return expect(answer, PaymentView)

    async def replace(
        self,
        payment_id: str,
        feerate_sat_per_vb: int | None,
        max_fee_sat: int | None,
        message_id: str,
        *,
        cancel: bool,
    ) -> PaymentView:
        """Replace a payment's transaction by one that pays a higher fee, or that takes it back."""
        wallet = payment_id.rpartition(".")[0]
        key, request = wallet_key(wallet), ("replace", payment_id, feerate_sat_per_vb, max_fee_sat, cancel)
        async with self._ledger.locks(key):
            answered = await self._ledger.engine.answered(key, call_id(message_id), request)
            if isinstance(answered, PaymentView):
                return answered
            before = await self._wallet_of(payment_id)
            payment = before.payment(payment_id)
            plan = plan_replacement(
                before, payment, feerate_sat_per_vb, self._cap(max_fee_sat), cancel=cancel
            )
            change = await self._wallets.change_output(before) if plan.needs_change else None
            event = ReplacementRequested(payment_id, plan.version(change), change)
            answer = await self._ledger.engine.handle(
                key, event, message_id=call_id(message_id), request=request
            )
        return expect(answer, PaymentView)

    async def accelerate(self, wallet: str, txid: str, terms: SendTerms, message_id: str) -> PaymentView:
        """Pay for a transaction of the mempool by a child that spends what it gives the wallet."""
        key, request = wallet_key(check_wallet_name(wallet)), ("accelerate", wallet, txid, terms)
        async with self._ledger.locks(key):
            answered = await self._ledger.engine.answered(key, call_id(message_id), request)
            if isinstance(answered, PaymentView):
                return answered
            before = await self._ledger.wallet(wallet)
            parent = Txid.from_hex(txid)
            found = await self._rpc.transaction(parent)
            if found.block_hash is not None:
                raise NothingToSpendError(wallet, txid)
            waiting = await self._rpc.waiting(parent)
            coins = own_outputs(before, found.transaction)
            to = await self._wallets.change_output(before)
            order = ChildOrder(
                payment_id=_payment_id(wallet, message_id),
                feerate_sat_per_vb=await self.feerate(terms.feerate_sat_per_vb),
                max_fee_sat=self._cap(terms.max_fee_sat),
                ancestors_vsize=waiting.ancestor_vsize,
                ancestors_fee_sat=waiting.ancestor_fee_sat,
                final_confirmations=self._settings.final_confirmations,
                requested_unix_ms=self._clock.now_unix_ms(),
            )
            incoming = tuple(coin.outpoint for coin in coins)
            event = PaymentRequested(plan_child(before, coins, to, order), to, incoming)
            answer = await self._ledger.engine.handle(
                key, event, message_id=call_id(message_id), request=request
            )
        return expect(answer, PaymentView)

    async def payment(self, payment_id: str) -> PaymentView:
        """How a payment fares; raises `UnknownPaymentError`."""
        wallet = await self._wallet_of(payment_id)
        return payments.view_of(wallet.payment(payment_id), wallet.cursor.height)

    async def payments(self, wallet: str) -> list[PaymentView]:
        """Every payment of the wallet, oldest first."""
        found = await self._ledger.wallet(check_wallet_name(wallet))
        return [payments.view_of(payment, found.cursor.height) for payment in found.payments]

    async def _revealed(self, wallet: Wallet, plan: PaymentPlan) -> PaymentPlan:
        """The plan with the outputs of its silent payments, which depend on its coins."""
        if not has_silent(plan.recipients):
            return plan
        products = {
            request: await self._signer.shared_point(request.key, request.scan_key, path=request.path)
            for request in share_requests(wallet, plan.inputs, plan.recipients)
        }
        recipients = with_silent_scripts(wallet, plan.inputs, plan.recipients, products)
        return dataclasses.replace(plan, recipients=recipients)

    async def _wallet_of(self, payment_id: str) -> Wallet:
        try:
            return await self._ledger.wallet(payment_id.rpartition(".")[0])
        except UnknownWalletError:
            raise UnknownPaymentError(payment_id) from None

    def _cap(self, max_fee_sat: int | None) -> int | None:
        return self._settings.max_fee_sat if max_fee_sat is None else max_fee_sat

    async def feerate(self, feerate_sat_per_vb: int | None) -> int:
        """The feerate itself, else the node's estimate, else the settings'; raises `FeerateUnknownError`."""
        if feerate_sat_per_vb is not None:
            return check_feerate(feerate_sat_per_vb)
        estimate = await self._rpc.estimate_feerate(self._settings.confirm_target_blocks)
        if estimate is not None:
            return min(max(estimate, 1), DEFAULT_MAX_FEERATE_SAT_PER_VB)
        if self._settings.fallback_feerate_sat_per_vb is not None:
            return check_feerate(self._settings.fallback_feerate_sat_per_vb)
        if self._settings.network is Network.REGTEST:
            return REGTEST_FEERATE_SAT_PER_VB
        raise FeerateUnknownError(self._settings.network.value)


def _payment_id(wallet: str, message_id: str) -> str:
    return f"{wallet}.{hashlib.sha256(message_id.encode()).hexdigest()[:24]}"


def _same_payment(
    promised: Payment, to: Sequence[tuple[str, int]], wallet: Wallet, message_id: str
) -> PaymentView:
    """So long ago that the engine has forgotten its answer; the payment is not."""
    asked = [(one.address, one.amount_sat) for one in payments.recipients_of(promised)]
    if [address for address, _ in asked] != [address for address, _ in to] or (
        promised.recipients == () and asked != list(to)
    ):
        raise IdempotencyConflictError(message_id)
    return payments.view_of(promised, wallet.cursor.height)
