"""Judging a block that nobody has worked for yet: every rule but the proof of work."""

from __future__ import annotations

from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block
from anya_actors.domain.bitcoin.block_rules import BlockPlace, verify_block
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedBlockError, RejectedTransactionError
from anya_actors.domain.bitcoin.lock_times import meets_sequence_locks
from anya_actors.domain.bitcoin.mining import block_subsidy_sat
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.sigops import MAX_BLOCK_SIGOPS_COST, sigops_cost
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction
from anya_actors.domain.bitcoin.transaction_rules import verify_amounts
from anya_actors.services.bitcoin_node.chain import Chain


class Proposals:
    """Judges blocks on the present tip, as Core's ``TestBlockValidity`` does, changing nothing."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def verify(self, block: Block, now_s: int) -> None:
        """Raise `RejectedBlockError` with Core's reason for the first rule broken."""
        tip = self._chain.tip
        if block.header.previous != tip.hash:
            raise RejectedBlockError(str(block.hash), "inconclusive-not-best-prevblk")
        height = tip.height + 1
        verify_block(block, BlockPlace(height, tip.median_time_past_s(), REGTEST_BITS, now_s))
        try:
            fees_sat = await self._verify_payments(block, height)
        except RejectedTransactionError as error:
            reason = f"{error.reason}, {error.detail}" if error.detail else error.reason
            raise RejectedBlockError(str(block.hash), reason) from error
        paid_sat = sum(output.amount_sat for output in block.transactions[0].outputs)
        if paid_sat > block_subsidy_sat(height, Network.REGTEST) + fees_sat:
            raise RejectedBlockError(str(block.hash), "bad-cb-amount")

    async def _verify_payments(self, block: Block, height: int) -> int:
        """The fees of all transactions; raises `RejectedTransactionError`."""
        made: dict[Outpoint, Coin] = {}
        gone: set[Outpoint] = set()
        fees_sat = 0
        cost = sigops_cost_of_coinbase(block.transactions[0])
        for place, transaction in enumerate(block.transactions):
            if place:
                spent = [self._coin(tx_input.prevout, made, gone) for tx_input in transaction.inputs]
                fees_sat += verify_amounts(transaction, spent, height)
                self._verify_sequence_locks(transaction, spent, height)
                cost += sigops_cost(transaction, [coin.output for coin in spent])
                if cost > MAX_BLOCK_SIGOPS_COST:
                    raise RejectedTransactionError("bad-blk-sigops")
                await self._chain.verify_scripts(transaction, [coin.output for coin in spent])
                gone.update(tx_input.prevout for tx_input in transaction.inputs)
            for index, output in enumerate(transaction.outputs):
                coin = Coin(output.amount_sat, output.script_pubkey, height, place == 0)
                made[Outpoint(transaction.txid, index)] = coin
        return fees_sat

    def _coin(self, outpoint: Outpoint, made: dict[Outpoint, Coin], gone: set[Outpoint]) -> Coin:
        coin = None if outpoint in gone else made.get(outpoint) or self._chain.index.coin(outpoint)
        if coin is None:
            raise RejectedTransactionError("bad-txns-inputs-missingorspent")
        return coin

    def _verify_sequence_locks(self, transaction: Transaction, spent: list[Coin], height: int) -> None:
        active = self._chain.tree.active
        passed = meets_sequence_locks(
            transaction,
            [coin.height for coin in spent],
            height,
            self._chain.tip.median_time_past_s(),
            lambda at: active[min(at, len(active) - 1)].median_time_past_s(),
        )
        if not passed:
            raise RejectedTransactionError("bad-txns-nonfinal")


def sigops_cost_of_coinbase(coinbase: Transaction) -> int:
    """A coinbase spends nothing, so only its own scripts count."""
    bare = Transaction(coinbase.version, (), coinbase.outputs, coinbase.lock_time)
    return sigops_cost(bare, [])
