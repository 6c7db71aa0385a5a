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


class AccountView(msgspec.Struct, frozen=True):
    """A wallet's descriptors and how far they are used; ``key`` is the name of its key in the HSM."""

    receive: str
    change: str
    key: str
    watch_only: bool
    gap_limit: int
    next_receive: int
    next_change: int


class CoinView(msgspec.Struct, frozen=True):
    """A coin of a wallet; ``height`` is None while it is unconfirmed change."""

    outpoint: str
    txid: str
    index: int
    amount_sat: int
    address: str | None
    script_pubkey: str
    height: int | None
    confirmations: int
    coinbase: bool
    mature: bool
    reserved: bool
    frozen: bool
    change: bool
    label: str


class LabelView(msgspec.Struct, frozen=True):
    """A label (BIP329)."""

    type: str
    ref: str
    label: str
    origin: str
    spendable: bool | None


class WalletView(msgspec.Struct, frozen=True, tag=True):
    """A wallet and how far it has followed the chain; ``address`` is its first.

    ``account`` is None for wallets made before there were descriptors.
    """

    name: str
    network: str
    address: str
    created_unix_ms: int
    synced_height: int
    synced_hash: str
    account: AccountView | None = None


class AddressView(msgspec.Struct, frozen=True, tag=True):
    """An address; ``key`` is the name of its key in the HSM, ``path`` where it stands below that key."""

    wallet: str
    address: str
    key: str
    place: int = -1
    change: bool = False
    path: str = ""


class BalanceView(msgspec.Struct, frozen=True):
    """A wallet's money at ``height``.

    ``confirmed_sat``: in blocks, unspent there, mature; of which ``reserved_sat`` is promised to
    payments under way and ``spendable_sat`` is not. ``immature_sat``: coinbase outputs with fewer
    than 101 confirmations. ``pending_sat``: on its way to the wallet in the mempool, own change
    included; of which ``spendable_change_sat`` may be spent as well.
    """

    wallet: str
    confirmed_sat: int
    reserved_sat: int
    spendable_sat: int
    immature_sat: int
    pending_sat: int
    height: int
    spendable_change_sat: int = 0


class RecipientView(msgspec.Struct, frozen=True):
    """Who is paid how much."""

    address: str
    amount_sat: int


class PaymentView(msgspec.Struct, frozen=True, tag=True):
    """A payment; ``phase`` as in ``payment.Phase``.

    ``txid``, ``fee_sat`` and ``change_sat`` are fixed from the first answer on and change only by
    a replacement; ``txids`` are those of all its versions, of which at most one is ever in the
    chain. ``cancels``: the version that it stands by takes it back. ``height`` is the block that
    holds it. ``reason`` says why it was rejected, conflicted or last refused. ``address`` is the
    first recipient's, ``amount_sat`` what all of them get.
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
    recipients: tuple[RecipientView, ...] = ()
    txids: tuple[str, ...] = ()
    cancels: bool = False


class PsbtInputView(msgspec.Struct, frozen=True):
    """What an input spends, whether a wallet holds it, and whether it is signed enough."""

    outpoint: str
    amount_sat: int | None
    address: str | None
    ours: bool
    complete: bool
    signatures: int


class PsbtOutputView(msgspec.Struct, frozen=True):
    """Who is paid; ``ours`` as the wallet's descriptors say, not as the PSBT does."""

    amount_sat: int
    address: str | None
    script_pubkey: str
    ours: bool
    change: bool


class PsbtView(msgspec.Struct, frozen=True):
    """A PSBT (base64) and what it does. ``hex`` is the signed transaction once it is complete."""

    psbt: str
    version: int
    txid: str
    complete: bool
    fee_sat: int | None
    inputs: tuple[PsbtInputView, ...]
    outputs: tuple[PsbtOutputView, ...]
    hex: str | None


class SignedMessageView(msgspec.Struct, frozen=True):
    """A message and its signature (BIP322)."""

    address: str
    message: str
    signature: str


class MessageView(msgspec.Struct, frozen=True):
    """A signature that holds: of which form, and since when (BIP322's "time T and age S").

    ``coins`` are the further outputs that a proof of funds claims.
    """

    address: str
    variant: str
    lock_time: int
    sequence: int
    coins: tuple[str, ...]


class ExtendedKeyView(msgspec.Struct, frozen=True):
    """A wallet's extended public key: ``expression`` is it with its origin, as descriptors hold it."""

    key: str
    expression: str
    extended_public_key: str
    fingerprint: str


class GenerationView(msgspec.Struct, frozen=True, tag=True):
    """A request to mine blocks; ``block_hashes`` is None until they are known."""

    address: str
    blocks: int
    block_hashes: tuple[str, ...] | None


class SightingView(msgspec.Struct, frozen=True):
    """A transaction that a subscription is about; ``confirmed`` when it has as many as were asked for."""

    txid: str
    received_sat: int
    height: int | None
    confirmations: int
    confirmed: bool


class SubscriptionView(msgspec.Struct, frozen=True, tag=True):
    """Somebody waits for a transaction; ``value`` is a txid, a script in hex, or ``txid:index``."""

    subscription_id: str
    subject: str
    value: str
    confirmations: int
    created_unix_ms: int
    synced_height: int
    sightings: tuple[SightingView, ...]


class MempoolView(msgspec.Struct, frozen=True):
    """The node's mempool; ``min_feerate_sat_per_kvb`` is what it takes to get in."""

    count: int
    vsize: int
    total_fee_sat: int
    min_feerate_sat_per_kvb: int


class WaitingView(msgspec.Struct, frozen=True):
    """A transaction of the mempool; its ancestors and descendants include itself."""

    txid: str
    vsize: int
    fee_sat: int
    entered_unix_s: int
    height: int
    ancestor_count: int
    ancestor_vsize: int
    ancestor_fee_sat: int
    descendant_count: int
    descendant_vsize: int
    descendant_fee_sat: int


class FeerateView(msgspec.Struct, frozen=True):
    """What it takes to confirm within so many blocks; None where the node cannot say."""

    blocks: int
    feerate_sat_per_vb: int | None


class FeeratesView(msgspec.Struct, frozen=True):
    """The node's estimates, soonest first."""

    estimates: tuple[FeerateView, ...]


class UnspentView(msgspec.Struct, frozen=True):
    """An unspent output; ``height`` is None while it waits in the mempool."""

    txid: str
    index: int
    amount_sat: int
    height: int | None
    coinbase: bool


class BroadcastView(msgspec.Struct, frozen=True):
    """A transaction that the node has taken."""

    txid: str
    wtxid: str
    vsize: int


class ProofView(msgspec.Struct, frozen=True):
    """A transaction proved to be in a block of the active chain.

    ``branch`` are the siblings from the transaction up to the root, as text in reversed order like
    txids; ``proof`` is all of it with the coinbase's branch, in this platform's own encoding.
    """

    txid: str
    block_hash: str
    height: int
    confirmations: int
    index: int
    header: str
    branch: tuple[str, ...]
    proof: str
