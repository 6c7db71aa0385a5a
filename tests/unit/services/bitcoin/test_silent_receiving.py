"""A wallet finds what its silent payment address is paid, spends it, and loses it with its block."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from anya_actors.domain.bitcoin.coin_selection import InsufficientFundsError
from anya_actors.domain.bitcoin.events import (
    BitcoinTransactionConfirmed,
    BitcoinTransactionReorged,
    BitcoinTransactionSeen,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.rules import STATE
from anya_actors.domain.bitcoin.silent_address import parse_silent_address
from anya_actors.domain.hsm.errors import OperationRefusedError
from anya_actors.domain.keys.operations import HARDENED
from anya_actors.domain.machine import NotSupportedError, UnavailableError
from anya_actors.services.bitcoin import BitcoinService, SendTerms, WalletOrder

TERMS = SendTerms(feerate_sat_per_vb=2)
ABOVE = (352 | HARDENED, 1 | HARDENED, 0 | HARDENED)
PAID_SAT = 60_000_000


async def receiver(service: BitcoinService, name: str = "receiver", kind: str = "wpkh") -> str:
    await service.create_wallet(name, WalletOrder(kind=kind), message_id=f"create {name}")
    return (await service.wallet_book.silent_address(name, f"silent {name}")).address


async def paid(
    world: Any, service: BitcoinService, address: str, amount_sat: int = PAID_SAT, by: str = "main"
) -> str:
    """The txid of a payment to the address, in a block that every wallet has followed."""
    promised = await service.pay(by, [(address, amount_sat)], TERMS, message_id=f"{address} {amount_sat}")
    await service.settled(by)
    world.node.mine(1)
    await service.follow()
    return promised.txid


async def balance_sat(service: BitcoinService, name: str = "receiver") -> int:
    return (await service.balance(name)).confirmed_sat


async def test_the_address_has_the_keys_of_bip352s_paths_and_stays_the_same(
    world: Any, service: BitcoinService
) -> None:
    text = await receiver(service)
    address = parse_silent_address(text, Network.REGTEST)
    scan_key = await world.keyring.public_key("wallet.receiver", path=(*ABOVE, 1 | HARDENED, 0))
    spend_key = await world.keyring.public_key("wallet.receiver", path=(*ABOVE, 0 | HARDENED, 0))
    assert (address.scan_key.serialize(), address.spend_key.serialize()) == (scan_key, spend_key)
    again = await service.wallet_book.silent_address("receiver", "another call")
    assert (again.address, again.path) == (text, "m/352h/1h/0h/0h/0")
    service = await world.restart(service)
    assert (await service.wallet_book.silent_address("receiver", "silent receiver")).address == text


@pytest.mark.parametrize("kind", ["wpkh", "tr"])
async def test_what_the_address_is_paid_is_found_and_spent_together_with_other_coins(
    world: Any, service: BitcoinService, kind: str
) -> None:
    await world.funded(service, 50, 50)
    address = await receiver(service, kind=kind)
    txid = await paid(world, service, address)
    (coin,) = await service.wallet_book.coins("receiver")
    assert (coin.txid, coin.amount_sat, coin.confirmations) == (txid, PAID_SAT, 1)
    told = await world.events(BitcoinTransactionSeen, BitcoinTransactionConfirmed)
    assert [type(one).__name__ for one in told if one.wallet == "receiver"] == [
        "BitcoinTransactionSeen",
        "BitcoinTransactionConfirmed",
    ]
    ordinary = await service.new_address("receiver", message_id="a")
    await paid(world, service, ordinary.address, 40_000_000)
    service = await world.restart(service)
    sent = await service.pay("receiver", [(world.payee, 90_000_000)], TERMS, message_id="s")
    await service.settled("receiver")
    raised = await service.bump_payment(sent.payment_id, 7, message_id="b")
    await service.settled("receiver")
    whole = next(iter(world.node._mempool.values()))
    assert len(whole.inputs) == 2
    assert raised.fee_sat >= 7 * whole.vsize
    assert raised.fee_sat <= 7 * (whole.vsize + 2)
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(sent.payment_id)).phase == "confirmed"
    assert await balance_sat(service) == 100_000_000 - 90_000_000 - raised.fee_sat


async def test_it_leaves_with_its_block_and_comes_again_with_the_new_chain(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    txid = await paid(world, service, await receiver(service))
    world.node.reorganise(1)
    await service.follow()
    assert await balance_sat(service) == 0
    (gone,) = [one for one in await world.events(BitcoinTransactionReorged) if one.wallet == "receiver"]
    assert gone.txid == txid
    service = await world.restart(service)
    world.node.mine(1)
    await service.follow()
    assert await balance_sat(service) == PAID_SAT
    await service.send("receiver", world.payee, 1_000_000, 2, message_id="s")
    await service.settled("receiver")
    world.node.mine(1)
    assert world.node.outputs_to(world.script(world.payee)) == [1_000_000]


async def test_two_payments_of_one_transaction_are_both_found_and_pay_silently_on(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    address, other = await receiver(service), await receiver(service, "other", "tr")
    to = [(address, 1_000_000), (world.payee, 5_000_000), (address, 2_000_000)]
    await service.pay("main", to, TERMS, message_id="two")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert sorted(one.amount_sat for one in await service.wallet_book.coins("receiver")) == [
        1_000_000,
        2_000_000,
    ]
    # Of each parity of the output's key: one coin alone, then the other.
    await paid(world, service, other, 900_000, by="receiver")
    await paid(world, service, other, 1_700_000, by="receiver")
    assert await balance_sat(service, "other") == 2_600_000


async def test_a_rescan_finds_what_was_paid_before_and_tells_it_once(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    address = await receiver(service)
    before = world.node.height
    await paid(world, service, address)
    told = await world.events(BitcoinTransactionConfirmed)
    await service.wallet_book.rescan("receiver", before, "again")
    await service.follow()
    assert await balance_sat(service) == PAID_SAT
    assert await world.events(BitcoinTransactionConfirmed) == told


async def test_while_the_hsm_does_not_answer_the_wallet_waits_and_others_follow(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    address = await receiver(service)
    await service.send("main", address, PAID_SAT, 2, message_id="m")
    await service.settled("main")
    world.keyring.down = True
    world.node.mine(1)
    await service.follow()
    heights = {view.name: view.synced_height for view in await service.wallets()}
    assert heights == {"main": world.node.height, "receiver": world.node.height - 1}
    world.keyring.down = False
    await service.follow()
    assert await balance_sat(service) == PAID_SAT


async def test_who_receives_nothing_silently_asks_nothing_more_of_node_and_hsm(
    world: Any, service: BitcoinService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.funded(service, 50)

    async def refuse(*_: Any, **__: Any) -> Any:
        raise UnavailableError("it", "nobody should have asked")

    monkeypatch.setattr(world.node, "spent_by", refuse)
    monkeypatch.setattr(world.keyring, "shared_points", refuse)
    world.node.mine(1)
    await service.follow()
    assert (await service.balance("main")).height == world.node.height


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("at", range(1, 13))
async def test_a_death_at_any_commit_loses_no_silent_payment(
    new_world: Any, death: Any, at: int, durable: bool
) -> None:
    world = new_world()
    try:
        service = await world.start()
        await world.funded(service, 50)
        service = await world.restart(service, death(at, durable=durable))
        try:
            address = await receiver(service)
            await service.pay("main", [(address, PAID_SAT)], TERMS, message_id=f"{address} {PAID_SAT}")
            await world.breathe()  # what the dead owe is never settled
            world.node.mine(1)
            await service.follow()
            await service.pay("receiver", [(world.payee, 1_000_000)], TERMS, message_id="s")
            await world.breathe()
        except (UnavailableError, InsufficientFundsError):
            pass
        service = await world.restart(service)
        address = await receiver(service)
        await service.pay("main", [(address, PAID_SAT)], TERMS, message_id=f"{address} {PAID_SAT}")
        await service.settled("main")
        world.node.mine(1)
        await service.follow()
        await service.pay("receiver", [(world.payee, 1_000_000)], TERMS, message_id="s")
        await service.settled("receiver")
        world.node.mine(1)
        await service.follow()
        assert world.node.outputs_to(world.script(world.payee)) == [1_000_000]
        fee_sat = (await service.payments("receiver"))[0].fee_sat
        assert await balance_sat(service) == PAID_SAT - 1_000_000 - fee_sat
    finally:
        await world.close()


async def test_wallets_that_cannot_say_why(world: Any, service: BitcoinService) -> None:
    view = await service.create_wallet("main", message_id="w")
    assert view.account is not None
    watching = WalletOrder(descriptor=view.account.receive, change_descriptor=view.account.change)
    await service.create_wallet("watching", watching, message_id="v")
    with pytest.raises(NotSupportedError, match="watch-only"):
        await service.wallet_book.silent_address("watching", "s")
    world.keyring.refuse = True
    with pytest.raises(OperationRefusedError):
        await service.wallet_book.silent_address("main", "s")
    world.keyring.refuse = False
    await service.wallet_book.silent_address("main", "s")


async def test_a_psbt_of_silent_coins_is_refused(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    await paid(world, service, await receiver(service))
    with pytest.raises(NotSupportedError, match="silent"):
        await service.psbts.create("receiver", [(world.payee, 1_000_000)], TERMS, 2, "p")


async def test_a_wallet_stored_before_there_were_silent_payments_is_read(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    held = await service._ledger.wallet("main")
    version, plain = msgspec.msgpack.decode(STATE.encode(held))
    del plain["silent"]
    for coin in plain["coins"]:
        del coin["tweak"]
    assert plain["coins"]
    assert STATE.decode(msgspec.msgpack.encode((version, plain))) == held
