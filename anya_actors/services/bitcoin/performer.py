"""Performs what wallets owe: signatures by the HSM, broadcasts by the node."""

from __future__ import annotations

from anya_actors.domain.bitcoin.payment import (
    BroadcastPayment,
    PaymentBroadcast,
    PaymentRefused,
    PaymentSigned,
    PaymentSigningRefused,
    Phase,
    SignPayment,
)
from anya_actors.domain.bitcoin.payment_signing import spends_of, with_witnesses
from anya_actors.domain.bitcoin.transaction import parse_transaction
from anya_actors.domain.hsm.errors import OperationRefusedError, UnknownKeyError
from anya_actors.domain.machine import AnyaError, Command, Event, NotSupportedError, UnavailableError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc, BroadcastRejectedError
from anya_actors.ports.signer import Signer
from anya_actors.services.bitcoin.follower import Follower
from anya_actors.services.bitcoin.ledger import Ledger

_IN_A_BLOCK = (Phase.CONFIRMED, Phase.SETTLED)


class SignatureMismatchError(AnyaError):
    """The HSM answered a signature that does not hold for the key and the digest."""

    code = "signature-mismatch"
    message = "the signature by key {} does not hold"
    remedy = "Nothing was sent. Check the HSM's audit log and its key; the platform asks it again."

    def __init__(self, key: str) -> None:
        super().__init__(key)


class Performer:
    """Each method may be repeated after a crash at any point, with the same effect as once."""

    def __init__(self, ledger: Ledger, rpc: BitcoinRpc, signer: Signer, follower: Follower) -> None:
        self._ledger = ledger
        self._rpc = rpc
        self._signer = signer
        self._follower = follower

    async def perform(self, key: str, command: Command, _: str) -> Event | None:
        """Do what the wallet under ``key`` owes; what came of it."""
        match command:
            case SignPayment():
                return await self._sign(key, command)
            case BroadcastPayment():
                return await self._broadcast(key, command)
        raise NotSupportedError(type(command).__name__, "the bitcoin actor owes no such thing")

    async def _sign(self, key: str, command: SignPayment) -> Event:
        bare = parse_transaction(command.transaction)
        wallet = await self._ledger.wallet(key.partition("/")[2])
        spends = spends_of(wallet, bare, command.inputs)
        try:
            signatures = await self._signer.sign_many([spend.request for spend in spends])
        except (UnknownKeyError, OperationRefusedError) as error:
            return PaymentSigningRefused(command.payment_id, str(error), bytes(bare.txid))
        for spend, signature in zip(spends, signatures, strict=True):
            if not spend.holds(signature):
                raise SignatureMismatchError(spend.request.key)
        signed = with_witnesses(bare, spends, signatures)
        return PaymentSigned(command.payment_id, signed.serialize(), bytes(bare.txid))

    async def _broadcast(self, key: str, command: BroadcastPayment) -> Event:
        transaction = parse_transaction(command.transaction)
        version = bytes(transaction.txid)
        try:
            await self._rpc.broadcast(transaction)
        except BroadcastRejectedError as error:
            return await self._refused(key, command.payment_id, error.reason, version)
        self._follower.wake()
        return PaymentBroadcast(command.payment_id, version)

    async def _refused(self, key: str, payment_id: str, reason: str, version: bytes) -> Event:
        # A node that has the transaction in a block whose outputs are all spent rejects it like
        # one whose coins are missing. The chain knows: look there before believing the refusal.
        info = await self._rpc.chain_info()
        await self._follower.follow(mempool=False)
        wallet = await self._ledger.wallet(key.partition("/")[2])
        if info.initial_block_download and info.height < wallet.cursor.height:
            # The block that made its coins may be one that the node has still to read anew.
            raise UnavailableError("the Bitcoin node", "it has not yet read all the blocks that it had")
        if wallet.payment(payment_id).phase in _IN_A_BLOCK:
            return PaymentBroadcast(payment_id, version)
        return PaymentRefused(payment_id, reason, wallet.cursor.height, version)
