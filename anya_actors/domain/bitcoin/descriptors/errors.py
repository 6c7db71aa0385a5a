"""What can be wrong with a descriptor."""

from __future__ import annotations

from anya_actors.domain.machine import AnyaError, InvalidInputError


class DescriptorError(InvalidInputError):
    """Text that is no descriptor. ``reason`` is what Core says of it."""

    code = "invalid-descriptor"
    message = "the descriptor is not valid: {}"
    remedy = "Correct the descriptor; doc/descriptors.md of Bitcoin Core describes the language."

    def __init__(self, reason: str) -> None:
        AnyaError.__init__(self, reason)
        self.reason = reason


class DerivationError(AnyaError):
    """A script that it does not give: an index out of range, or a hardened step without its key."""

    code = "descriptor-derivation"
    message = "the descriptor gives no script: {}"
    remedy = "Give an index from 0 to 2147483647, and the private key if a step is hardened."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotSatisfiableError(AnyaError):
    """There is no way, without the keys, preimages and lock times that are missing, to spend."""

    code = "not-satisfiable"
    message = "the script cannot be satisfied: {}"
    remedy = "Add signatures or preimages, or wait for the lock time."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
