"""The rules of a wallet without any service: which coins are promised, and what blocks undo."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from anya_actors.domain.bitcoin.chain_follower import RETAINED_BLOCKS, BlockRef, ChainCursor
from anya_actors.domain.bitcoin.payment import BroadcastPayment, Payment, PaymentInput, Phase
from anya_actors.domain.bitcoin.wallet import (
    CoinNotSpendableError,
    PaymentRequested,
    Wallet,
    WalletCoin,
    WalletKey,
    request_payment,
)
from anya_actors.domain.bitcoin.wallet_blocks import (
    BlocksConnected,
    BlocksDisconnected,
    ReceivedOutput,
    WalletBlock,
    WalletTransaction,
    connect_blocks,
    disconnect_blocks,
)
from anya_actors.domain.bitcoin.wallet_views import balance_of

KEY = WalletKey("wallet.main.0", b"\x02" + b"\x01" * 32)
COIN = WalletCoin(b"\xc0" * 32, 0, 50_000, KEY.script_pubkey, 5, coinbase=False)
SPENT = PaymentInput(COIN.txid, COIN.index, COIN.amount_sat, KEY.name, KEY.public_key)
PAYING = b"\xaa" * 32
OTHER = b"\xbb" * 32


def block_hash(height: int) -> bytes:
    return height.to_bytes(32, "little")


def wallet_at(height: int, *coins: WalletCoin, payments: tuple[Payment, ...] = ()) -> Wallet:
    hashes = tuple(block_hash(at) for at in range(height + 1))
    return Wallet("main", "regtest", 0, ChainCursor(height, hashes), (KEY,), coins, payments)


def payment(phase: Phase, **changes: object) -> Payment:
    bare = Payment("main.1", phase, "", 40_000, 1, 10_000, 0, (SPENT,), b"signed", PAYING, 2, 0)
    return replace(bare, **changes)


def connected(wallet: Wallet, *transactions: WalletTransaction, blocks: int = 1) -> Wallet:
    """The wallet after one block with the transactions and empty ones on top."""
    height = wallet.cursor.height + 1
    refs = [BlockRef(at, block_hash(at), block_hash(at - 1), 0) for at in range(height, height + blocks)]
    told = (WalletBlock(refs[0], transactions), *map(WalletBlock, refs[1:]))
    return connect_blocks(wallet, BlocksConnected(told)).state


def spending(txid: bytes) -> WalletTransaction:
    return WalletTransaction(txid, (), (COIN.outpoint,))


@pytest.mark.parametrize("phase", [Phase.REQUESTED, Phase.SIGNED, Phase.BROADCAST])
def test_no_second_payment_takes_a_coin_that_one_under_way_was_promised(phase: Phase) -> None:
    wallet = wallet_at(9, COIN, payments=(payment(phase),))
    balance = balance_of(wallet)
    assert (balance.confirmed_sat, balance.reserved_sat, balance.spendable_sat) == (50_000, 50_000, 0)
    assert wallet.spendable() == []
    with pytest.raises(CoinNotSpendableError):
        request_payment(wallet, PaymentRequested(payment(Phase.REQUESTED, payment_id="main.2"), None))


@pytest.mark.parametrize("phase", [Phase.REJECTED, Phase.CONFLICTED])
def test_the_coins_of_a_payment_that_ended_unpaid_are_free(phase: Phase) -> None:
    wallet = wallet_at(9, COIN, payments=(payment(phase),))
    assert wallet.spendable() == [COIN]


@pytest.mark.parametrize(
    "coins",
    [
        (),
        (replace(COIN, index=1),),
        (replace(COIN, spent_height=8, spent_by=OTHER),),
        (replace(COIN, coinbase=True),),
    ],
    ids=["gone", "another", "spent", "immature"],
)
def test_a_payment_of_a_coin_that_is_not_spendable_is_not_promised(coins: tuple[WalletCoin, ...]) -> None:
    with pytest.raises(CoinNotSpendableError):
        request_payment(wallet_at(9, *coins), PaymentRequested(payment(Phase.REQUESTED), None))


def test_a_spent_coin_comes_back_with_the_very_block_that_spent_it_and_no_other() -> None:
    wallet = connected(wallet_at(9, COIN), spending(OTHER), blocks=2)
    assert balance_of(wallet).confirmed_sat == 0
    newest_gone = disconnect_blocks(wallet, BlocksDisconnected((block_hash(11),))).state
    assert balance_of(newest_gone).confirmed_sat == 0
    both_gone = disconnect_blocks(wallet, BlocksDisconnected((block_hash(11), block_hash(10)))).state
    assert list(both_gone.unspent()) == [COIN]


def test_a_received_coin_goes_with_its_block_and_counts_once_when_another_block_brings_it_again() -> None:
    received = WalletTransaction(OTHER, (ReceivedOutput(0, 7, KEY.script_pubkey),), ())
    before = wallet_at(9, COIN)
    wallet = connected(before, received)
    assert balance_of(wallet).confirmed_sat == 50_007
    gone = disconnect_blocks(wallet, BlocksDisconnected((block_hash(10),))).state
    assert gone.coins == before.coins
    assert balance_of(connected(gone, received)).confirmed_sat == 50_007


def test_a_payment_whose_block_is_disconnected_is_owed_to_the_node_again() -> None:
    wallet = connected(wallet_at(9, COIN, payments=(payment(Phase.BROADCAST),)), spending(PAYING))
    assert wallet.payment("main.1").phase is Phase.CONFIRMED
    outcome = disconnect_blocks(wallet, BlocksDisconnected((block_hash(10),)))
    assert outcome.state.payment("main.1").phase is Phase.BROADCAST
    assert outcome.commands == (BroadcastPayment("main.1", b"signed"),)
    assert outcome.state.spendable() == []


@pytest.mark.parametrize("phase", [Phase.REQUESTED, Phase.SIGNED, Phase.BROADCAST])
def test_a_block_that_spends_a_promised_coin_otherwise_ends_the_payment(phase: Phase) -> None:
    wallet = connected(wallet_at(9, COIN, payments=(payment(phase),)), spending(OTHER))
    assert wallet.payment("main.1").phase is Phase.CONFLICTED
    back = disconnect_blocks(wallet, BlocksDisconnected((block_hash(10),))).state
    assert (back.payment("main.1").phase, back.spendable()) == (Phase.CONFLICTED, [COIN])


def test_a_settled_payment_and_its_coin_are_kept_whole_until_no_reorganisation_can_reach_them() -> None:
    wallet = connected(
        wallet_at(9, COIN, payments=(payment(Phase.BROADCAST),)), spending(PAYING), blocks=RETAINED_BLOCKS
    )
    kept = wallet.payment("main.1")
    assert (kept.phase, kept.transaction, kept.inputs) == (Phase.SETTLED, b"signed", (SPENT,))
    assert [coin.outpoint for coin in wallet.coins] == [COIN.outpoint]
    buried = connected(wallet)
    assert (buried.payment("main.1").transaction, buried.coins) == (b"", ())
