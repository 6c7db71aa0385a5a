"""Coins that are kept for a PSBT: frozen in one commit with what they are kept for.

As Core's ``lockUnspents``: nothing else spends them until somebody unfreezes them, or they are spent.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.orders import Label
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.domain.bitcoin.wallet import LabelsSet, Wallet, set_labels
from anya_actors.domain.machine import Event, Step


class CoinsReserved(Event, frozen=True):
    """A PSBT (base64) has been made that spends these coins, and no other payment shall."""

    psbt: str
    outpoints: tuple[tuple[bytes, int], ...]


class ReservedPsbt(msgspec.Struct, frozen=True, tag=True):
    """The answer: the PSBT, the same again for the same message."""

    psbt: str


def reserve(wallet: Wallet, event: CoinsReserved) -> Step[Wallet]:
    """Freeze the coins; their labels stay."""
    known = {one.ref: one for one in wallet.labels if one.kind == "output"}
    names = [str(Outpoint(Txid(txid), index)) for txid, index in event.outpoints]
    frozen = tuple(replace(known.get(name, Label("output", name)), spendable=False) for name in names)
    return set_labels(wallet, LabelsSet(frozen))
