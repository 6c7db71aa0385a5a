"""What the ``bitcoin`` actor publishes on the event bus. Hashes are the text that Core shows."""

from __future__ import annotations

from anya_actors.domain.machine import SystemEvent


class BitcoinBlockConnected(SystemEvent, frozen=True):
    """A block joined the active chain. Every wallet had seen it before this was published."""

    height: int
    block_hash: str
    previous_hash: str
    time_unix_s: int


class BitcoinBlockDisconnected(SystemEvent, frozen=True):
    """A reorganisation took a block off the active chain, newest first."""

    height: int
    block_hash: str


class BitcoinWalletCreated(SystemEvent, frozen=True):
    """A wallet has its key in the HSM and its first address."""

    wallet: str
    address: str


class BitcoinTransactionSeen(SystemEvent, frozen=True):
    """A transaction that pays the wallet waits in the mempool, or came unannounced in a block.

    These three events tell of a wallet or, with ``wallet`` empty, of a subscription.
    """

    wallet: str
    txid: str
    received_sat: int
    subscription: str = ""


class BitcoinTransactionConfirmed(SystemEvent, frozen=True):
    """A block holds a transaction that pays the wallet or spends from it; for a subscription, with as
    many confirmations as it asked for."""

    wallet: str
    txid: str
    height: int
    block_hash: str
    received_sat: int
    spent_sat: int
    subscription: str = ""
    confirmations: int = 1


class BitcoinTransactionReorged(SystemEvent, frozen=True):
    """The block that held the transaction left the active chain."""

    wallet: str
    txid: str
    height: int
    subscription: str = ""


class BitcoinPaymentRequested(SystemEvent, frozen=True):
    """A payment has been accepted, with its coins reserved and its txid fixed."""

    wallet: str
    payment_id: str
    txid: str
    amount_sat: int
    fee_sat: int


class BitcoinPaymentBroadcast(SystemEvent, frozen=True):
    """A node took the payment's transaction for the first time."""

    wallet: str
    payment_id: str
    txid: str


class BitcoinPaymentConfirmed(SystemEvent, frozen=True):
    """A block holds the transaction of a payment; a reorganisation may still take it off.

    ``cancels``: it is the version that took the payment back.
    """

    wallet: str
    payment_id: str
    txid: str
    height: int
    cancels: bool = False


class BitcoinPaymentReplaced(SystemEvent, frozen=True):
    """A version with a higher fee has been built for a payment, or one that takes it back."""

    wallet: str
    payment_id: str
    replaced_txid: str
    txid: str
    fee_sat: int
    cancels: bool = False


class BitcoinPaymentReorged(SystemEvent, frozen=True):
    """The payment's block left the chain; the payment is broadcast again."""

    wallet: str
    payment_id: str
    txid: str


class BitcoinPaymentSettled(SystemEvent, frozen=True):
    """The payment has as many confirmations as the settings ask for."""

    wallet: str
    payment_id: str
    txid: str
    height: int


class BitcoinPaymentRejected(SystemEvent, frozen=True):
    """The payment was not made; its coins are free again."""

    wallet: str
    payment_id: str
    txid: str
    reason: str


class BitcoinPaymentConflicted(SystemEvent, frozen=True):
    """Another transaction in a block spent one of the payment's coins."""

    wallet: str
    payment_id: str
    txid: str
    conflicting_txid: str


BitcoinSystemEvent = (
    BitcoinBlockConnected
    | BitcoinBlockDisconnected
    | BitcoinWalletCreated
    | BitcoinTransactionSeen
    | BitcoinTransactionConfirmed
    | BitcoinTransactionReorged
    | BitcoinPaymentRequested
    | BitcoinPaymentBroadcast
    | BitcoinPaymentConfirmed
    | BitcoinPaymentReplaced
    | BitcoinPaymentReorged
    | BitcoinPaymentSettled
    | BitcoinPaymentRejected
    | BitcoinPaymentConflicted
)
