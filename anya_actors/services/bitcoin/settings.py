"""What an operator may decide about the ``bitcoin`` actor."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.bitcoin.network import Network

REGTEST_FEERATE_SAT_PER_VB: Final = 2
"""No market sets fees on regtest: twice what a node asks for to relay."""


class BitcoinSettings(msgspec.Struct, frozen=True):
    """``max_fee_sat`` is the fee cap of payments that bring none; mainnet has no other default.

    The follower asks for the tip every ``poll_interval_s`` and for the mempool every
    ``mempool_interval_s`` (raise this one on mainnet, where the list is long).
    ``fallback_feerate_sat_per_vb`` is used where the node cannot estimate.
    """

    network: Network = Network.REGTEST
    poll_interval_s: float = 1.0
    mempool_interval_s: float = 1.0
    final_confirmations: int = 6
    confirm_target_blocks: int = 6
    max_fee_sat: int | None = None
    fallback_feerate_sat_per_vb: int | None = None
