"""A wallet finds in the mempool what its silent payment address is paid, and tells of it once."""

from __future__ import annotations

from typing import Any

import pytest

from anya_actors.domain.bitcoin.events import BitcoinTransactionConfirmed, BitcoinTransactionSeen
from anya_actors.domain.machine import UnavailableError
from anya_actors.services.bitcoin import BitcoinService, SendTerms, WalletOrder
from anya_actors.services.bitcoin.silent_scanning import SilentScanner

TERMS = SendTerms(feerate_sat_per_vb=2)
PAID_SAT = 60_000_000


async def receiver(service: BitcoinService, name: str = "receiver") -> str:
    await service.create_wallet(name, WalletOrder(), message_id=f"create {name}")
    return (await service.wallet_book.silent_address(name, f"silent {name}")).address


async def pay(service: BitcoinService, address: str, amount_sat: int = PAID_SAT) -> Any:
    """A payment that waits in the mempool."""
    promised = await service.pay("main", [(address, amount_sat)], TERMS, message_id=f"pay {amount_sat}")
    await service.settled("main")
    return promised


async def balances_sat(service: BitcoinService, name: str = "receiver") -> tuple[int, int]:
    """Confirmed, and waiting."""
    view = await service.balance(name)
    return view.confirmed_sat, view.pending_sat


async def told(world: Any, name: str = "receiver") -> list[tuple[str, str, int]]:
    """What was published about the wallet, in order."""
    events = await world.events(BitcoinTransactionSeen, BitcoinTransactionConfirmed)
    return [
        (type(one).__name__.removeprefix("BitcoinTransaction"), one.txid, one.received_sat)
        for one in events
        if one.wallet == name
    ]


