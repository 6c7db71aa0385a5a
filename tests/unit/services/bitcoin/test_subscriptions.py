"""Who subscribes is told exactly once, in order, through reorganisations and crashes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.chain_follower import RETAINED_BLOCKS
from anya_actors.domain.bitcoin.events import (
    BitcoinTransactionConfirmed,
    BitcoinTransactionReorged,
    BitcoinTransactionSeen,
)
from anya_actors.domain.bitcoin.subscriptions import MAX_SUBSCRIPTIONS, UnknownSubscriptionError
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.services.bitcoin import BitcoinService
from anya_actors.services.durable import IdempotencyConflictError

KINDS = (BitcoinTransactionSeen, BitcoinTransactionConfirmed, BitcoinTransactionReorged)


async def told(world: Any, subscription_id: str) -> list[tuple[str, str]]:
    """What was told to a subscriber: the kind of event and the txid."""
    return [
        (type(event).__name__.removeprefix("BitcoinTransaction"), event.txid)
        for event in await world.events(*KINDS)
        if event.subscription == subscription_id
    ]


async def pay(service: BitcoinService, address: str, number: int = 0) -> str:
    """A payment from the wallet ``main``; its txid."""
    payment = await service.send("main", address, 10_000, 2, message_id=f"pay {address} {number}")
    await service.settled("main")
    await service.follow()
    return payment.txid


@pytest.fixture
async def funded(world: Any, service: BitcoinService) -> BitcoinService:
    await world.funded(service, 1, 1, 1)
    return service


async def test_a_payment_to_an_address_is_seen_confirmed_and_reorged(
    world: Any, funded: BitcoinService
) -> None:
    made = await funded.subscriptions.subscribe("address", world.payee, 2, message_id="s")
    txid = await pay(funded, world.payee)
    assert await told(world, made.subscription_id) == [("Seen", txid)]
    world.node.mine(1)
    await funded.follow()
    assert await told(world, made.subscription_id) == [("Seen", txid)]
    world.node.mine(1)
    await funded.follow()
    assert await told(world, made.subscription_id) == [("Seen", txid), ("Confirmed", txid)]
    world.node.reorganise(2)
    await funded.follow()
    assert (await told(world, made.subscription_id))[2:] == [("Reorged", txid)]
    world.node.mine(2)
    await funded.follow()
    assert (await told(world, made.subscription_id))[3:] == [("Confirmed", txid)]
    (sighting,) = (await funded.subscriptions.subscription(made.subscription_id)).sightings
    assert (sighting.txid, sighting.received_sat, sighting.confirmed) == (txid, 10_000, True)
    assert sighting.confirmations == 2


async def test_a_transaction_asked_for_by_name_is_told_wherever_it_is(
    world: Any, funded: BitcoinService
) -> None:
    txid = await pay(funded, world.payee)
    waiting = await funded.subscriptions.subscribe("transaction", txid, 1, message_id="waiting")
    assert await told(world, waiting.subscription_id) == [("Seen", txid)]
    world.node.mine(3)
    await funded.follow()
    assert await told(world, waiting.subscription_id) == [("Seen", txid), ("Confirmed", txid)]
    buried = await funded.subscriptions.subscribe("transaction", txid, 3, message_id="buried")
    assert await told(world, buried.subscription_id) == [("Seen", txid), ("Confirmed", txid)]
    early = await funded.subscriptions.subscribe("transaction", txid, 5, message_id="early")
    assert await told(world, early.subscription_id) == [("Seen", txid)]
    world.node.mine(2)
    await funded.follow()
    assert await told(world, early.subscription_id) == [("Seen", txid), ("Confirmed", txid)]
    unknown = await funded.subscriptions.subscribe("transaction", "ab" * 32, 1, message_id="unknown")
    assert unknown.sightings == ()


async def test_the_spending_of_an_outpoint_is_told(world: Any, funded: BitcoinService) -> None:
    first = world.node._active[1]
    coinbase = world.node._blocks[first][0].transactions[0]
    made = await funded.subscriptions.subscribe("outpoint", f"{coinbase.txid}:0", 1, message_id="s")
    spent = [await pay(funded, world.payee, number) for number in range(3)]
    world.node.mine(1)
    await funded.follow()
    events = await told(world, made.subscription_id)
    assert [kind for kind, _ in events] == ["Seen", "Confirmed"]
    assert {txid for _, txid in events} < set(spent)
    assert made.value == f"{coinbase.txid}:0"


async def test_a_script_without_an_address_can_be_watched(world: Any, service: BitcoinService) -> None:
    made = await service.subscriptions.subscribe("script", "51", 1, message_id="s")
    world.node.mine(1, b"\x51")
    await service.follow()
    assert [kind for kind, _ in await told(world, made.subscription_id)] == ["Seen", "Confirmed"]
    assert made.value == "51"


async def test_what_lies_deep_is_forgotten_for_scripts_and_known_for_transactions(
    world: Any, funded: BitcoinService
) -> None:
    txid = await pay(funded, world.payee)
    script = await funded.subscriptions.subscribe("address", world.payee, 1, message_id="s")
    name = await funded.subscriptions.subscribe("transaction", txid, 1, message_id="t")
    world.node.mine(RETAINED_BLOCKS + 1)
    await funded.follow()
    assert (await funded.subscriptions.subscription(script.subscription_id)).sightings == ()
    (known,) = (await funded.subscriptions.subscription(name.subscription_id)).sightings
    assert known.confirmations == RETAINED_BLOCKS + 1


async def test_who_subscribes_twice_with_one_key_has_one_subscription(
    world: Any, service: BitcoinService
) -> None:
    first = await service.subscriptions.subscribe("address", world.payee, 1, message_id="s")
    assert await service.subscriptions.subscribe("address", world.payee, 1, message_id="s") == first
    with pytest.raises(IdempotencyConflictError):
        await service.subscriptions.subscribe("address", world.payee, 2, message_id="s")
    assert await service.subscriptions.subscriptions() == [first]
    await service.subscriptions.unsubscribe(first.subscription_id, message_id="u")
    await service.subscriptions.unsubscribe(first.subscription_id, message_id="v")
    assert await service.subscriptions.subscriptions() == []
    with pytest.raises(UnknownSubscriptionError):
        await service.subscriptions.subscription(first.subscription_id)
    world.node.mine(1, world.script(world.payee))
    await service.follow()
    assert await told(world, first.subscription_id) == []


@pytest.mark.parametrize(
    ("subject", "value", "confirmations"),
    [
        ("block", "00" * 32, 1),
        ("transaction", "00" * 31, 1),
        ("transaction", "zz" * 32, 1),
        ("address", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 1),
        ("script", "5", 1),
        ("script", "", 1),
        ("script", "51" * 10_001, 1),
        ("outpoint", "00" * 32, 1),
        ("outpoint", "00" * 32 + ":-1", 1),
        ("outpoint", "00" * 32 + ":4294967295", 1),
        ("outpoint", "00" * 31 + ":1", 1),
        ("script", "51", 0),
        ("script", "51", 145),
    ],
)
async def test_what_cannot_be_watched_is_refused(
    service: BitcoinService, subject: str, value: str, confirmations: int
) -> None:
    with pytest.raises(InvalidInputError):
        await service.subscriptions.subscribe(subject, value, confirmations, message_id="s")
    assert await service.subscriptions.subscriptions() == []


async def test_there_are_only_so_many_subscriptions(world: Any, service: BitcoinService) -> None:
    for number in range(MAX_SUBSCRIPTIONS):
        await service.subscriptions.subscribe("script", f"{number:08x}", 1, message_id=f"s{number}")
    with pytest.raises(AnyaError, match="the most there may be"):
        await service.subscriptions.subscribe("script", "51", 1, message_id="one too many")


@pytest.mark.parametrize(("at", "durable"), list(itertools.product(range(1, 9), (True, False))))
async def test_a_subscriber_is_told_once_whenever_the_process_dies(
    world: Any, death: Any, at: int, durable: bool
) -> None:
    service = await world.start()
    made = await service.subscriptions.subscribe("address", world.payee, 2, message_id="s")
    script = world.script(world.payee)
    dying = death(at, durable=durable)
    service = await world.restart(service, dying)
    for _ in range(3):
        world.node.mine(1, script)
        world.node.mine(1)
        try:
            await service.follow()
            world.node.reorganise(1)
            await service.follow()
        except AnyaError:
            assert dying.dead
        if dying.dead:
            service = await world.restart(service)
            dying = death(1_000_000, durable=True)
            await service.follow()
    await service.follow()
    events = await told(world, made.subscription_id)
    paying = [
        str(world.node._blocks[block_hash][0].transactions[0].txid)
        for block_hash in world.node._active
        if world.node._blocks[block_hash][0].transactions[0].outputs[0].script_pubkey == script
    ]
    for txid in paying:
        history = [kind for kind, name in events if name == txid]
        assert history[:2] == ["Seen", "Confirmed"]
        assert history[2:] == ["Reorged", "Confirmed"] * (len(history[2:]) // 2)
    assert encode_address(script, world.network) == world.payee


async def test_a_subscription_is_made_once_though_its_answer_is_long_forgotten(
    world: Any, service: BitcoinService
) -> None:
    await service.follow()
    made = await service.subscriptions.subscribe("address", world.payee, 2, message_id="s")
    await service._engine._store.forget_replies(world.clock.now_unix_ms() + 1)
    assert await service.subscriptions.subscribe("address", world.payee, 2, message_id="s") == made
    assert await service.subscriptions.subscriptions() == [made]
    with pytest.raises(IdempotencyConflictError):
        await service.subscriptions.subscribe("address", world.payee, 3, message_id="s")
