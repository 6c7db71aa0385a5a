"""Coins of one key, and transactions that spend them as a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.transaction import (
    MAX_SEQUENCE_RBF,
    Outpoint,
    Transaction,
    TxInput,
    TxOutput,
)
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind
from anya_actors.services.bitcoin_node.wallets.payments import PaymentRequest
from anya_actors.testing.spending_key import SpendingKey

Spendable = tuple[Outpoint, int]
"""An output of the purse's key, and its amount in satoshis."""


@dataclass(slots=True)
class Purse:
    """One key with mature coinbases."""

    key: SpendingKey
    coins: list[Spendable]

    @classmethod
    async def filled(cls, node: BitcoinNodeService, coins: int) -> Purse:
        """Mine so many coinbases to a key and let them mature."""
        key = SpendingKey(b"purse")
        await node.generate(key.script_pubkey, coins)
        await node.generate(b"\x51", 100)
        return cls.of(node, key)

    @classmethod
    def of(cls, node: BitcoinNodeService, key: SpendingKey) -> Purse:
        """What a key has now, oldest first."""
        found = node.chain.index.unspent(scripthash(key.script_pubkey))
        return cls(key, [(outpoint, coin.amount_sat) for outpoint, coin in found])

    def coin(self, place: int = 0) -> Spendable:
        return self.coins[place]

    def output(self, transaction: Transaction, index: int = 0) -> Spendable:
        return Outpoint(transaction.txid, index), transaction.outputs[index].amount_sat

    def spend(
        self,
        spent: Sequence[Spendable],
        *,
        fee_sat: int,
        outputs: int = 1,
        to: bytes | None = None,
        sequence: int = MAX_SEQUENCE_RBF,
        version: int = 2,
        extra: Sequence[TxOutput] = (),
        lock_time: int = 0,
    ) -> Transaction:
        """Spend outputs of the key, all but the fee going to so many equal outputs and the extra ones."""
        total = sum(amount for _, amount in spent) - fee_sat - sum(output.amount_sat for output in extra)
        script = self.key.script_pubkey if to is None else to
        paid = [TxOutput(total // outputs, script) for _ in range(outputs - 1)]
        paid.append(TxOutput(total - sum(output.amount_sat for output in paid), script))
        inputs = tuple(TxInput(outpoint, sequence=sequence) for outpoint, _ in spent)
        bare = Transaction(version, inputs, (*paid, *extra), lock_time)
        prevouts = [TxOutput(amount, self.key.script_pubkey) for _, amount in spent]
        return self.signed(bare, prevouts)

    def signed(self, bare: Transaction, prevouts: Sequence[TxOutput]) -> Transaction:
        """With a witness for each input that spends the key's script."""
        inputs = tuple(
            msgspec.structs.replace(tx_input, witness=self.key.witness(bare, place, list(prevouts)))
            if prevouts[place].script_pubkey == self.key.script_pubkey
            else tx_input
            for place, tx_input in enumerate(bare.inputs)
        )
        return msgspec.structs.replace(bare, inputs=inputs)


async def wallet_script(node: BitcoinNodeService) -> bytes:
    """A fresh output script of the node's unnamed wallet."""
    wallet = await node.in_turn(node.wallets.default)
    return (await node.in_turn(lambda: node.wallets.new_script(wallet, AddressKind.BECH32M))).script_pubkey


async def pay(node: BitcoinNodeService, script_pubkey: bytes, amount_sat: int) -> Txid:
    """Pay from the node's unnamed wallet at one satoshi a vbyte; raises `InsufficientFundsError`."""
    wallet = node.wallets.all[""]

    async def signed() -> Transaction:
        request = PaymentRequest((TxOutput(amount_sat, script_pubkey),), feerate_sat_per_vb=1)
        payment = await node.wallets.build(wallet, request, AddressKind.BECH32)
        return await node.wallets.sign(wallet, payment.transaction)

    return (await node.send(wallet, signed)).txid
