"""The node's own small wallet, for regtest: addresses, balance, and payments without ceremony."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.mempool_policy import fee_at_rate
from anya_actors.domain.bitcoin.standardness import dust_threshold_sat
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.encoding import UnreadableRecordError
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.randomness import Randomness
from anya_actors.services.bitcoin_node.chain import Chain
from anya_actors.services.bitcoin_node.journal import Journal, KeyGiven, WalletSeeded
from anya_actors.services.bitcoin_node.wallet_keys import AddressKind, WalletKey

FALLBACK_FEERATE_SAT_PER_KVB: Final = 5_000
"""Paid when no rate is named: regtest has no market to estimate one from."""


class InsufficientFundsError(AnyaError):
    """The node's wallet has not enough spendable coins."""

    code = "insufficient-funds"
    message = "the node's wallet can spend {} sat, {} sat are needed with the fee"
    remedy = "Mine blocks to an address of this wallet; a coinbase matures after 100 blocks."

    def __init__(self, available_sat: int, needed_sat: int) -> None:
        super().__init__(available_sat, needed_sat)


@dataclass(frozen=True, slots=True)
class Funds:
    """One output of the wallet. ``confirmations`` is 0 while it waits."""

    outpoint: Outpoint
    coin: Coin
    key: WalletKey
    confirmations: int
    is_mature: bool


class NodeWallet:
    """Keys and what they can spend. Callers take turns when they change it."""

    def __init__(self, chain: Chain, pool: Mempool, journal: Journal, randomness: Randomness) -> None:
        self._chain = chain
        self._pool = pool
        self._journal = journal
        self._randomness = randomness
        self._seed: bytes | None = None
        self.keys: dict[bytes, WalletKey] = {}

    def note(self, record: WalletSeeded | KeyGiven) -> None:
        """Take a record found in the journal."""
        if isinstance(record, WalletSeeded):
            self._seed = record.seed
            return
        if self._seed is None:
            raise UnreadableRecordError("node record", "a key comes before the wallet's seed")
        key = WalletKey(self._seed, len(self.keys), AddressKind(record.kind), record.label)
        self.keys[key.script_pubkey] = key

    async def new_key(self, kind: AddressKind, label: str = "") -> WalletKey:
        """A fresh key; it is in the journal before anybody sees its address."""
        records: list[WalletSeeded | KeyGiven] = []
        if self._seed is None:
            records.append(WalletSeeded(self._randomness.token_bytes(32)))
        records.append(KeyGiven(kind.value, label))
        await self._journal.append(*records)
        for record in records:
            self.note(record)
        return next(reversed(self.keys.values()))

    def funds(self) -> list[Funds]:
        """Unspent outputs of the wallet, waiting ones included, that no waiting transaction spends."""
        tip_height = self._chain.tip.height
        found = [
            # Core's wallet waits one block longer than the rules ask.
            Funds(outpoint, coin, key, tip_height - coin.height + 1, coin.is_mature_at(tip_height))
            for key in self.keys.values()
            for outpoint, coin in self._chain.index.unspent(scripthash(key.script_pubkey))
        ]
        found += self._waiting_funds(tip_height + 1)
        return [item for item in found if item.outpoint not in self._pool.spends]

    def _waiting_funds(self, height: int) -> list[Funds]:
        found = []
        for txid, entry in self._pool.entries.items():
            for index, output in enumerate(entry.transaction.outputs):
                key = self.keys.get(output.script_pubkey)
                if key is not None:
                    coin = Coin(output.amount_sat, output.script_pubkey, height, False)
                    found.append(Funds(Outpoint(txid, index), coin, key, 0, True))
        return found

    def is_own(self, transaction: Transaction) -> bool:
        """Whether every input spends an output of this wallet."""
        outputs = [self._spent_output(tx_input.prevout) for tx_input in transaction.inputs]
        return all(output is not None and output.script_pubkey in self.keys for output in outputs)

    def _spent_output(self, outpoint: Outpoint) -> TxOutput | None:
        coin = self._chain.index.coin(outpoint)
        return coin.output if coin is not None else self._pool.output(outpoint)

    def spendable(self) -> list[Funds]:
        """Mature coins and own change, the surest and greatest first."""
        usable = [
            item
            for item in self.funds()
            if item.is_mature and (item.confirmations or self._is_own_change(item.outpoint))
        ]
        return sorted(usable, key=lambda item: (not item.confirmations, -item.coin.amount_sat, item.outpoint))

    def _is_own_change(self, outpoint: Outpoint) -> bool:
        return self.is_own(self._pool.entries[outpoint.txid].transaction)

    async def build_payment(
        self, script_pubkey: bytes, amount_sat: int, *, feerate_sat_per_kvb: int, fee_from_amount: bool
    ) -> Transaction:
        """A signed transaction that pays; raises `InsufficientFundsError`."""
        change_key = await self.new_key(AddressKind.BECH32)
        chosen: list[Funds] = []
        available_sat = fee_sat = 0
        for item in self.spendable():
            chosen.append(item)
            available_sat += item.coin.amount_sat
            fee_sat = fee_at_rate(_vsize(chosen, script_pubkey), feerate_sat_per_kvb)
            if available_sat >= amount_sat + (0 if fee_from_amount else fee_sat):
                break
        needed_sat = amount_sat + (0 if fee_from_amount else fee_sat)
        if not chosen or available_sat < needed_sat:
            raise InsufficientFundsError(available_sat, needed_sat)
        paid_sat = amount_sat - fee_sat if fee_from_amount else amount_sat
        outputs = [TxOutput(paid_sat, script_pubkey)]
        change = TxOutput(available_sat - paid_sat - fee_sat, change_key.script_pubkey)
        if change.amount_sat >= dust_threshold_sat(change):
            # The change goes first or last by a bit of its script, so its place tells nothing.
            outputs.insert(change.script_pubkey[-1] & 1, change)
        return _signed(chosen, outputs, self._chain.tip.height)


def _vsize(chosen: Sequence[Funds], script_pubkey: bytes) -> int:
    """Upper bound: every input and output counted with its longest encoding."""
    inputs = sum(69 if item.key.kind is AddressKind.BECH32 else 58 for item in chosen)
    return 12 + inputs + 9 + len(script_pubkey) + 31


def _signed(chosen: Sequence[Funds], outputs: Sequence[TxOutput], height: int) -> Transaction:
    bare = tuple(TxInput(item.outpoint) for item in chosen)
    unsigned = Transaction(2, bare, tuple(outputs), height)
    spent = [item.coin.output for item in chosen]
    signed = tuple(
        msgspec.structs.replace(tx_input, witness=item.key.witness(unsigned, index, spent))
        for index, (tx_input, item) in enumerate(zip(bare, chosen, strict=True))
    )
    return Transaction(2, signed, tuple(outputs), height)
