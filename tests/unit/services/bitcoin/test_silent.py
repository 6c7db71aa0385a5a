"""Silent payments are sent so that their receiver finds them, from every kind of coin."""

from __future__ import annotations

from typing import Any

import pytest
from coincurve import PrivateKey

from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.silent_address import SilentAddress
from anya_actors.domain.bitcoin.silent_payments import scan_outputs, taproot_keys, tweak_of_transaction
from anya_actors.domain.bitcoin.transaction import TxOutput
from anya_actors.domain.keys.curve import Point, shared_point
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import NotSupportedError
from anya_actors.services.bitcoin import BitcoinService, SendTerms, WalletOrder

SCAN, SPEND = b"\x11" * 32, b"\x22" * 32


def public(secret: bytes) -> Point:
    return Point.parse(PrivateKey(secret).public_key.format())


ADDRESS = SilentAddress(public(SCAN), public(SPEND)).encode(Network.REGTEST)


async def found_by_receiver(world: Any, txid: str) -> list[int]:
    """The amounts that the receiver finds in the transaction with his keys alone."""
    transaction = (await world.node.transaction(Txid.from_hex(txid))).transaction
    spent: list[TxOutput] = []
    for one in transaction.inputs:
        parent = (await world.node.transaction(one.prevout.txid)).transaction
        spent.append(parent.outputs[one.prevout.index])
    tweak = tweak_of_transaction(transaction, spent)
    assert tweak is not None
    found = scan_outputs(shared_point(tweak, Secret(SCAN)), public(SPEND), taproot_keys(transaction))
    keys = {one.output_key for one in found}
    return [one.amount_sat for one in transaction.outputs if one.script_pubkey[2:] in keys]


@pytest.mark.parametrize("kind", ["wpkh", "tr", "sh-wpkh"])
async def test_a_receiver_finds_what_was_sent_and_what_replaced_it(
    world: Any, service: BitcoinService, kind: str
) -> None:
    await service.create_wallet("main", WalletOrder(kind=kind), message_id="w")
    for number in range(3):
        view = await service.new_address("main", message_id=f"a{number}")
        world.node.mine(1, world.script(view.address))
    world.node.mine(100)
    await service.follow()
    to = [(ADDRESS, 60 * 10**8), (world.payee, 1_000_000), (ADDRESS, 2_000_000)]
    promised = await service.pay("main", to, SendTerms(feerate_sat_per_vb=2), message_id="m")
    await service.settled("main")
    assert sorted(await found_by_receiver(world, promised.txid)) == [2_000_000, 60 * 10**8]
    assert [one.address for one in promised.recipients] == [ADDRESS, world.payee, ADDRESS]
    bumped = await service.bump_payment(promised.payment_id, 9, message_id="b")
    await service.settled("main")
    assert sorted(await found_by_receiver(world, bumped.txid)) == [2_000_000, 60 * 10**8]
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).txid == bumped.txid


async def test_a_damaged_silent_address_is_refused(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    for address in (ADDRESS[:-1] + "q", ADDRESS.replace("sprt", "sp", 1), "sprt1"):
        with pytest.raises(AddressError):
            await service.send("main", address, 1_000_000, 2, message_id=address)
    with pytest.raises(NotSupportedError):
        await service.psbts.create("main", [(ADDRESS, 1_000_000)], SendTerms(), 0, "m")
    assert await service.payments("main") == []
