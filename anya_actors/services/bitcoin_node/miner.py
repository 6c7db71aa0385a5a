"""Mining on regtest: a template from the mempool, a nonce by trying."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from anya_actors.domain.bitcoin.block import REGTEST_BITS, Block
from anya_actors.domain.bitcoin.block_template import choose_transactions
from anya_actors.domain.bitcoin.lock_times import is_final
from anya_actors.domain.bitcoin.mempool import Mempool, MempoolEntry
from anya_actors.domain.bitcoin.mining import (
    block_subsidy_sat,
    coinbase_transaction,
    solve,
    unsolved_block,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.ports.clock import Clock
from anya_actors.services.bitcoin_node.chain import Chain


class Miner:
    """Makes the next block. ``extra_nonce`` must differ between blocks on one parent."""

    def __init__(self, chain: Chain, pool: Callable[[], Mempool], clock: Clock) -> None:
        self._chain = chain
        self._pool = pool
        self._clock = clock

    def next_time_s(self) -> int:
        """The clock's time, or the earliest that the rules allow (BIP113)."""
        return max(self._chain.tip.median_time_past_s() + 1, self._clock.now_unix_ms() // 1000)

    def choose(self) -> list[MempoolEntry]:
        """The waiting transactions that the next block should hold, parents before children."""
        tip = self._chain.tip
        return choose_transactions(
            self._pool(), lambda found: is_final(found, tip.height + 1, tip.median_time_past_s())
        )

    def from_mempool(self, script_pubkey: bytes, extra_nonce: int, tries: int) -> Block | None:
        """A solved block of the best paying transactions; None if ``tries`` nonces were too few."""
        chosen = self.choose()
        fees_sat = sum(entry.fee_sat for entry in chosen)
        return self.of([entry.transaction for entry in chosen], fees_sat, script_pubkey, extra_nonce, tries)

    def of(
        self,
        transactions: Sequence[Transaction],
        fees_sat: int,
        script_pubkey: bytes,
        extra_nonce: int,
        tries: int,
    ) -> Block | None:
        """A solved block of exactly these transactions."""
        tip = self._chain.tip
        height = tip.height + 1
        coinbase = coinbase_transaction(
            height,
            script_pubkey,
            block_subsidy_sat(height, Network.REGTEST) + fees_sat,
            transactions,
            extra_nonce.to_bytes(4, "little"),
        )
        block = unsolved_block(tip.hash, self.next_time_s(), REGTEST_BITS, (coinbase, *transactions))
        return solve(block, tries)
