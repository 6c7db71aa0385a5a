"""Wallets, addresses, the chain as the node tells it, and mining on request."""

from __future__ import annotations

from typing import Any

import pytest

from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.generation import GenerationOutcomeUnknownError
from anya_actors.domain.bitcoin.hashes import HashError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.wallet import UnknownWalletError, WalletExistsError
from anya_actors.domain.machine import InvalidInputError, NotSupportedError, UnavailableError
from anya_actors.ports.bitcoin_rpc import (
    BlockNotFoundError,
    NodeUnreachableError,
    RpcRefusedError,
    TransactionNotFoundError,
)
from anya_actors.services.bitcoin import BitcoinService
from anya_actors.services.durable import IdempotencyConflictError


async def test_a_wallet_is_made_once_for_each_name(world: Any, service: BitcoinService) -> None:
    first = await service.create_wallet("main", message_id="m1")
    assert first.address.startswith("bcrt1q")
    assert await service.create_wallet("main", message_id="m1") == first
    with pytest.raises(WalletExistsError):
        await service.create_wallet("main", message_id="m2")
    assert await service.wallets() == [first]


@pytest.mark.parametrize("name", ["", "-", "a/b", "A", "a.b", "x" * 65, "naïve", "a\n"])
async def test_a_wallet_name_that_could_be_mistaken_is_refused(service: BitcoinService, name: str) -> None:
    with pytest.raises(InvalidInputError):
        await service.create_wallet(name, message_id="m1")


async def test_every_address_is_new_and_a_repeated_request_gets_the_same(
    world: Any, service: BitcoinService
) -> None:
    first = await service.create_wallet("main", message_id="w")
    second = await service.new_address("main", message_id="a1")
    third = await service.new_address("main", message_id="a2")
    assert await service.new_address("main", message_id="a1") == second
    assert len({first.address, second.address, third.address}) == 3
    with pytest.raises(UnknownWalletError):
        await service.new_address("other", message_id="a3")


async def test_a_key_made_before_a_crash_is_used_and_not_lost(
    world: Any, service: BitcoinService, death: Any
) -> None:
    await service.create_wallet("main", message_id="w")
    service = await world.restart(service, death(1, durable=False))
    with pytest.raises(UnavailableError):
        await service.new_address("main", message_id="a1")
    service = await world.restart(service)
    view = await service.new_address("main", message_id="a2")
    assert (view.key, view.path, view.place) == ("wallet.main", "m/84h/1h/0h/0/1", 1)


async def test_a_key_whose_making_the_hsm_has_forgotten_is_found_again(
    world: Any, service: BitcoinService
) -> None:
    world.keyring._create("wallet.main", "bip32", "bitcoin/main", ("sign", "verify"), message_id="long ago")
    assert (await service.create_wallet("main", message_id="w")).name == "main"


async def test_without_any_node_no_wallet_is_made(world: Any) -> None:
    world.node.down = True
    service = await world.start()
    with pytest.raises(NodeUnreachableError):
        await service.create_wallet("main", message_id="w")
    world.node.down = False
    assert (await service.create_wallet("main", message_id="w")).name == "main"


async def test_tip_blocks_and_transactions_are_shown_as_the_node_has_them(
    world: Any, service: BitcoinService
) -> None:
    world.node.mine(2)
    tip = await service.tip()
    assert (tip.chain, tip.height, tip.hash) == ("regtest", 2, str(world.node.best_hash))
    block = await service.block(2)
    assert block == await service.block("2") == await service.block(tip.hash)
    coinbase = await service.transaction(block.txids[0])
    assert coinbase.inputs[0].txid is None
    assert (coinbase.block_hash, coinbase.outputs[0].amount_sat) == (tip.hash, 50 * 100_000_000)
    with pytest.raises(BlockNotFoundError):
        await service.block(3)
    with pytest.raises(HashError):
        await service.block("zz")
    with pytest.raises(TransactionNotFoundError):
        await service.transaction("00" * 32)


async def test_blocks_are_mined_once_for_each_message_id(world: Any, service: BitcoinService) -> None:
    wallet = await service.create_wallet("main", message_id="w")
    mined = await service.generate(wallet.address, 101, message_id="g")
    assert await service.generate(wallet.address, 101, message_id="g") == mined
    assert len(mined) == world.node.height == 101
    assert (await service.balance("main")).confirmed_sat == 50 * 100_000_000
    with pytest.raises(IdempotencyConflictError):
        await service.generate(wallet.address, 1, message_id="g")


async def test_mining_whose_outcome_was_lost_is_never_repeated(world: Any, service: BitcoinService) -> None:
    world.node.lose_answers = 1
    with pytest.raises(NodeUnreachableError):
        await service.generate(world.payee, 1, message_id="g")
    service = await world.restart(service)
    with pytest.raises(GenerationOutcomeUnknownError):
        await service.generate(world.payee, 1, message_id="g")
    assert world.node.height == 1


async def test_mining_that_certainly_did_not_happen_may_be_asked_again(
    world: Any, service: BitcoinService
) -> None:
    world.node.down = True
    with pytest.raises(NodeUnreachableError):
        await service.generate(world.payee, 1, message_id="g")
    world.node.down = False
    assert len(await service.generate(world.payee, 1, message_id="g")) == 1


async def test_mining_that_was_refused_after_some_blocks_is_never_repeated(
    world: Any, service: BitcoinService
) -> None:
    world.node.full_after = 2
    with pytest.raises(RpcRefusedError):
        await service.generate(world.payee, 5, message_id="g")
    world.node.full_after = None
    with pytest.raises(GenerationOutcomeUnknownError):
        await service.generate(world.payee, 5, message_id="g")
    assert world.node.height == 2


async def test_mining_that_was_refused_from_the_start_may_be_asked_again(
    world: Any, service: BitcoinService
) -> None:
    world.node.full_after = 0
    with pytest.raises(RpcRefusedError):
        await service.generate(world.payee, 5, message_id="g")
    world.node.full_after = None
    assert len(await service.generate(world.payee, 5, message_id="g")) == world.node.height == 5


@pytest.mark.parametrize(("blocks", "error"), [(0, InvalidInputError), (1001, InvalidInputError)])
async def test_mining_no_or_too_many_blocks_is_refused(
    world: Any, service: BitcoinService, blocks: int, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await service.generate(world.payee, blocks, message_id="g")
    with pytest.raises(AddressError):
        await service.generate("nowhere", 1, message_id="g")


async def test_only_regtest_mines_on_request(world: Any) -> None:
    mainnet = type(world)(Network.MAINNET)
    service = await mainnet.start()
    with pytest.raises(NotSupportedError):
        await service.generate(mainnet.payee, 1, message_id="g")
    await mainnet.close()
