"""A coin: an unspent output with what the rules ask about its origin."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.bitcoin.transaction import TxOutput

COINBASE_MATURITY: Final = 100
"""Blocks that must follow a coinbase's block before its outputs may be spent."""


class Coin(msgspec.Struct, frozen=True, gc=False):
    """One unspent output. ``height`` is that of its block."""

    amount_sat: int
    script_pubkey: bytes
    height: int
    is_coinbase: bool

    @property
    def output(self) -> TxOutput:
        return TxOutput(self.amount_sat, self.script_pubkey)

    def is_mature_at(self, height: int) -> bool:
        """Whether a block of this height may spend it."""
        return not self.is_coinbase or height - self.height >= COINBASE_MATURITY
