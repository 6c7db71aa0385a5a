"""What can be wrong with Bitcoin data, each with the reason a reader needs."""

from __future__ import annotations

from anya_actors.domain.machine import AnyaError, InvalidInputError


class AmountError(InvalidInputError):
    """An amount of money that cannot exist: not a number, too many digits, or out of range."""

    code = "invalid-amount"
    message = "the amount {} is not valid: {}"
    remedy = "Give bitcoins with at most 8 digits after the point, between 0 and 21,000,000."


class AddressError(InvalidInputError):
    """Text that is no Bitcoin address."""

    code = "invalid-address"
    message = "{} is not a Bitcoin address: {}"
    remedy = "Check that the whole address was copied."


class WrongNetworkError(AddressError):
    """An address that is right, but of another network."""

    code = "wrong-network"
    message = "the address {} is of {}, not {}"
    remedy = "Ask the receiver for an address of this network; never pay to this one."

    def __init__(self, address: str, found: str, expected: str) -> None:
        AnyaError.__init__(self, address, found, expected)


class MalformedTransactionError(InvalidInputError):
    """Bytes that are not exactly one transaction."""

    code = "malformed-transaction"
    message = "{} is not a transaction: {}"
    remedy = "Send the complete serialised transaction in hexadecimal."


class MalformedBlockError(InvalidInputError):
    """Bytes that are not exactly one block or header."""

    code = "malformed-block"
    message = "{} is not valid: {}"
    remedy = "Send the complete serialised block in hexadecimal."


class RejectedTransactionError(AnyaError):
    """A transaction that breaks a rule. ``reason`` is Bitcoin Core's reject reason.

    ``is_reconsiderable``: refused only for what it pays, so a child that pays for it may help.
    """

    code = "transaction-rejected"
    message = "the transaction was rejected: {} {}"
    remedy = "Build another transaction that keeps the rule."

    def __init__(self, reason: str, detail: str = "", is_reconsiderable: bool = False) -> None:
        super().__init__(reason, detail, is_reconsiderable)
        self.reason = reason
        self.detail = detail
        self.is_reconsiderable = is_reconsiderable

    @property
    def text(self) -> str:
        """Reason and detail as Core joins them."""
        return f"{self.reason}, {self.detail}" if self.detail else self.reason


class RejectedPackageError(AnyaError):
    """Transactions that may not enter together. ``reason`` is Bitcoin Core's."""

    code = "package-rejected"
    message = "the package was rejected: {} {}"
    remedy = "Send one child with its parents, parents first, that keep the rule."

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    @property
    def text(self) -> str:
        """Reason and detail as Core joins them."""
        return f"{self.reason}, {self.detail}" if self.detail else self.reason


class RejectedBlockError(AnyaError):
    """A block that breaks a rule. ``reason`` is Bitcoin Core's reject reason."""

    code = "block-rejected"
    message = "block {} was rejected: {}"
    remedy = "Nothing was changed; build another block on the present tip."

    def __init__(self, block_hash: str, reason: str) -> None:
        super().__init__(block_hash, reason)
        self.reason = reason
