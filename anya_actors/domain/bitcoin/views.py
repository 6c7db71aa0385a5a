"""What the ``bitcoin`` actor answers: plain values, hashes as the text that Core shows."""

from __future__ import annotations

import msgspec


class TipView(msgspec.Struct, frozen=True):
    """The node's active chain; ``chain`` is Core's name for the network."""

    chain: str
    height: int
    hash: str
    headers: int
    median_time_unix_s: int
    initial_block_download: bool


class BlockView(msgspec.Struct, frozen=True):
    """A block. ``confirmations`` is -1 off the active chain."""

    hash: str
    height: int
    confirmations: int
    previous_hash: str
    merkle_root: str
    version: int
    time_unix_s: int
    bits: str
    nonce: int
    size: int
    weight: int
    txids: tuple[str, ...]


class InputView(msgspec.Struct, frozen=True):
    """What an input spends; ``txid`` is None for a coinbase."""

    txid: str | None
    index: int
    sequence: int
    script_sig: str
    witness: tuple[str, ...]


class OutputView(msgspec.Struct, frozen=True):
    """An output; ``address`` is None where its script has none."""

    index: int
    amount_sat: int
    address: str | None
    script_pubkey: str


class TransactionView(msgspec.Struct, frozen=True):
    """A transaction; ``block_hash`` is None while it waits in the mempool."""

    txid: str
    wtxid: str
    version: int
    lock_time: int
    size: int
    vsize: int
    weight: int
    inputs: tuple[InputView, ...]
    outputs: tuple[OutputView, ...]
    block_hash: str | None
    confirmations: int
    hex: str


class WalletView(msgspec.Struct, frozen=True, tag=True):
    """A wallet and how far it has followed the chain; ``address`` is its first."""

    name: str
    network: str
    address: str
    created_unix_ms: int
    synced_height: int
    synced_hash: str


class AddressView(msgspec.Struct, frozen=True, tag=True):
    """A receiving address; ``key`` is the name of its key in the HSM."""

    wallet: str
    address: str
    key: str


class BalanceView(msgspec.Struct, frozen=True):
    """A wallet's money at ``height``.

    ``confirmed_sat``: in blocks, unspent there, mature; of which ``reserved_sat`` is promised to
    payments under way and ``spendable_sat`` is not. ``immature_sat``: coinbase outputs with fewer
    than 101 confirmations. ``pending_sat``: on its way to the wallet in the mempool, own change included.
    """

    wallet: str
    confirmed_sat: int
    reserved_sat: int
    spendable_sat: int
    immature_sat: int
    pending_sat: int
    height: int


class PaymentView(msgspec.Struct, frozen=True, tag=True):
    """A payment; ``phase`` as in ``payment.Phase``.

    ``txid``, ``fee_sat`` and ``change_sat`` are fixed from the first answer on. ``height`` is the
    block that holds it. ``reason`` says why it was rejected, conflicted or last refused.
    """

    payment_id: str
    wallet: str
    phase: str
    address: str
    amount_sat: int
    feerate_sat_per_vb: int
    fee_sat: int
    change_sat: int
    txid: str
    height: int | None
    confirmations: int
    reason: str
    requested_unix_ms: int


class GenerationView(msgspec.Struct, frozen=True, tag=True):
    """A request to mine blocks; ``block_hashes`` is None until they are known."""

    address: str
    blocks: int
    block_hashes: tuple[str, ...] | None
