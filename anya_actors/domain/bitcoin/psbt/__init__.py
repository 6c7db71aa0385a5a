"""Partially signed transactions: BIP174, 370, 371, 373 and the fields of 375."""

from anya_actors.domain.bitcoin.psbt.codec import parse_psbt, parse_psbt_base64
from anya_actors.domain.bitcoin.psbt.document import Psbt, determine_lock_time
from anya_actors.domain.bitcoin.psbt.errors import (
    AbsurdFeeError,
    PsbtError,
    PsbtInputError,
    PsbtStateError,
)
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap, OutputMap

__all__ = [
    "AbsurdFeeError",
    "GlobalMap",
    "InputMap",
    "OutputMap",
    "Psbt",
    "PsbtError",
    "PsbtInputError",
    "PsbtStateError",
    "determine_lock_time",
    "parse_psbt",
    "parse_psbt_base64",
]
