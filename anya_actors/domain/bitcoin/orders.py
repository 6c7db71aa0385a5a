"""What callers ask of the ``bitcoin`` actor, as it travels: no more is imported than that needs."""

from __future__ import annotations

from typing import Final

import msgspec

GAP_LIMIT: Final = 20
"""So many addresses in a row that nobody paid end the search for more (BIP44)."""


class SendTerms(msgspec.Struct, frozen=True):
    """How a payment is to be made, where it is not by default.

    ``inputs`` are outpoints (``txid:index``) that must be spent, with ``only_inputs`` no others.
    The receivers pay the fee with ``subtract_fee``; with ``send_all`` they share everything.
    """

    feerate_sat_per_vb: int | None = None
    max_fee_sat: int | None = None
    inputs: tuple[str, ...] = ()
    only_inputs: bool = False
    subtract_fee: bool = False
    send_all: bool = False


class WalletOrder(msgspec.Struct, frozen=True):
    """What wallet is wanted: by default addresses of BIP84 under a key that is made in the HSM.

    ``kind`` is the value of an `AddressKind`. With ``descriptor`` (and ``change_descriptor``, unless
    the first has two paths) it is made of these instead; ``key`` names the HSM's key among theirs, none makes
    it watch-only. ``birth_height`` is the first block that may pay it, None the next one.
    """

    kind: str = "wpkh"
    account: int = 0
    descriptor: str = ""
    change_descriptor: str = ""
    key: str = ""
    gap_limit: int = GAP_LIMIT
    birth_height: int | None = None


class Label(msgspec.Struct, frozen=True):
    """A line of BIP329: what ``kind`` (tx, addr, pubkey, input, output, xpub) ``ref`` is called.

    ``spendable`` is of outputs: False keeps a coin from being chosen.
    """

    kind: str
    ref: str
    label: str = ""
    origin: str = ""
    spendable: bool | None = None
