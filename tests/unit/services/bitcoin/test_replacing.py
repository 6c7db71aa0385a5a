"""Of a payment and its replacements exactly one is ever made, whatever dies in between."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from anya_actors.domain.bitcoin.child_plan import NothingToSpendError
from anya_actors.domain.bitcoin.coin_selection import InsufficientFundsError
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.events import BitcoinPaymentConfirmed, BitcoinPaymentReplaced
from anya_actors.domain.bitcoin.payment_order import AbsurdFeeError
from anya_actors.domain.bitcoin.replacement_plan import NotReplaceableError, ReplacementFeeError
from anya_actors.domain.bitcoin.wallet import CoinNotSpendableError, UnknownPaymentError
from anya_actors.domain.bitcoin.wallet_scripts import known_scripts
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.ports.bitcoin_rpc import TransactionNotFoundError
from anya_actors.services.bitcoin import BitcoinService, SendTerms
from anya_actors.services.durable import IdempotencyConflictError

AMOUNT_SAT = 30_000_000


async def paid(world: Any, service: BitcoinService, feerate: int = 2) -> Any:
    """A payment that waits in the mempool."""
    await world.funded(service, 50, 50)
    promised = await service.send("main", world.payee, AMOUNT_SAT, feerate, message_id="pay")
    await service.settled("main")
    return promised


def received(world: Any) -> list[int]:
    return list(world.node.outputs_to(world.script(world.payee)))


async def test_a_bumped_payment_is_confirmed_by_its_replacement(world: Any, service: BitcoinService) -> None:
    promised = await paid(world, service)
    bumped = await service.bump_payment(promised.payment_id, 9, message_id="bump")
    assert await service.bump_payment(promised.payment_id, 9, message_id="bump") == bumped
    assert bumped.txid != promised.txid
    assert bumped.fee_sat > promised.fee_sat
    assert bumped.recipients == promised.recipients
    assert set(bumped.txids) == {promised.txid, bumped.txid}
    await service.settled("main")
    assert await world.node.mempool_txids() == {world.node.taken[-1]}
    world.node.mine(1)
    await service.follow()
    view = await service.payment(promised.payment_id)
    assert (view.phase, view.txid, view.cancels) == ("confirmed", bumped.txid, False)
    assert received(world) == [AMOUNT_SAT]
    told: Any = await world.events(BitcoinPaymentReplaced)
    assert [(one.replaced_txid, one.txid) for one in told] == [(promised.txid, bumped.txid)]


async def test_the_original_in_a_block_ends_the_replacement(world: Any, service: BitcoinService) -> None:
    promised = await paid(world, service)
    world.node.mine(1)  # a miner was faster, and we have not heard of it
    bumped = await service.bump_payment(promised.payment_id, 9, message_id="bump")
    await world.pass_time(2)
    await service.settled("main")
    view = await service.payment(promised.payment_id)
    assert (view.phase, view.txid) == ("confirmed", promised.txid)
    assert bumped.txid in view.txids
    world.node.mine(1)
    assert received(world) == [AMOUNT_SAT]


async def test_a_replacement_that_the_node_refuses_leaves_the_original(
    world: Any, service: BitcoinService
) -> None:
    promised = await paid(world, service)
    world.node.reject_reason = "too-long-mempool-chain"
    await service.bump_payment(promised.payment_id, 9, message_id="bump")
    await service.settled("main")
    world.node.reject_reason = None
    view = await service.payment(promised.payment_id)
    assert (view.phase, view.txid, view.reason) == ("broadcast", promised.txid, "too-long-mempool-chain")
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "confirmed"
    assert received(world) == [AMOUNT_SAT]


@pytest.mark.parametrize("taken", [True, False], ids=["taken again", "refused"])
async def test_a_payment_is_replaced_while_its_first_version_is_being_sent_again(
    world: Any, service: BitcoinService, taken: bool
) -> None:
    """What the node says of the first version then comes in a phase of the second one."""
    promised = await paid(world, service)
    world.node.lose_mempool()
    world.node.lose_answers = 1
    await service.follow()  # finds that it has vanished, and owes it to the node again
    await world.breathe()
    bumped = await service.bump_payment(promised.payment_id, 9, message_id="bump")
    if not taken:
        world.node.lose_mempool()
        world.node.reject_reason = "mempool full"
    await world.pass_time(1)
    world.node.reject_reason = None
    await world.pass_time(5)
    for _ in range(2):  # what the node refused is offered again on the next block
        await service.settled("main")
        world.node.mine(1)
        await service.follow()
    view = await service.payment(promised.payment_id)
    assert view.phase == "confirmed"
    assert bumped.txid in view.txids
    assert received(world) == [AMOUNT_SAT]


async def test_a_cancelled_payment_pays_no_one_but_the_wallet(world: Any, service: BitcoinService) -> None:
    promised = await paid(world, service)
    cancelled = await service.cancel_payment(promised.payment_id, message_id="cancel")
    assert cancelled.cancels
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    view = await service.payment(promised.payment_id)
    assert (view.phase, view.cancels) == ("confirmed", True)
    assert received(world) == []
    balance = await service.balance("main")
    assert balance.spendable_sat == 100 * 100_000_000 - cancelled.fee_sat
    told: Any = await world.events(BitcoinPaymentConfirmed)
    assert [one.cancels for one in told] == [True]
    with pytest.raises(NotReplaceableError):
        await service.bump_payment(promised.payment_id, 50, message_id="late")


async def test_without_a_feerate_a_replacement_pays_the_least_that_nodes_take(
    world: Any, service: BitcoinService
) -> None:
    promised = await paid(world, service, 5)
    bumped = await service.bump_payment(promised.payment_id, message_id="bump")
    await service.settled("main")
    sent = await service.transaction(bumped.txid)
    assert promised.fee_sat + sent.vsize <= bumped.fee_sat <= promised.fee_sat + 2 * sent.vsize


async def test_a_replacement_brings_another_coin_when_the_change_is_too_small(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50, 50)
    amount_sat = 50 * 100_000_000 - 1000
    promised = await service.send("main", world.payee, amount_sat, 2, message_id="pay")
    await service.settled("main")
    bumped = await service.bump_payment(promised.payment_id, 100, message_id="bump")
    await service.settled("main")
    sent = await service.transaction(bumped.txid)
    assert len(sent.inputs) == 2
    world.node.mine(1)
    await service.follow()
    assert received(world) == [amount_sat]
    assert (await service.payment(promised.payment_id)).txid == bumped.txid


@pytest.mark.parametrize("durable", [False, True], ids=["before the commit", "after the commit"])
@pytest.mark.parametrize("at", range(1, 9))
@pytest.mark.parametrize("cancel", [False, True], ids=["bump", "cancel"])
async def test_whichever_commit_we_die_at_the_payment_is_made_once_or_taken_back(
    world: Any, service: BitcoinService, death: Any, at: int, durable: bool, cancel: bool
) -> None:
    promised = await paid(world, service)
    service = await world.restart(service, death(at, durable=durable))
    ask = BitcoinService.cancel_payment if cancel else BitcoinService.bump_payment
    with contextlib.suppress(AnyaError):
        await ask(service, promised.payment_id, 9, message_id="replace")
    world.node.mine(1 if at % 2 else 0)
    await world.pass_time(2)
    service = await world.restart(service)
    with contextlib.suppress(NotReplaceableError):
        await ask(service, promised.payment_id, 9, message_id="replace")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    view = await service.payment(promised.payment_id)
    assert view.phase == "confirmed"
    assert received(world) == ([] if view.cancels else [AMOUNT_SAT])
    wallet = await service._ledger.wallet("main")
    balance = await service.balance("main")
    held_sat = world.node.balance_sat(known_scripts(wallet))
    assert balance.confirmed_sat + balance.immature_sat == held_sat
    assert balance.reserved_sat == 0


async def test_a_reorganisation_that_brings_the_original_back_is_believed(
    world: Any, service: BitcoinService
) -> None:
    promised = await paid(world, service)
    original = world.node.taken[-1]
    transaction = (await world.node.transaction(original)).transaction
    bumped = await service.bump_payment(promised.payment_id, 9, message_id="bump")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).txid == bumped.txid
    world.node.reorganise(1, length=0)
    world.node.lose_mempool()
    await world.node.broadcast(transaction)
    world.node.mine(2)
    await service.follow()
    await service.settled("main")
    view = await service.payment(promised.payment_id)
    assert (view.phase, view.txid) == ("confirmed", promised.txid)
    assert received(world) == [AMOUNT_SAT]


async def test_own_change_in_the_mempool_can_be_spent(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    first = await service.send("main", world.payee, AMOUNT_SAT, 2, message_id="one")
    with pytest.raises(InsufficientFundsError):
        await service.send("main", world.payee, AMOUNT_SAT, 2, message_id="not yet taken by the node")
    await service.settled("main")
    balance = await service.balance("main")
    assert (balance.spendable_sat, balance.spendable_change_sat) == (0, first.change_sat)
    second = await service.send("main", world.payee, AMOUNT_SAT, 2, message_id="two")
    await service.settled("main")
    with pytest.raises(NotReplaceableError, match="spends its change"):
        await service.bump_payment(first.payment_id, 9, message_id="bump")
    world.node.mine(1)
    await service.follow()
    assert {(await service.payment(one.payment_id)).phase for one in (first, second)} == {"confirmed"}
    assert received(world) == [AMOUNT_SAT] * 2


async def test_what_spends_the_change_of_a_version_that_lost_is_told_as_conflicted(
    world: Any, service: BitcoinService
) -> None:
    promised = await paid(world, service)
    original = (await world.node.transaction(world.node.taken[-1])).transaction
    await service.bump_payment(promised.payment_id, 9, message_id="bump")
    await service.settled("main")
    wallet = await service._ledger.wallet("main")
    change = f"{(await service.payment(promised.payment_id)).txid}:{wallet.spendable_change()[0].index}"
    terms = SendTerms(feerate_sat_per_vb=2, inputs=(change,), only_inputs=True)
    child = await service.pay("main", [(world.foreign_address(8), 1_000_000)], terms, message_id="child")
    await service.settled("main")
    world.node.lose_mempool()
    await world.node.broadcast(original)
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "confirmed"
    assert (await service.payment(child.payment_id)).phase == "conflicted"
    balance = await service.balance("main")
    assert balance.reserved_sat == 0


async def test_several_receivers_are_paid_by_one_transaction(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    to = [(world.foreign_address(number), 1_000_000 * number) for number in range(1, 6)]
    promised = await service.pay("main", to, SendTerms(feerate_sat_per_vb=2), message_id="m")
    assert promised.amount_sat == 15_000_000
    assert [(one.address, one.amount_sat) for one in promised.recipients] == to
    await service.settled("main")
    world.node.mine(1)
    for address, amount_sat in to:
        assert world.node.outputs_to(world.script(address)) == [amount_sat]
    with pytest.raises(IdempotencyConflictError):
        await service.pay("main", to[:4], SendTerms(feerate_sat_per_vb=2), message_id="m")


async def test_everything_is_sent_and_the_receiver_pays_the_fee(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50, 50)
    terms = SendTerms(feerate_sat_per_vb=2, send_all=True)
    promised = await service.pay("main", [(world.payee, 0)], terms, message_id="m")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert received(world) == [100 * 100_000_000 - promised.fee_sat]
    assert promised.amount_sat == received(world)[0]
    assert (await service.balance("main")).confirmed_sat == 0


async def test_the_receiver_pays_the_fee_if_asked_for(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    terms = SendTerms(feerate_sat_per_vb=2, subtract_fee=True)
    promised = await service.pay("main", [(world.payee, AMOUNT_SAT)], terms, message_id="m")
    assert promised.recipients[0].amount_sat == AMOUNT_SAT - promised.fee_sat
    assert promised.change_sat == 50 * 100_000_000 - AMOUNT_SAT


@pytest.mark.parametrize(
    ("to", "terms", "error"),
    [
        ([], SendTerms(), InvalidInputError),
        ([("nowhere", 1000)], SendTerms(), AddressError),
        ([("payee", 1000)], SendTerms(inputs=("zz:0",)), InvalidInputError),
        ([("payee", 1000)], SendTerms(inputs=("00" * 32 + ":4294967296",)), InvalidInputError),
        ([("payee", 1000)], SendTerms(inputs=("00" * 32 + ":0",)), CoinNotSpendableError),
        ([("payee", 1000)], SendTerms(max_fee_sat=1), AbsurdFeeError),
        ([("payee", 1000)], SendTerms(send_all=True), InvalidInputError),
    ],
)
async def test_terms_that_cannot_be_kept_are_refused(
    world: Any, service: BitcoinService, to: list[tuple[str, int]], terms: SendTerms, error: type[Exception]
) -> None:
    await world.funded(service, 50)
    asked = [(world.payee if address == "payee" else address, amount) for address, amount in to]
    with pytest.raises(error):
        await service.pay("main", asked, terms, message_id="m")
    assert await service.payments("main") == []


async def test_a_replacement_that_no_node_would_take_is_refused(world: Any, service: BitcoinService) -> None:
    promised = await paid(world, service, 5)
    with pytest.raises(ReplacementFeeError):
        await service.bump_payment(promised.payment_id, 5, message_id="b1")
    with pytest.raises(AbsurdFeeError):
        await service.bump_payment(promised.payment_id, 50, 100, message_id="b2")
    with pytest.raises(UnknownPaymentError):
        await service.bump_payment("main.00", 50, message_id="b3")
    world.node.mine(1)
    await service.follow()
    with pytest.raises(NotReplaceableError):
        await service.bump_payment(promised.payment_id, 50, message_id="b4")


async def test_a_child_pays_for_an_incoming_transaction(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    friend = await service.create_wallet("friend", message_id="f")
    parent = await service.send("main", friend.address, AMOUNT_SAT, 1, message_id="pay")
    await service.settled("main")
    terms = SendTerms(feerate_sat_per_vb=20)
    child = await service.accelerate("friend", parent.txid, terms, message_id="c")
    assert await service.accelerate("friend", parent.txid, terms, message_id="c") == child
    await service.settled("friend")
    sent = [await service.transaction(txid) for txid in (parent.txid, child.txid)]
    fees_sat, vsize = parent.fee_sat + child.fee_sat, sum(one.vsize for one in sent)
    assert 20 * vsize <= fees_sat <= 20 * (vsize + 3)
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(child.payment_id)).phase == "confirmed"
    assert (await service.balance("friend")).confirmed_sat == AMOUNT_SAT - child.fee_sat
    with pytest.raises(NothingToSpendError):
        await service.accelerate("friend", parent.txid, terms, message_id="late")


async def test_a_child_pays_for_a_payment_by_its_change(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    parent = await service.send("main", world.payee, AMOUNT_SAT, 1, message_id="pay")
    await service.settled("main")
    terms = SendTerms(feerate_sat_per_vb=10)
    child = await service.accelerate("main", parent.txid, terms, message_id="c")
    with pytest.raises(NothingToSpendError):
        await service.accelerate("main", parent.txid, terms, message_id="twice")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert {(await service.payment(one.payment_id)).phase for one in (parent, child)} == {"confirmed"}
    assert received(world) == [AMOUNT_SAT]
    with pytest.raises(TransactionNotFoundError):
        await service.accelerate("main", "00" * 32, terms, message_id="none")


async def with_a_lost_coin(world: Any, service: BitcoinService, *, more: int = 0) -> Any:
    """A payment of two block rewards, the newer of which a reorganisation has taken for good."""
    view = await service.create_wallet("main", message_id="w")
    world.node.mine(1 + more, world.script(view.address))
    world.node.mine(100)
    world.node.mine(1, world.script(view.address))
    world.node.mine(100)
    await service.follow()
    inputs = [one.outpoint for one in await service.wallet_book.coins("main")]
    kept = sorted(inputs, key=lambda one: one != inputs[-1])[: 2 if more else None]
    terms = SendTerms(2, inputs=tuple(kept), only_inputs=True)
    promised = await service.pay("main", [(world.payee, 9_000_000_000)], terms, message_id="pay")
    await service.settled("main")
    world.node.reorganise(101, 103)
    await service.follow()
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    await service.settled("main")
    left = await service.payment(promised.payment_id)
    assert (left.phase, left.reason) == ("broadcast", "bad-txns-inputs-missingorspent")
    return promised


async def test_a_payment_that_lost_a_coin_is_taken_back_and_frees_the_others(
    world: Any, service: BitcoinService
) -> None:
    """Its other coins were reserved for ever."""
    promised = await with_a_lost_coin(world, service)
    assert (await service.balance("main")).spendable_sat == 0
    cancelled = await service.cancel_payment(promised.payment_id, message_id="cancel")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).cancels
    assert (await service.balance("main")).spendable_sat == 5_000_000_000 - cancelled.fee_sat
    assert received(world) == []


async def test_a_payment_that_lost_a_coin_is_made_with_another(world: Any, service: BitcoinService) -> None:
    promised = await with_a_lost_coin(world, service, more=1)
    bumped = await service.bump_payment(promised.payment_id, message_id="bump")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    view = await service.payment(promised.payment_id)
    assert (view.phase, view.txid) == ("confirmed", bumped.txid)
    assert received(world) == [9_000_000_000]


async def test_a_payment_that_lost_every_coin_is_not_replaced(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    promised = await service.send("main", world.payee, AMOUNT_SAT, 2, message_id="pay")
    await service.settled("main")
    child = await service.accelerate("main", promised.txid, SendTerms(20), message_id="child")
    await service.settled("main")
    world.node.reorganise(101, 103)
    await service.follow()
    await service.settled("main")
    for payment in (promised, child):
        with pytest.raises(NotReplaceableError, match="none of the coins"):
            await service.cancel_payment(payment.payment_id, message_id=f"cancel {payment.payment_id}")
