"""What the node is asked on a caller's behalf, and what of it is checked."""

from __future__ import annotations

from typing import Any

import pytest

from anya_actors.domain.bitcoin.errors import MalformedTransactionError
from anya_actors.domain.bitcoin.merkle_proof import MerkleProofError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment_order import AbsurdFeeError, FeeCapMissingError
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.bitcoin_rpc import BlockNotFoundError, BroadcastRejectedError, TransactionNotFoundError
from anya_actors.services.bitcoin import BitcoinService


@pytest.fixture
async def paid(world: Any, service: BitcoinService) -> str:
    """A payment in the mempool; its txid."""
    await world.funded(service, 1)
    payment = await service.send("main", world.payee, 10_000, 2, message_id="pay")
    await service.settled("main")
    return payment.txid


async def signed_hex(world: Any, service: BitcoinService, txid: str) -> str:
    """The bytes of a waiting transaction, which the node then forgets."""
    text = (await service.transaction(txid)).hex
    world.node.lose_mempool()
    return text


async def test_the_mempool_is_told_as_a_whole_and_one_by_one(
    world: Any, service: BitcoinService, paid: str
) -> None:
    mempool = await service.node.mempool()
    waiting = await service.node.waiting(paid)
    assert (mempool.count, mempool.total_fee_sat, mempool.vsize) == (1, waiting.fee_sat, waiting.vsize)
    with pytest.raises(TransactionNotFoundError):
        await service.node.waiting("00" * 32)


async def test_a_raw_transaction_is_broadcast_and_again(
    world: Any, service: BitcoinService, paid: str
) -> None:
    text = await signed_hex(world, service, paid)
    sent = await service.node.broadcast(text, None)
    assert sent.txid == paid
    assert await service.node.broadcast(text, 1) == sent
    assert (await service.node.mempool()).count == 1


async def test_a_fee_above_the_cap_is_not_sent(world: Any, service: BitcoinService, paid: str) -> None:
    fee_sat = (await service.node.waiting(paid)).fee_sat
    text = await signed_hex(world, service, paid)
    with pytest.raises(AbsurdFeeError):
        await service.node.broadcast(text, fee_sat - 1)
    assert (await service.node.mempool()).count == 0
    await service.node.broadcast(text, fee_sat)
    assert (await service.node.mempool()).count == 1


async def test_mainnet_sends_nothing_without_a_fee_cap(new_world: Any) -> None:
    world = new_world(Network.MAINNET)
    service = await world.start()
    with pytest.raises(FeeCapMissingError):
        await service.node.broadcast("01000000" + "01" + "00" * 41 + "01" + "00" * 9 + "00" * 4, None)
    await world.close()


@pytest.mark.parametrize("text", ["", "zz", "00", "0100000000000000000000", "01000000000000000000"])
async def test_what_is_no_transaction_is_refused(service: BitcoinService, text: str) -> None:
    with pytest.raises(MalformedTransactionError):
        await service.node.broadcast(text, None)


async def test_a_rejected_broadcast_says_why(world: Any, service: BitcoinService, paid: str) -> None:
    text = await signed_hex(world, service, paid)
    world.node.reject_reason = "min relay fee not met"
    with pytest.raises(BroadcastRejectedError, match="min relay fee"):
        await service.node.broadcast(text, None)


async def test_a_proof_is_made_and_holds_until_its_block_is_gone(
    world: Any, service: BitcoinService, paid: str
) -> None:
    with pytest.raises(BlockNotFoundError):
        await service.node.proof(paid)
    world.node.mine(3)
    proof = await service.node.proof(paid)
    assert (proof.txid, proof.confirmations, proof.index) == (paid, 3, 1)
    assert await service.node.verify_proof(proof.proof) == proof
    forged = bytearray.fromhex(proof.proof)
    forged[-1] ^= 1
    with pytest.raises(MerkleProofError):
        await service.node.verify_proof(forged.hex())
    world.node.reorganise(3)
    with pytest.raises(BlockNotFoundError):
        await service.node.verify_proof(proof.proof)


@pytest.mark.parametrize("text", ["", "00", "zz", "00" * 500_001])
async def test_what_is_no_proof_is_refused(service: BitcoinService, text: str) -> None:
    with pytest.raises(InvalidInputError):
        await service.node.verify_proof(text)


async def test_coins_are_found_by_address_and_by_name(world: Any, service: BitcoinService, paid: str) -> None:
    assert await service.node.unspent(world.payee) == []
    outputs = (await service.transaction(paid)).outputs
    index = next(one.index for one in outputs if one.address == world.payee)
    waiting = await service.node.output(paid, index)
    assert waiting is not None
    assert waiting.height is None
    world.node.mine(1)
    (coin,) = await service.node.unspent(world.payee)
    assert (coin.txid, coin.index, coin.amount_sat, coin.height) == (paid, index, 10_000, world.node.height)
    assert await service.node.output(paid, index) == coin
    assert await service.node.output(paid, 9) is None


async def test_feerates_are_none_where_the_node_has_seen_too_little(
    world: Any, service: BitcoinService
) -> None:
    assert {one.feerate_sat_per_vb for one in (await service.node.feerates()).estimates} == {None}
    world.node.feerate_sat_per_vb = 7
    assert {one.feerate_sat_per_vb for one in (await service.node.feerates()).estimates} == {7}
