"""A payment is made exactly once, whatever fails and dies in between."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from anya_actors.domain.bitcoin.coin_selection import DustError, InsufficientFundsError
from anya_actors.domain.bitcoin.errors import AddressError, AmountError, WrongNetworkError
from anya_actors.domain.bitcoin.events import (
    BitcoinPaymentBroadcast,
    BitcoinPaymentConfirmed,
    BitcoinPaymentRejected,
    BitcoinPaymentReorged,
    BitcoinPaymentRequested,
    BitcoinPaymentSettled,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment_order import AbsurdFeeError, FeeCapMissingError
from anya_actors.domain.bitcoin.wallet import UnknownPaymentError, UnknownWalletError
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.services.bitcoin import BitcoinService, BitcoinSettings
from anya_actors.services.bitcoin.payments import FeerateUnknownError
from anya_actors.services.durable import IdempotencyConflictError

AMOUNT_SAT = 30_000_000


async def send(service: BitcoinService, world: Any, message_id: str = "m1", **other: Any) -> Any:
    return await service.send("main", world.payee, AMOUNT_SAT, 3, message_id=message_id, **other)


def payments_received(world: Any) -> list[int]:
    return list(world.node.outputs_to(world.script(world.payee)))


async def test_a_payment_is_promised_signed_broadcast_confirmed_and_settled(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    promised = await send(service, world)
    assert promised.phase == "requested"
    assert promised.fee_sat > 0
    await service.settled("main")
    assert (await service.payment(promised.payment_id)).phase == "broadcast"
    world.node.mine(1)
    await service.follow()
    confirmed = await service.payment(promised.payment_id)
    assert (confirmed.phase, confirmed.confirmations, confirmed.txid) == ("confirmed", 1, promised.txid)
    world.node.mine(5)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "settled"
    assert payments_received(world) == [AMOUNT_SAT]
    told = await world.events(
        BitcoinPaymentRequested, BitcoinPaymentBroadcast, BitcoinPaymentConfirmed, BitcoinPaymentSettled
    )
    assert [type(event).__name__ for event in told] == [
        "BitcoinPaymentRequested",
        "BitcoinPaymentBroadcast",
        "BitcoinPaymentConfirmed",
        "BitcoinPaymentSettled",
    ]


async def test_the_fee_is_exactly_what_the_feerate_asks_of_the_signed_transaction(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    promised = await send(service, world)
    await service.settled("main")
    sent = await service.transaction(promised.txid)
    paid_sat = 50 * 100_000_000 - sum(output.amount_sat for output in sent.outputs)
    assert paid_sat == promised.fee_sat
    # One virtual byte of slack: signatures are 71 or 72 bytes with their type byte.
    assert sent.vsize * 3 <= promised.fee_sat <= (sent.vsize + 1) * 3


async def test_repeating_a_message_id_answers_the_first_answer_and_pays_once(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    first = await send(service, world)
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert await send(service, world) == first
    assert await send(await world.restart(service), world) == first
    world.node.mine(1)
    assert payments_received(world) == [AMOUNT_SAT]


async def test_the_same_message_id_for_another_payment_is_refused(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    await send(service, world)
    with pytest.raises(IdempotencyConflictError):
        await service.send("main", world.payee, AMOUNT_SAT + 1, 3, message_id="m1")


async def test_concurrent_payments_never_share_a_coin(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50, 50, 50)
    sent = await asyncio.gather(*(send(service, world, f"m{number}") for number in range(3)))
    await service.settled("main")
    views = [await service.transaction(payment.txid) for payment in sent]
    spent = [(one.txid, one.index) for view in views for one in view.inputs]
    assert len(spent) == len(set(spent)) == 3
    with pytest.raises(InsufficientFundsError):
        await service.send("main", world.payee, 150 * 100_000_000, 3, message_id="one too many")
    balance = await service.balance("main")
    assert (balance.reserved_sat, balance.spendable_sat) == (150 * 100_000_000, 0)


async def test_a_promise_without_signatures_is_kept_by_the_successor(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.keyring.signs = False
    promised = await send(service, world)
    await world.breathe()
    assert (await service.payment(promised.payment_id)).phase == "requested"
    world.keyring.signs = True
    service = await world.restart(service)
    await service.settled("main")
    world.node.mine(1)
    assert payments_received(world) == [AMOUNT_SAT]
    assert len(world.node.taken) == 1


async def test_signed_bytes_that_no_node_saw_are_broadcast_by_the_successor(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.node.down = True
    promised = await send(service, world)
    await world.breathe()
    assert (await service.payment(promised.payment_id)).phase == "signed"
    assert world.keyring.signed == 1
    world.node.down = False
    service = await world.restart(service)
    await service.settled("main")
    assert world.node.taken == [world.node.taken[0]]
    assert str(world.node.taken[0]) == promised.txid
    assert world.keyring.signed == 1


async def test_a_broadcast_whose_answer_was_lost_is_repeated_and_pays_once(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.node.lose_answers = 1
    promised = await send(service, world)
    await world.breathe()
    assert (await service.payment(promised.payment_id)).phase == "signed"
    service = await world.restart(service)
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "confirmed"
    assert payments_received(world) == [AMOUNT_SAT]


async def test_a_broadcast_that_was_mined_before_its_answer_was_stored_counts_as_made(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.node.lose_answers = 1
    promised = await send(service, world)
    await world.breathe()
    world.node.mine(1)
    service = await world.restart(service)
    await service.settled("main")
    assert (await service.payment(promised.payment_id)).phase == "confirmed"
    assert await world.events(BitcoinPaymentRejected) == []


@pytest.mark.parametrize("durable", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("at", range(1, 9))
async def test_whichever_commit_the_process_dies_at_one_transaction_pays(
    world: Any, service: BitcoinService, death: Any, at: int, durable: bool
) -> None:
    await world.funded(service, 50, 50)
    service = await world.restart(service, death(at, durable=durable))
    with contextlib.suppress(UnavailableError):
        await send(service, world)
    await world.breathe()
    world.node.mine(1)
    await world.pass_time(2)
    service = await world.restart(service)
    promised = await send(service, world)
    await service.settled("main")
    world.node.mine(7)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "settled"
    assert payments_received(world) == [AMOUNT_SAT]
    balance = await service.balance("main")
    assert balance.confirmed_sat == 2 * 50 * 100_000_000 - AMOUNT_SAT - promised.fee_sat
    assert len(await world.events(BitcoinPaymentRequested)) == 1
    assert len(await world.events(BitcoinPaymentConfirmed)) == 1


async def test_a_transaction_that_the_node_forgot_is_sent_again(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    promised = await send(service, world)
    await service.settled("main")
    world.node.lose_mempool()
    await service.follow()
    await service.settled("main")
    assert [str(txid) for txid in world.node.taken] == [promised.txid] * 2
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "confirmed"
    assert payments_received(world) == [AMOUNT_SAT]


async def test_a_watched_transaction_in_the_mempool_is_not_sent_again(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    await send(service, world)
    await service.settled("main")
    for _ in range(5):
        await service.follow()
    assert len(world.node.taken) == 1


async def test_a_payment_whose_block_was_reorganised_away_is_paid_again_by_the_same_transaction(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    promised = await send(service, world)
    await service.settled("main")
    world.node.mine(2)
    await service.follow()
    world.node.reorganise(2)
    world.node.lose_mempool()
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "broadcast"
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "confirmed"
    assert payments_received(world) == [AMOUNT_SAT]
    assert len(await world.events(BitcoinPaymentReorged)) == 1


async def test_a_rejected_payment_frees_its_coins_and_says_why(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    world.node.reject_reason = "mempool full"
    promised = await send(service, world)
    await service.settled("main")
    rejected = await service.payment(promised.payment_id)
    assert (rejected.phase, rejected.reason) == ("rejected", "mempool full")
    assert (await service.balance("main")).spendable_sat == 50 * 100_000_000
    world.node.reject_reason = None
    await send(service, world, "m2")
    await service.settled("main")
    world.node.mine(1)
    assert payments_received(world) == [AMOUNT_SAT]


async def test_a_refusal_after_acceptance_keeps_the_coins_and_tries_again_on_the_next_block(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50, 50)
    promised = await send(service, world)
    await service.settled("main")
    world.node.lose_mempool()
    world.node.reject_reason = "mempool min fee not met"
    await service.follow()
    await service.settled("main")
    await service.follow()
    refused = await service.payment(promised.payment_id)
    assert (refused.phase, refused.reason) == ("broadcast", "mempool min fee not met")
    assert (await service.balance("main")).reserved_sat == 50 * 100_000_000
    world.node.reject_reason = None
    world.node.mine(1)
    await service.follow()
    await service.settled("main")
    world.node.mine(1)
    assert payments_received(world) == [AMOUNT_SAT]


async def test_a_key_whose_policy_forbids_signing_rejects_the_payment(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.keyring.refuse = True
    promised = await send(service, world)
    await service.settled("main")
    rejected = await service.payment(promised.payment_id)
    assert rejected.phase == "rejected"
    assert "policy" in rejected.reason


async def test_a_signature_that_does_not_hold_is_never_broadcast(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    world.keyring.corrupt = True
    promised = await send(service, world)
    await world.breathe()
    assert (await service.payment(promised.payment_id)).phase == "requested"
    assert world.node.taken == []
    world.keyring.corrupt = False
    await world.pass_time(1)
    await service.settled("main")
    assert (await service.payment(promised.payment_id)).phase == "broadcast"


async def test_an_unreachable_node_delays_a_payment_and_nothing_else(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.node.down = True
    promised = await send(service, world)
    await world.pass_time(3)
    await service.check_health()
    assert (await service.balance("main")).reserved_sat == 50 * 100_000_000
    world.node.down = False
    await world.pass_time(6)
    await service.settled("main")
    world.node.mine(1)
    await world.pass_time(2)
    assert (await service.payment(promised.payment_id)).phase == "confirmed"


@pytest.mark.parametrize(
    ("address", "amount_sat", "feerate", "error"),
    [
        ("not an address", 1000, 1, AddressError),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", 1000, 1, WrongNetworkError),
        ("payee", 0, 1, DustError),
        ("payee", 293, 1, DustError),
        ("payee", -1, 1, AmountError),
        ("payee", 21_000_001 * 100_000_000, 1, AmountError),
        ("payee", 1.5, 1, AmountError),
        ("payee", True, 1, AmountError),
        ("payee", 51 * 100_000_000, 1, InsufficientFundsError),
        ("payee", 50 * 100_000_000, 1, InsufficientFundsError),
        ("payee", 1000, 0, InvalidInputError),
        ("payee", 1000, 10_001, InvalidInputError),
        ("payee", 1000, 1.5, InvalidInputError),
    ],
)
async def test_a_payment_that_cannot_be_made_is_refused_with_its_reason_and_promises_nothing(
    world: Any, service: BitcoinService, address: str, amount_sat: Any, feerate: Any, error: type[Exception]
) -> None:
    await world.funded(service, 50)
    to = world.payee if address == "payee" else address
    with pytest.raises(error):
        await service.send("main", to, amount_sat, feerate, message_id="m1")
    assert await service.payments("main") == []
    assert (await service.balance("main")).reserved_sat == 0


async def test_unknown_wallets_and_payments_are_told_as_such(service: BitcoinService) -> None:
    with pytest.raises(UnknownWalletError):
        await service.balance("nobody")
    with pytest.raises(UnknownPaymentError):
        await service.payment("nobody.00")
    with pytest.raises(UnknownPaymentError):
        await service.payment("")


async def test_a_fee_above_the_cap_is_refused(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    with pytest.raises(AbsurdFeeError):
        await service.send("main", world.payee, AMOUNT_SAT, 10, 100, message_id="m1")


async def test_the_nodes_estimate_is_used_when_the_payer_names_no_feerate(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    world.node.feerate_sat_per_vb = 17
    promised = await service.send("main", world.payee, AMOUNT_SAT, message_id="m1")
    assert promised.feerate_sat_per_vb == 17


async def test_mainnet_needs_an_explicit_fee_cap_and_an_estimate_or_a_feerate(world: Any) -> None:
    mainnet = type(world)(Network.MAINNET)
    service = await mainnet.start()
    await mainnet.funded(service, 50, 50)
    with pytest.raises(FeerateUnknownError):
        await service.send("main", mainnet.payee, AMOUNT_SAT, message_id="m1")
    with pytest.raises(FeeCapMissingError):
        await service.send("main", mainnet.payee, AMOUNT_SAT, 5, message_id="m2")
    promised = await service.send("main", mainnet.payee, AMOUNT_SAT, 5, 10_000, message_id="m3")
    assert promised.fee_sat <= 10_000
    mainnet.settings = BitcoinSettings(network=Network.MAINNET, max_fee_sat=500)
    service = await mainnet.restart(service)
    with pytest.raises(AbsurdFeeError):
        await service.send("main", mainnet.payee, AMOUNT_SAT, 5, message_id="m4")
    await mainnet.close()
