"""PSBTs: made from a wallet's coins, signed in the HSM, combined, finalised and sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin import musig2_psbt
from anya_actors.domain.bitcoin.account import CHANGE
from anya_actors.domain.bitcoin.amount import check_amount_sat
from anya_actors.domain.bitcoin.coin_reservation import CoinsReserved, ReservedPsbt
from anya_actors.domain.bitcoin.orders import SendTerms
from anya_actors.domain.bitcoin.payment_order import PaymentOrder, recipients_from, verify_fee
from anya_actors.domain.bitcoin.payment_plan import PaymentPlan, plan_payment
from anya_actors.domain.bitcoin.psbt import Psbt, PsbtStateError, parse_psbt_base64
from anya_actors.domain.bitcoin.psbt.finalize import finalize_psbt, finalize_what_is_complete
from anya_actors.domain.bitcoin.psbt.roles import combine_psbts, extract_transaction
from anya_actors.domain.bitcoin.psbt.sign import SignatureRequest, input_requests, with_signature
from anya_actors.domain.bitcoin.silent_address import is_silent_address
from anya_actors.domain.bitcoin.transaction import Transaction, parse_outpoint
from anya_actors.domain.bitcoin.views import BroadcastView, PsbtView
from anya_actors.domain.bitcoin.wallet import AddressAdded, ChangeOutput, Wallet, check_wallet_name
from anya_actors.domain.bitcoin.wallet_psbt import (
    described,
    funded_psbt,
    legacy_parents,
    own_inputs,
    psbt_view,
)
from anya_actors.domain.keys.operations import SignRequest
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.signer import Signer
from anya_actors.services.bitcoin.follower import Follower
from anya_actors.services.bitcoin.ledger import Ledger, call_id, expect, wallet_key
from anya_actors.services.bitcoin.payments import Payments
from anya_actors.services.bitcoin.settings import BitcoinSettings
from anya_actors.services.bitcoin.wallets import Wallets

MAX_PSBT_CHARACTERS: Final = 2_000_000
MAX_COMBINED: Final = 20
_ALGORITHMS: Final = {"ecdsa": "ecdsa-secp256k1", "schnorr": "schnorr-bip340"}


class Psbts:
    """Each method as `BitcoinActor` serves it. Texts are base64."""

    def __init__(
        self,
        ledger: Ledger,
        rpc: BitcoinRpc,
        signer: Signer,
        wallets: Wallets,
        payments: Payments,
        follower: Follower,
        clock: Clock,
        randomness: Randomness,
        settings: BitcoinSettings,
    ) -> None:
        self._ledger, self._rpc, self._signer = ledger, rpc, signer
        self._wallets, self._payments, self._follower = wallets, payments, follower
        self._clock, self._randomness, self._settings = clock, randomness, settings

    async def create(
        self,
        wallet: str,
        to: Sequence[tuple[str, int]],
        terms: SendTerms,
        version: int,
        message_id: str,
        *,
        reserve: bool = False,
    ) -> PsbtView:
        """A PSBT that pays these addresses from the wallet's coins, for its signers.

        Its change address is given out. With ``reserve`` its coins are frozen, until somebody
        unfreezes or they are spent; the same message again then gives the same PSBT. Raises as `pay`.
        """
        if version not in (0, 2):
            raise InvalidInputError("version", "PSBTs have version 0 or 2")
        key = wallet_key(check_wallet_name(wallet))
        request = ("reserved psbt", wallet, tuple(to), terms, version)
        async with self._ledger.locks(key):
            earlier = (
                await self._ledger.engine.answered(key, call_id(message_id), request) if reserve else None
            )
            if earlier is not None:
                text = expect(earlier, ReservedPsbt).psbt
                return psbt_view(await self._ledger.wallet(wallet), _parse(text), self._settings.network)
            if any(is_silent_address(address) for address, _ in to):
                raise NotSupportedError(
                    "silent payments in a wallet's PSBT", "send them from the wallet itself"
                )
            found = await self._ledger.wallet(wallet)
            plan = plan_payment(found, await self._order(wallet, to, terms), alone=False)
            change = await self._change(found, plan, key, message_id)
            wanted = sorted(legacy_parents(plan.inputs))
            parents = {bytes(txid): await self._whole(txid) for txid in wanted}
            found = await self._ledger.wallet(wallet)
            psbt = funded_psbt(found, plan, change, version, parents)
            if reserve:
                event = CoinsReserved(psbt.to_base64(), tuple(one.outpoint for one in plan.inputs))
                await self._ledger.engine.handle(key, event, message_id=call_id(message_id), request=request)
        return psbt_view(found, psbt, self._settings.network)

    async def _whole(self, txid: object) -> Transaction:
        return (await self._rpc.transaction(txid)).transaction  # type: ignore[arg-type]

    async def _order(self, wallet: str, to: Sequence[tuple[str, int]], terms: SendTerms) -> PaymentOrder:
        inputs = tuple(parse_outpoint(one) for one in terms.inputs)
        return PaymentOrder(
            payment_id=f"{wallet}.psbt",
            recipients=recipients_from(to, self._settings.network, send_all=terms.send_all),
            feerate_sat_per_vb=await self._payments.feerate(terms.feerate_sat_per_vb),
            max_fee_sat=self._cap(terms.max_fee_sat),
            final_confirmations=self._settings.final_confirmations,
            requested_unix_ms=self._clock.now_unix_ms(),
            seed=self._randomness.token_bytes(16),
            inputs=tuple((bytes(one.txid), one.index) for one in inputs),
            only_inputs=terms.only_inputs,
            subtract_fee=terms.subtract_fee,
            send_all=terms.send_all,
        )

    async def _change(
        self, wallet: Wallet, plan: PaymentPlan, key: str, message_id: str
    ) -> ChangeOutput | None:
        if not plan.needs_change:
            return None
        if wallet.account is None:
            raise NotSupportedError(
                "PSBTs of a wallet without descriptors", "move its coins to a newer wallet"
            )
        change = await self._wallets.change_output(wallet)
        if change.place == wallet.account.next_change:
            event = AddressAdded(place=change.place, branch=CHANGE)
            await self._ledger.engine.handle(key, event, message_id=call_id(f"{message_id}/{change.place}"))
        return change

    async def sign(self, wallet: str, text: str, max_fee_sat: int | None) -> PsbtView:
        """Add the signatures, MuSig2 nonces and parts that the wallet's key in the HSM can give.

        Signs nothing but inputs of the wallet's own scripts, and only if the fee is known and
        within the cap. Raises `PsbtError`, `PsbtStateError`, `FeeCapMissingError`,
        `AbsurdFeeError`, `NotSupportedError`, `NonceLostError`.
        """
        found = await self._ledger.wallet(check_wallet_name(wallet))
        psbt = described(found, _parse(text))
        if found.account is None or not found.account.key:
            raise NotSupportedError("signing in a watch-only wallet", "its keys are elsewhere")
        own = list(own_inputs(found, psbt))
        if not own:
            raise PsbtStateError("signed", f"no input is of the wallet {wallet}")
        fee_sat = psbt.fee_sat()
        if fee_sat is None or fee_sat < 0:
            raise PsbtStateError("signed", "its fee is not known, or is below zero")
        verify_fee(self._settings.network, fee_sat, self._cap(max_fee_sat))
        key, fingerprint = found.account.key, found.account.fingerprint
        for index in own:
            psbt = await self._sign_input(psbt, index, key, fingerprint)
            psbt = await self._sign_shared(psbt, index, key, fingerprint)
        return psbt_view(found, psbt, self._settings.network)

    async def _sign_input(self, psbt: Psbt, index: int, key: str, fingerprint: bytes) -> Psbt:
        if psbt.inputs[index].is_final:
            return psbt
        wanted = [
            request
            for request in input_requests(
                psbt, index, lambda _, origin: origin is not None and origin.fingerprint == fingerprint
            )
            if request.origin is not None
        ]
        if not wanted:
            return psbt
        signatures = await self._signer.sign_many([_asked(key, one) for one in wanted])
        for request, signature in zip(wanted, signatures, strict=True):
            psbt = with_signature(psbt, request, signature)
        return psbt

    async def _sign_shared(self, psbt: Psbt, index: int, key: str, fingerprint: bytes) -> Psbt:
        """One round of each MuSig2 key of the input: our nonces, and our parts once all nonces are there."""
        if psbt.inputs[index].is_final:
            return psbt
        for shared in musig2_psbt.shared_keys(psbt, index):
            held = psbt.inputs[index]
            for participant in shared.participants:
                derivation = held.tap_derivations.get(participant[1:])
                if derivation is None or derivation[1].fingerprint != fingerprint:
                    continue
                path = derivation[1].path
                name = (participant, shared.key.public_key, shared.leaf_hash)
                if name not in held.musig2_nonces:
                    message = musig2_psbt.message_of(psbt, index, shared)
                    nonce = await self._signer.musig2_nonce(
                        key, path=path, aggregate_key=shared.key.x_only, message=message
                    )
                    psbt = musig2_psbt.with_nonce(psbt, index, shared, participant, nonce)
                signing = musig2_psbt.round_of(psbt, index, shared)
                if signing is not None and name not in held.musig2_partial_signatures:
                    nonce = psbt.inputs[index].musig2_nonces[name]
                    part = await self._signer.musig2_partial_sign(key, nonce, signing, path=path)
                    psbt = musig2_psbt.with_part(psbt, index, shared, participant, part)
            psbt = musig2_psbt.with_signature(psbt, index, shared)
        return psbt

    def combine(self, texts: Sequence[str]) -> PsbtView:
        """All fields of several PSBTs of one transaction."""
        if not 1 <= len(texts) <= MAX_COMBINED:
            raise InvalidInputError("psbts", f"there are 1 to {MAX_COMBINED} of them")
        psbt = combine_psbts([_parse(text) for text in texts])
        for index in range(len(psbt.inputs)):
            if not psbt.inputs[index].is_final:
                for shared in musig2_psbt.shared_keys(psbt, index):
                    psbt = musig2_psbt.with_signature(psbt, index, shared)
        return psbt_view(None, psbt, self._settings.network)

    def finalize(self, text: str) -> PsbtView:
        """Finalise the inputs that can be."""
        psbt, _ = finalize_what_is_complete(_parse(text))
        return psbt_view(None, psbt, self._settings.network)

    async def decode(self, text: str, wallet: str | None) -> PsbtView:
        """What a PSBT does, seen from a wallet if one is named."""
        psbt = _parse(text)
        found = None if wallet is None else await self._ledger.wallet(check_wallet_name(wallet))
        return psbt_view(found, psbt if found is None else described(found, psbt), self._settings.network)

    async def send(self, text: str, max_fee_sat: int | None) -> BroadcastView:
        """Finalise a PSBT and hand its transaction to the node; again is harmless.

        Raises `PsbtStateError` if signatures are missing, `FeeCapMissingError`, `AbsurdFeeError`,
        `BroadcastRejectedError`.
        """
        psbt = finalize_psbt(_parse(text))
        fee_sat = psbt.fee_sat()
        if fee_sat is None or fee_sat < 0:
            raise PsbtStateError("sent", "its fee is not known, or is below zero")
        verify_fee(self._settings.network, fee_sat, self._cap(max_fee_sat))
        transaction = extract_transaction(psbt)
        await self._rpc.broadcast(transaction)
        self._follower.wake()
        return BroadcastView(str(transaction.txid), str(transaction.wtxid), transaction.vsize)

    def _cap(self, max_fee_sat: int | None) -> int | None:
        return self._settings.max_fee_sat if max_fee_sat is None else check_amount_sat(max_fee_sat)


def _parse(text: str) -> Psbt:
    if len(text) > MAX_PSBT_CHARACTERS:
        raise InvalidInputError("psbt", f"it has more than {MAX_PSBT_CHARACTERS} characters")
    return parse_psbt_base64(text.strip())


def _asked(key: str, request: SignatureRequest) -> SignRequest:
    path = () if request.origin is None else request.origin.path
    return SignRequest(key, request.digest, _ALGORITHMS[request.algorithm], path, request.merkle_root)
