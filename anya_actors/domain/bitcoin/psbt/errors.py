"""What can be wrong with a partially signed transaction."""

from __future__ import annotations

from anya_actors.domain.machine import AnyaError, InvalidInputError


class PsbtError(InvalidInputError):
    """Bytes or text that are no PSBT. ``reason`` is what Core puts behind "TX decode failed"."""

    code = "invalid-psbt"
    message = "TX decode failed {}"
    remedy = "Send the complete PSBT, as base64 text or as bytes."

    def __init__(self, reason: str) -> None:
        AnyaError.__init__(self, reason)
        self.reason = reason


class PsbtStateError(AnyaError):
    """A step that this PSBT does not allow now: to sign, to combine, to extract …"""

    code = "psbt-state"
    message = "the PSBT cannot be {}: {}"
    remedy = "Decode the PSBT to see what each input has and lacks."

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        self.reason = reason


class PsbtInputError(PsbtStateError):
    """As `PsbtStateError`, of one input."""

    code = "psbt-input"
    message = "input {2} of the PSBT cannot be {0}: {1}"

    def __init__(self, step: str, reason: str, index: int) -> None:
        AnyaError.__init__(self, step, reason, index)
        self.step = step
        self.reason = reason
        self.index = index


class AbsurdFeeError(AnyaError):
    """A transaction that pays more than the caller allows."""

    code = "absurd-fee"
    message = "the transaction pays a fee of {0} sat ({1} sat/kvB), more than the {2} sat/kvB allowed"
    remedy = "Look at inputs and outputs; if the fee is meant, allow it explicitly."

    def __init__(self, fee_sat: int, feerate_sat_per_kvb: int, limit_sat_per_kvb: int) -> None:
        super().__init__(fee_sat, feerate_sat_per_kvb, limit_sat_per_kvb)
