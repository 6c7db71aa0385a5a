"""Wallets and the bus follow the node through reorganisations, outages and deaths."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from anya_actors.domain.bitcoin.chain_follower import RETAINED_BLOCKS
from anya_actors.domain.bitcoin.events import (
    BitcoinBlockConnected,
    BitcoinBlockDisconnected,
    BitcoinTransactionConfirmed,
    BitcoinTransactionReorged,
    BitcoinTransactionSeen,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.wallet_scripts import known_scripts
from anya_actors.services.bitcoin import BitcoinService
from anya_actors.services.bitcoin.follower import WrongChainError

REWARD_SAT = 50 * 100_000_000


async def scripts(world: Any, service: BitcoinService, wallet: str) -> list[bytes]:
    state = await service._ledger.wallet(wallet)
    return list(known_scripts(state))


async def assert_agrees_with_the_chain(world: Any, service: BitcoinService, wallet: str = "main") -> None:
    balance = await service.balance(wallet)
    held_sat = world.node.balance_sat(await scripts(world, service, wallet))
    assert balance.confirmed_sat + balance.immature_sat == held_sat
    assert balance.height == world.node.height


async def test_coinbase_outputs_are_spendable_with_101_confirmations_as_in_cores_wallet(
    world: Any, service: BitcoinService
) -> None:
    view = await service.create_wallet("main", message_id="w")
    world.node.mine(1, world.script(view.address))
    world.node.mine(99)
    await service.follow()
    assert (await service.balance("main")).immature_sat == REWARD_SAT
    world.node.mine(1)
    await service.follow()
    balance = await service.balance("main")
    assert (balance.immature_sat, balance.confirmed_sat, balance.spendable_sat) == (0, REWARD_SAT, REWARD_SAT)


@pytest.mark.parametrize("depth", [1, 3, 100, RETAINED_BLOCKS - 1])
async def test_a_reorganisation_leaves_the_balance_that_the_new_chain_gives(
    world: Any, service: BitcoinService, depth: int
) -> None:
    view = await service.create_wallet("main", message_id="w")
    world.node.mine(5, world.script(view.address))
    world.node.mine(RETAINED_BLOCKS)
    world.node.mine(2, world.script(view.address))
    await service.follow()
    await assert_agrees_with_the_chain(world, service)
    world.node.reorganise(depth)
    await service.follow()
    await assert_agrees_with_the_chain(world, service)
    gone = await world.events(BitcoinBlockDisconnected)
    assert len(gone) == depth
    heights = [event.height for event in gone]
    assert heights == sorted(heights, reverse=True)
    assert len(await world.events(BitcoinTransactionReorged)) == min(depth, 2)


async def test_after_a_deeper_reorganisation_a_wallet_follows_again_from_its_birth(
    world: Any, service: BitcoinService
) -> None:
    view = await service.create_wallet("main", message_id="w")
    world.node.mine(3, world.script(view.address))
    world.node.mine(RETAINED_BLOCKS)
    await service.follow()
    world.node.reorganise(RETAINED_BLOCKS + 2)
    await service.follow()
    await assert_agrees_with_the_chain(world, service)
    assert (await service.balance("main")).confirmed_sat == REWARD_SAT
    gone: Any = await world.events(BitcoinTransactionReorged)
    assert len({event.txid for event in gone}) == 3
    await service.check_health()


async def test_a_payment_that_a_deep_reorganisation_took_out_of_the_chain_is_made_again(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.settings = replace(world.settings, final_confirmations=RETAINED_BLOCKS + 50)
    service = await world.restart(service)
    promised = await service.send("main", world.payee, 1_000_000, 2, message_id="m")
    await service.settled("main")
    world.node.mine(RETAINED_BLOCKS + 3)
    await service.follow()
    world.node.reorganise(RETAINED_BLOCKS + 3)
    world.node.lose_mempool()
    await service.follow()
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "confirmed"
    assert world.node.outputs_to(world.script(world.payee)) == [1_000_000]
    await assert_agrees_with_the_chain(world, service)


@pytest.mark.parametrize("depth", [RETAINED_BLOCKS, 3 * RETAINED_BLOCKS])
async def test_block_events_tell_a_reorganisation_of_any_depth(
    world: Any, service: BitcoinService, depth: int
) -> None:
    world.node.mine(depth + 5)
    await service.follow()
    before = await chain_told(world)
    world.node.reorganise(depth)
    await service.follow()
    assert len(await world.events(BitcoinBlockDisconnected)) == depth
    after = await chain_told(world)
    assert after[-1] == str(world.node.best_hash)
    assert (after[:5], len(after)) == (before[:5], depth + 6)


async def chain_told(world: Any) -> list[str]:
    """The chain that the events up to now add up to; each must fit on the one before."""
    chain: list[str] = []
    for event in await world.events(BitcoinBlockConnected, BitcoinBlockDisconnected):
        if isinstance(event, BitcoinBlockConnected):
            assert not chain or event.previous_hash == chain[-1]
            chain.append(event.block_hash)
        else:
            assert chain.pop() == event.block_hash
    return chain


async def test_block_events_tell_the_chain_in_order_exactly_once(world: Any, service: BitcoinService) -> None:
    world.node.mine(3)
    await service.follow()
    world.node.reorganise(2)
    service = await world.restart(service)
    await service.follow()
    await service.follow()
    chain = await chain_told(world)
    assert chain[-1] == str(world.node.best_hash)
    assert len(chain) == world.node.height


@pytest.mark.parametrize("durable", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("at", range(1, 13))
async def test_whichever_commit_the_follower_dies_at_no_block_is_missed_and_none_counts_twice(
    world: Any, service: BitcoinService, death: Any, at: int, durable: bool
) -> None:
    one = await service.create_wallet("one", message_id="w1")
    two = await service.create_wallet("two", message_id="w2")
    world.node.mine(2, world.script(one.address))
    world.node.mine(2, world.script(two.address))
    await service.follow()
    world.node.mine(1, world.script(one.address))
    world.node.reorganise(2)
    world.node.mine(1, world.script(two.address))
    service = await world.restart(service, death(at, durable=durable))
    await world.pass_time(2)
    service = await world.restart(service)
    await world.pass_time(2)
    for wallet in ("one", "two"):
        await assert_agrees_with_the_chain(world, service, wallet)
    confirmed = [
        (event.wallet, event.txid, event.height) for event in await world.events(BitcoinTransactionConfirmed)
    ]
    assert len(confirmed) == len(set(confirmed)) == 5


async def test_a_payment_to_the_wallet_is_seen_in_the_mempool_and_then_confirmed(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    await service.create_wallet("friend", message_id="w")
    address = (await service.new_address("friend", message_id="a")).address
    sent = await service.send("main", address, 1_000_000, 2, message_id="m")
    await service.settled("main")
    await service.follow()
    assert (await service.balance("friend")).pending_sat == 1_000_000
    world.node.mine(1)
    await service.follow()
    balance = await service.balance("friend")
    assert (balance.pending_sat, balance.confirmed_sat) == (0, 1_000_000)
    kinds = (BitcoinTransactionSeen, BitcoinTransactionConfirmed)
    told: Any = [event for event in await world.events(*kinds) if event.wallet == "friend"]
    assert [(type(event), event.txid) for event in told] == [(kind, sent.txid) for kind in kinds]


async def test_a_transaction_that_leaves_the_mempool_is_no_longer_pending(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    friend = await service.create_wallet("friend", message_id="w")
    await service.send("main", friend.address, 1_000_000, 2, message_id="m")
    await service.settled("main")
    await service.follow()
    world.node.lose_mempool()
    world.node.reject_reason = "mempool full"
    await service.follow()
    assert (await service.balance("friend")).pending_sat == 0


async def test_a_payment_that_a_reorganisation_gives_back_to_the_mempool_is_pending_again(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    friend = await service.create_wallet("friend", message_id="w")
    await service.send("main", friend.address, 1_000_000, 2, message_id="m")
    await service.settled("main")
    await service.follow()
    world.node.mine(1)
    await service._follower.follow(mempool=False)  # the block comes between two looks at the mempool
    world.node.reorganise(1)
    await service.follow()
    balance = await service.balance("friend")
    assert (balance.pending_sat, balance.confirmed_sat) == (1_000_000, 0)


async def test_following_goes_on_by_itself_and_after_an_outage(world: Any, service: BitcoinService) -> None:
    await service.create_wallet("main", message_id="w")
    world.node.down = True
    await world.pass_time(3)
    world.node.down = False
    world.node.mine(3)
    await world.pass_time(2)
    assert (await service.balance("main")).height == world.node.height
    await service.check_health()


async def test_a_node_that_reads_its_blocks_anew_is_waited_for(world: Any, service: BitcoinService) -> None:
    await service.create_wallet("main", message_id="w")
    world.node.mine(5)
    await service.follow()
    world.node.reorganise(3, length=0)
    world.node.initial_block_download = True
    await service.follow()
    assert (await service.balance("main")).height == world.node.height + 3
    world.node.initial_block_download = False
    await service.follow()
    assert (await service.balance("main")).height == world.node.height


async def test_a_node_that_has_not_read_the_coins_block_yet_refuses_nothing_for_good(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.node.down = True
    promised = await service.send("main", world.payee, 1_000_000, 2, message_id="m")
    unread = world.node.fall_behind(50)
    world.node.down = False
    world.node.initial_block_download = True
    await world.pass_time(10)
    assert (await service.payment(promised.payment_id)).phase == "signed"
    world.node.catch_up(unread)
    world.node.initial_block_download = False
    await world.pass_time(10)
    await service.settled("main")
    assert (await service.payment(promised.payment_id)).phase == "broadcast"


async def test_a_node_of_another_network_is_not_believed(world: Any, service: BitcoinService) -> None:
    world.node.network = Network.SIGNET
    with pytest.raises(WrongChainError, match="signet"):
        await service.follow()
