"""Bitcoin Core's numbers for what its mempool takes (version 31), and fees at a feerate."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.bitcoin.amount import COIN_SAT
from anya_actors.domain.bitcoin.mempool import MEMPOOL_EXPIRY_MS
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE

MIN_RELAY_FEERATE_SAT_PER_KVB: Final = 100
INCREMENTAL_RELAY_FEERATE_SAT_PER_KVB: Final = 100
DUST_FEERATE_SAT_PER_KVB: Final = 3000
BLOCK_MIN_FEERATE_SAT_PER_KVB: Final = 1
MAX_STANDARD_WEIGHT: Final = 400_000
MAX_STANDARD_SIGOPS_COST: Final = 16_000
MAX_DATA_CARRIER_BYTES: Final = MAX_STANDARD_WEIGHT // WITNESS_SCALE
MAX_CLUSTER_COUNT: Final = 64
MAX_CLUSTER_VSIZE: Final = 101_000
MAX_MEMPOOL_BYTES: Final = 300_000_000


class MempoolPolicy(msgspec.Struct, frozen=True):
    """What a person running a node may set."""

    max_bytes: int = MAX_MEMPOOL_BYTES
    expiry_ms: int = MEMPOOL_EXPIRY_MS
    min_relay_feerate_sat_per_kvb: int = MIN_RELAY_FEERATE_SAT_PER_KVB
    incremental_feerate_sat_per_kvb: int = INCREMENTAL_RELAY_FEERATE_SAT_PER_KVB
    dust_feerate_sat_per_kvb: int = DUST_FEERATE_SAT_PER_KVB
    max_data_carrier_bytes: int = MAX_DATA_CARRIER_BYTES
    max_cluster_count: int = MAX_CLUSTER_COUNT
    max_cluster_vsize: int = MAX_CLUSTER_VSIZE

    @property
    def max_cluster_weight(self) -> int:
        return self.max_cluster_vsize * WITNESS_SCALE


def fee_at_rate(vsize: int, feerate_sat_per_kvb: int) -> int:
    """The fee of a size at a rate, rounded up as Core's ``CFeeRate`` does."""
    return -(-vsize * feerate_sat_per_kvb // 1000)


def feerate_of(fee_sat: int, vsize: int) -> int:
    """Satoshis per 1,000 virtual bytes, rounded down as Core shows it."""
    return fee_sat * 1000 // vsize


def format_money(amount_sat: int) -> str:
    """Bitcoins with at least two digits after the point, as Core writes them in reject messages."""
    whole, part = divmod(abs(amount_sat), COIN_SAT)
    digits = f"{part:08d}".rstrip("0").ljust(2, "0")
    return f"{'-' if amount_sat < 0 else ''}{whole}.{digits}"