async def test_it_is_seen_while_it_waits_and_confirmed_later_each_once(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    txid = (await pay(service, await receiver(service))).txid
    for _ in range(2):
        await service.follow()
        assert await balances_sat(service) == (0, PAID_SAT)
    assert await told(world) == [("Seen", txid, PAID_SAT)]
    service = await world.restart(service)
    world.node.mine(1)
    await service.follow()
    assert await balances_sat(service) == (PAID_SAT, 0)
    assert await told(world) == [("Seen", txid, PAID_SAT), ("Confirmed", txid, PAID_SAT)]


async def test_a_replacement_takes_the_place_of_what_it_replaces(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    promised = await pay(service, await receiver(service))
    await service.follow()
    raised = await service.bump_payment(promised.payment_id, 9, message_id="bump")
    await service.settled("main")
    for _ in range(2):
        await service.follow()
        assert await balances_sat(service) == (0, PAID_SAT)
    world.node.mine(1)
    await service.follow()
    assert await balances_sat(service) == (PAID_SAT, 0)
    assert await told(world) == [
        ("Seen", promised.txid, PAID_SAT),
        ("Seen", raised.txid, PAID_SAT),
        ("Confirmed", raised.txid, PAID_SAT),
    ]


async def test_what_spends_coins_that_wait_themselves_is_found(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    address = await receiver(service)
    for amount_sat in (1_000_000, 2_000_000):
        await pay(service, address, amount_sat)
    first, second = world.node._mempool.values()
    assert first.txid in {spent.prevout.txid for spent in second.inputs}
    await service.follow()
    assert await balances_sat(service) == (0, 3_000_000)


async def test_a_payment_that_leaves_the_mempool_waits_no_longer(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    await pay(service, await receiver(service))
    await service.follow()
    world.node.lose_mempool()
    world.node.reject_reason = "mempool full"
    await service.follow()
    assert await balances_sat(service) == (0, 0)


async def test_a_reorganisation_gives_it_back_to_the_mempool(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    await pay(service, await receiver(service))
    world.node.mine(1)
    await service.follow()
    world.node.reorganise(1)
    await service.follow()
    assert await balances_sat(service) == (0, PAID_SAT)


@pytest.fixture
def scans(world: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """Whether the HSM lets wallets be scanned; it signs all the same."""
    lets, shared_points = {"scan": True}, world.keyring.shared_points

    async def may(*asked: Any, **how: Any) -> Any:
        if not lets["scan"]:
            raise UnavailableError("the HSM", "it is sealed")
        return await shared_points(*asked, **how)

    monkeypatch.setattr(world.keyring, "shared_points", may)
    return lets


async def test_while_it_cannot_be_scanned_other_wallets_see_theirs_and_later_nothing_is_missed(
    world: Any, service: BitcoinService, scans: dict[str, bool]
) -> None:
    await world.funded(service, 50)
    ordinary = (await service.create_wallet("other", message_id="other")).address
    address = await receiver(service)
    scans["scan"] = False
    txid = (await pay(service, address)).txid
    await pay(service, ordinary, 5_000_000)
    for _ in range(2):
        await service.follow()
        assert await balances_sat(service) == (0, 0)
        assert await balances_sat(service, "other") == (0, 5_000_000)
    scans["scan"] = True
    for _ in range(2):
        await service.follow()
        assert await balances_sat(service) == (0, PAID_SAT)
    assert await told(world) == [("Seen", txid, PAID_SAT)]


async def test_what_was_gone_before_it_could_be_scanned_is_not_told(
    world: Any, service: BitcoinService, scans: dict[str, bool]
) -> None:
    await world.funded(service, 50)
    address = await receiver(service)
    scans["scan"] = False
    await pay(service, address)
    await service.follow()
    world.node.lose_mempool()
    world.node.reject_reason = "mempool full"
    scans["scan"] = True
    await service.follow()
    assert await told(world) == []


async def test_what_is_gone_while_it_is_looked_at_is_passed_over(
    world: Any, service: BitcoinService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.funded(service, 50)
    transactions = world.node.transactions

    async def spent_elsewhere(*_: Any, **__: Any) -> Any:
        return None

    async def unknown(txids: Any) -> Any:
        return [one for one in await transactions(txids) if one.block_hash is None]

    monkeypatch.setattr(world.node, "utxo", spent_elsewhere)
    monkeypatch.setattr(world.node, "transactions", unknown)
    await pay(service, await receiver(service))
    await service.follow()
    assert await balances_sat(service) == (0, 0)
    world.node.mine(1)
    await service.follow()
    assert await balances_sat(service) == (PAID_SAT, 0)


async def test_a_node_that_finds_no_confirmed_transactions_by_their_txids_is_enough(
    world: Any, service: BitcoinService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.funded(service, 50)
    transactions = world.node.transactions

    async def waiting_ones(txids: Any) -> Any:
        return [one for one in await transactions(txids) if one.block_hash is None]

    monkeypatch.setattr(world.node, "transactions", waiting_ones)
    await pay(service, await receiver(service))
    await service.follow()
    assert await balances_sat(service) == (0, PAID_SAT)


async def test_for_who_receives_nothing_silently_no_spent_output_is_asked(
    world: Any, service: BitcoinService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.funded(service, 50)
    payee = await service.create_wallet("taproot", WalletOrder(kind="tr"), message_id="t")

    async def refuse(*_: Any, **__: Any) -> Any:
        raise UnavailableError("it", "nobody should have asked")

    monkeypatch.setattr(world.keyring, "shared_points", refuse)
    monkeypatch.setattr(SilentScanner, "_spent_by", refuse)
    await pay(service, payee.address)
    await service.follow()
    assert await balances_sat(service, "taproot") == (0, PAID_SAT)


@pytest.mark.parametrize("durable", [False, True])
@pytest.mark.parametrize("at", range(1, 7))
async def test_a_death_at_any_commit_tells_of_it_once(
    new_world: Any, death: Any, at: int, durable: bool
) -> None:
    world = new_world()
    try:
        service = await world.start()
        await world.funded(service, 50)
        txid = (await pay(service, await receiver(service))).txid
        service = await world.restart(service, death(at, durable=durable))
        for _ in range(2):
            try:
                await service.follow()
            except Exception:  # noqa: BLE001 - whatever the dying process says
                break
            world.node.mine(1)
        service = await world.restart(service)
        world.node.mine(1)
        await service.follow()
        assert await told(world) == [("Seen", txid, PAID_SAT), ("Confirmed", txid, PAID_SAT)]
        assert await balances_sat(service) == (PAID_SAT, 0)
    finally:
        await world.close()
