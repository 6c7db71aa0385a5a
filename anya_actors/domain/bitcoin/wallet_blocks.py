"""What blocks and the mempool do to a wallet. A block decides against everything we believed.

Coins keep the height that made them and the height that spent them for as long as the cursor
remembers the blocks, so disconnecting a block needs no record of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.chain_follower import BlockOutOfOrderError, BlockRef, block_ref
from anya_actors.domain.bitcoin.events import (
    BitcoinTransactionConfirmed,
    BitcoinTransactionReorged,
    BitcoinTransactionSeen,
)
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.payment import (
    RESERVING,
    Payment,
    PaymentConfirmed,
    PaymentConflicted,
    PaymentSettled,
    PaymentUnconfirmed,
    Phase,
)
from anya_actors.domain.bitcoin.rescan_coins import confirmed_above, unspent_above
from anya_actors.domain.bitcoin.silent_receiving import SilentFinder
from anya_actors.domain.bitcoin.told_chain import ToldChain
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.domain.bitcoin.wallet import (
    PendingTransaction,
    Wallet,
    WalletCoin,
    WalletRescanned,
    advance_payment,
)
from anya_actors.domain.bitcoin.wallet_scripts import ScriptFinder
from anya_actors.domain.machine import Command, Event, Step, SystemEvent

MAX_PENDING: Final = 1000
"""More waiting transactions than this are not listed one by one; their blocks still count."""

_IN_A_BLOCK: Final = frozenset((Phase.CONFIRMED, Phase.SETTLED))


class ReceivedOutput(msgspec.Struct, frozen=True):
    """An output that pays one of the wallet's keys."""

    index: int
    amount_sat: int
    script_pubkey: bytes
    branch: int = -1
    place: int = -1
    tweak: bytes = b""


class WalletTransaction(msgspec.Struct, frozen=True):
    """A transaction that concerns the wallet; ``spends`` are its coins (txid in wire order, index)."""

    txid: bytes
    received: tuple[ReceivedOutput, ...]
    spends: tuple[tuple[bytes, int], ...]
    coinbase: bool = False

    @property
    def received_sat(self) -> int:
        return sum(output.amount_sat for output in self.received)


class WalletBlock(msgspec.Struct, frozen=True):
    """A block and those of its transactions that concern the wallet."""

    block: BlockRef
    transactions: tuple[WalletTransaction, ...] = ()


class BlocksConnected(Event, frozen=True):
    """Blocks that joined the chain, oldest first."""

    blocks: tuple[WalletBlock, ...]


class BlocksDisconnected(Event, frozen=True):
    """Blocks that left the chain, newest first; hashes in wire order."""

    hashes: tuple[bytes, ...]


class TransactionsSeen(Event, frozen=True):
    """Transactions of the mempool that pay the wallet."""

    transactions: tuple[PendingTransaction, ...]


class TransactionsVanished(Event, frozen=True):
    """Transactions that left the mempool and are in no block; txids in wire order."""

    txids: tuple[bytes, ...]


class Scanner:
    """Picks out of transactions what concerns one wallet as it stands now.

    ``shared`` is what its `SilentFinder` needs of the transactions that may pay it silently.
    """

    def __init__(self, wallet: Wallet, shared: Mapping[bytes, bytes] | None = None) -> None:
        self._finder = ScriptFinder(wallet)
        self._silent = SilentFinder(wallet, shared or {})
        self._coins = {coin.outpoint for coin in wallet.coins}

    def scan(self, transaction: Transaction) -> WalletTransaction | None:
        """What the transaction does to the wallet, or None if nothing. Its outputs are remembered."""
        received = tuple(self._received(transaction))
        spends = tuple(
            (bytes(spent.prevout.txid), spent.prevout.index)
            for spent in transaction.inputs
            if (spent.prevout.txid, spent.prevout.index) in self._coins
        )
        if not received and not spends:
            return None
        txid = bytes(transaction.txid)
        self._coins.update((txid, output.index) for output in received)
        return WalletTransaction(txid, received, spends, transaction.is_coinbase)

    def _received(self, transaction: Transaction) -> Iterator[ReceivedOutput]:
        tweaks = self._silent.find(transaction)
        for index, output in enumerate(transaction.outputs):
            amount_sat, script = output.amount_sat, output.script_pubkey
            found = self._finder.find(script)
            if found is not None:
                yield ReceivedOutput(index, amount_sat, script, *found)
            elif script in tweaks:
                yield ReceivedOutput(index, amount_sat, script, tweak=tweaks[script])

    def scan_block(self, block: Block, height: int) -> WalletBlock:
        found = (self.scan(transaction) for transaction in block.transactions)
        return WalletBlock(block_ref(block, height), tuple(one for one in found if one is not None))


