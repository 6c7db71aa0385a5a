"""Blocks for benchmarks: valid, signed, half P2WPKH and half P2TR, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator

import msgspec

from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.block import REGTEST_BITS, REGTEST_GENESIS_HASH, Block
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.script import p2wpkh_script
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.testing.spending_key import OutputKind, SpendingKey

GENESIS_TIME_S = 1_296_688_602
TRUE = b"\x51"
FEE_SAT = 300
CHANGE_SAT = 1_000


class Workload:
    """A growing chain. ``width`` outputs are spent again and again, each by a key of its own."""

    def __init__(self, width: int, seed: int = 7) -> None:
        self._chance = random.Random(seed)
        kinds = tuple(OutputKind)
        self._keys = [SpendingKey(b"%d" % number, kinds[number % 2]) for number in range(width)]
        self._outputs: list[tuple[Outpoint, int]] = []
        self._tip = REGTEST_GENESIS_HASH
        self.height = 0

    @property
    def scripts(self) -> list[bytes]:
        """The output scripts that are spent again and again."""
        return [key.script_pubkey for key in self._keys]

    def first_blocks(self) -> Iterator[Block]:
        """101 blocks, and one whose second transaction pays to every key."""
        purse = self._keys[0]
        first = self.block([], purse.script_pubkey)
        yield first
        for _ in range(100):
            yield self.block([])
        each_sat = (50 * COIN_SAT - COIN_SAT) // len(self._keys)
        outputs = tuple(TxOutput(each_sat, key.script_pubkey) for key in self._keys)
        spent = TxOutput(50 * COIN_SAT, purse.script_pubkey)
        fan_out = _signed(Outpoint(first.transactions[0].txid, 0), spent, outputs, purse)
        self._outputs = [(Outpoint(fan_out.txid, index), each_sat) for index in range(len(outputs))]
        yield self.block([fan_out])

    def spending_block(self, count: int) -> Block:
        """A block with ``count`` transactions besides its coinbase, none of which depends on another."""
        return self.block(self.spends(count))

    def spends(self, count: int) -> list[Transaction]:
        """Transactions with one input and two outputs: back to the key, and to somebody new."""
        made = []
        for number in self._chance.sample(range(len(self._keys)), count):
            key, (outpoint, amount_sat) = self._keys[number], self._outputs[number]
            left_sat = amount_sat - CHANGE_SAT - FEE_SAT
            outputs = (
                TxOutput(left_sat, key.script_pubkey),
                TxOutput(CHANGE_SAT, p2wpkh_script(self._chance.randbytes(20))),
            )
            spend = _signed(outpoint, TxOutput(amount_sat, key.script_pubkey), outputs, key)
            self._outputs[number] = (Outpoint(spend.txid, 0), left_sat)
            made.append(spend)
        return made

    def block(self, others: list[Transaction], script_pubkey: bytes = TRUE) -> Block:
        """The next block, solved."""
        self.height += 1
        pays_sat = 50 * COIN_SAT if self.height < 150 else 0
        coinbase = coinbase_transaction(self.height, script_pubkey, pays_sat, others)
        time_s = GENESIS_TIME_S + 60 * self.height
        block = solve(unsolved_block(BlockHash(self._tip), time_s, REGTEST_BITS, (coinbase, *others)))
        if block is None:
            raise RuntimeError("no nonce is right")
        self._tip = block.hash
        return block


def _signed(
    outpoint: Outpoint, spent: TxOutput, outputs: tuple[TxOutput, ...], key: SpendingKey
) -> Transaction:
    unsigned = Transaction(2, (TxInput(outpoint),), outputs)
    signed = msgspec.structs.replace(unsigned.inputs[0], witness=key.witness(unsigned, 0, [spent]))
    return Transaction(2, (signed,), outputs)