def connect_blocks(wallet: Wallet, event: BlocksConnected) -> Step[Wallet]:
    """Add and spend coins, confirm and settle payments; raises `BlockOutOfOrderError`."""
    change = _Change(wallet)
    for block in event.blocks:
        change.connect(block)
    change.settle_payments()
    return change.finished()


def disconnect_blocks(wallet: Wallet, event: BlocksDisconnected) -> Step[Wallet]:
    """Take coins and spends of these blocks back; raises `BlockOutOfOrderError`, `ReorgTooDeepError`."""
    change = _Change(wallet)
    for block_hash in event.hashes:
        change.disconnect(block_hash)
    return change.finished()


def see_transactions(wallet: Wallet, event: TransactionsSeen) -> Step[Wallet]:
    """Remember what waits in the mempool for this wallet and is not known yet, up to ``MAX_PENDING``."""
    known = {pending.txid for pending in wallet.pending} | {coin.txid for coin in wallet.coins}
    unknown = [one for one in event.transactions if one.txid not in known]
    unknown = unknown[: max(0, MAX_PENDING - len(wallet.pending))]
    seen = replace(wallet, pending=(*wallet.pending, *unknown), follow_count=wallet.follow_count + 1)
    published = [
        BitcoinTransactionSeen(wallet.name, Txid(one.txid).hex_reversed(), one.received_sat)
        for one in unknown
    ]
    return Step(seen, events=tuple(published))


def lose_transactions(wallet: Wallet, event: TransactionsVanished) -> Step[Wallet]:
    gone = set(event.txids)
    pending = tuple(one for one in wallet.pending if one.txid not in gone)
    return Step(replace(wallet, pending=pending, follow_count=wallet.follow_count + 1))


def rescan(wallet: Wallet, event: WalletRescanned) -> Step[Wallet]:
    """Follow the chain again from the event's cursor: what came above it is forgotten and found anew.

    What was told before is not told again, unless the wallet's own blocks have left the chain: then
    all coins are forgotten, their transactions are told as reorganised, and payments in them are
    broadcast again. Raises `BlockOutOfOrderError` if the cursor stands on another chain than the coins.
    """
    there = wallet.cursor.hash_at(event.cursor.height)
    if not event.reorged and there not in (None, event.cursor.tip_hash):
        raise BlockOutOfOrderError(str(event.cursor.tip_hash), str(wallet.cursor.tip_hash))
    told_height = max(wallet.told_height, wallet.cursor.height)
    change = _Change(wallet if event.reorged else replace(wallet, told_height=told_height))
    change.begin_again(event)
    return change.finished()


class _Change:
    """A wallet in the middle of one event: coins in a dictionary, effects gathered in order."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet
        self._coins = {coin.outpoint: coin for coin in wallet.coins}
        self._commands: list[Command] = []
        self._events: list[SystemEvent] = []

    def connect(self, block: WalletBlock) -> None:
        self._compare_with_told(block.block)
        self._wallet = replace(self._wallet, cursor=self._wallet.cursor.connect(block.block))
        for transaction in block.transactions:
            spent_sat = self._spend(transaction, block.block.height)
            for output in transaction.received:
                coin = WalletCoin(
                    transaction.txid,
                    output.index,
                    output.amount_sat,
                    output.script_pubkey,
                    block.block.height,
                    transaction.coinbase,
                    branch=output.branch,
                    place=output.place,
                    tweak=output.tweak,
                )
                self._coins[coin.outpoint] = coin
                self._reach(output)
            self._tell_confirmed(transaction, block.block, spent_sat)
            self._confirm_payments(transaction, block.block.height)

    def _compare_with_told(self, block: BlockRef) -> None:
        told = self._wallet.before_rescan
        if told is not None and told.is_left_by(block):
            self._tell_left_behind(told.transactions, block.height - 1)
            told_height = min(self._wallet.told_height, block.height - 1)
            self._wallet = replace(self._wallet, told_height=told_height, before_rescan=None)
        elif told is not None and told.ends_at(block):
            self._wallet = replace(self._wallet, before_rescan=None)

    def _reach(self, output: ReceivedOutput) -> None:
        # Who was paid once may be paid at the next addresses as well: they are looked for from now on.
        account = self._wallet.account
        if account is not None and output.branch >= 0:
            self._wallet = replace(self._wallet, account=account.reached(output.branch, output.place))

    def _spend(self, transaction: WalletTransaction, height: int) -> int:
        spent_sat = 0
        for outpoint in transaction.spends:
            coin = self._coins.get(outpoint)
            if coin is not None:
                spent_sat += coin.amount_sat
                self._coins[outpoint] = replace(coin, spent_height=height, spent_by=transaction.txid)
        return spent_sat

    def _tell_confirmed(self, transaction: WalletTransaction, block: BlockRef, spent_sat: int) -> None:
        wallet, txid = self._wallet, Txid(transaction.txid).hex_reversed()
        waiting = tuple(one for one in wallet.pending if one.txid != transaction.txid)
        told = block.height <= wallet.told_height
        if len(waiting) == len(wallet.pending) and transaction.received and not told:
            self._events.append(BitcoinTransactionSeen(wallet.name, txid, transaction.received_sat))
        self._wallet = replace(wallet, pending=waiting)
        if told:
            return
        self._events.append(
            BitcoinTransactionConfirmed(
                wallet.name,
                txid,
                block.height,
                str(BlockHash(block.hash)),
                transaction.received_sat,
                spent_sat,
            )
        )

    def _confirm_payments(self, transaction: WalletTransaction, height: int) -> None:
        spends = set(transaction.spends)
        for before in self._wallet.payments:
            if before.phase in _IN_A_BLOCK:
                continue
            if transaction.txid in before.txids:
                self._advance(before, PaymentConfirmed(before.payment_id, height, transaction.txid))
                self._conflict_children(before.txids - {transaction.txid}, transaction.txid)
            elif before.phase in RESERVING and spends & before.outpoints:
                spent = tuple(spends & before.outpoints)
                self._conflict(before.payment_id, spent, transaction.txid)

    def _conflict(self, payment_id: str, spent: tuple[tuple[bytes, int], ...], txid: bytes) -> None:
        payment = self._wallet.payment(payment_id)
        if payment.phase not in RESERVING:
            return
        self._advance(payment, PaymentConflicted(payment_id, txid, spent))
        if self._wallet.payment(payment_id).phase is Phase.CONFLICTED:
            self._conflict_children(payment.txids, txid)

    def _conflict_children(self, parents: frozenset[bytes], txid: bytes) -> None:
        """What spends an output of a transaction that can no longer be, can no longer be either."""
        for payment in self._wallet.payments:
            lost = tuple(outpoint for outpoint in payment.outpoints if outpoint[0] in parents)
            if lost and payment.phase in RESERVING:
                self._conflict(payment.payment_id, lost, txid)

    def settle_payments(self) -> None:
        """Settle what is deep enough, and let go of what lies too deep to come back."""
        cursor = self._wallet.cursor
        for payment in self._wallet.payments:
            deep_enough = payment.confirmations(cursor.height) >= payment.final_confirmations
            if payment.phase is Phase.CONFIRMED and deep_enough:
                self._advance(payment, PaymentSettled(payment.payment_id))
        self._coins = {
            outpoint: coin
            for outpoint, coin in self._coins.items()
            if coin.spent_height is None or coin.spent_height >= cursor.oldest_height
        }
        self._wallet = replace(
            self._wallet,
            payments=tuple(_slimmed(payment, cursor.oldest_height) for payment in self._wallet.payments),
        )

    def disconnect(self, block_hash: bytes) -> None:
        height, told = self._wallet.cursor.height, self._wallet.before_rescan
        self._wallet = replace(
            self._wallet,
            cursor=self._wallet.cursor.disconnect(block_hash),
            told_height=min(self._wallet.told_height, height - 1),
            before_rescan=told and told.without(height),
        )
        reorged: dict[bytes, None] = {}
        coins: dict[tuple[bytes, int], WalletCoin] = {}
        for outpoint, coin in self._coins.items():
            if coin.height == height:
                reorged[coin.txid] = None
                continue
            if coin.spent_height == height:
                reorged[coin.spent_by] = None
                coin = replace(coin, spent_height=None, spent_by=b"")
            coins[outpoint] = coin
        self._coins = coins
        self._events += [
            BitcoinTransactionReorged(self._wallet.name, Txid(txid).hex_reversed(), height)
            for txid in reorged
        ]
        for payment in self._wallet.payments:
            if payment.height == height:
                self._advance(payment, PaymentUnconfirmed(payment.payment_id))

    def begin_again(self, event: WalletRescanned) -> None:
        """Go back to the event's cursor, with the coins that were there below it."""
        wallet, height = self._wallet, event.cursor.height
        told = wallet.before_rescan or ToldChain(wallet.cursor)
        told = told.with_more(confirmed_above(self._coins.values(), height))
        if event.reorged:
            self._tell_left_behind(told.transactions, height)
            self._coins = {}
        else:
            kept = (coin for coin in wallet.coins if coin.height <= height)
            self._coins = {coin.outpoint: unspent_above(coin, height) for coin in kept}
        self._wallet = replace(
            self._wallet,
            cursor=event.cursor,
            pending=() if event.reorged else wallet.pending,
            before_rescan=None if event.reorged or told.cursor.height <= height else told,
            # Coins from before it may have been found now: a wallet that starts over begins there.
            birth_height=min(wallet.birth_height, height) if wallet.birth_height >= 0 else -1,
        )

    def _tell_left_behind(self, transactions: Iterable[tuple[bytes, int]], height: int) -> None:
        """Take back what was told of blocks above this height."""
        gone = {txid: at for txid, at in transactions if at > height}
        self._events += [
            BitcoinTransactionReorged(self._wallet.name, Txid(txid).hex_reversed(), at)
            for txid, at in gone.items()
        ]
        for payment in self._wallet.payments:
            # Without its bytes it was buried too deep ever to be sent again.
            if payment.height is not None and payment.height > height and payment.transaction:
                self._advance(payment, PaymentUnconfirmed(payment.payment_id))

    def _advance(self, payment: Payment, event: Event) -> None:
        outcome = advance_payment(self._wallet, payment.payment_id, event)
        self._wallet = outcome.state
        self._commands += outcome.commands
        self._events += outcome.events

    def finished(self) -> Step[Wallet]:
        wallet = replace(
            self._wallet,
            coins=tuple(self._coins.values()),
            follow_count=self._wallet.follow_count + 1,
        )
        return Step(wallet, tuple(self._commands), tuple(self._events))


def _slimmed(payment: Payment, oldest_height: int) -> Payment:
    """The payment without its bytes and inputs once no reorganisation that we follow can reach it."""
    buried = payment.height is not None and payment.height < oldest_height
    if payment.phase is Phase.SETTLED and buried and payment.transaction:
        others = tuple(replace(other, transaction=b"", inputs=()) for other in payment.others)
        return replace(payment, transaction=b"", inputs=(), others=others)
    return payment
