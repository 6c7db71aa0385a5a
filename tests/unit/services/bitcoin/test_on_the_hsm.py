"""Wallets over the HSM itself: taproot payments, silent payments, MuSig2 rounds, messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.account import AddressKind, account_path
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.silent_address import SilentAddress
from anya_actors.domain.hsm.errors import OperationRefusedError
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.keys.curve import Point
from anya_actors.domain.keys.operations import HARDENED
from anya_actors.services.bitcoin import BitcoinService, SendTerms, WalletOrder
from anya_actors.testing.local_hsm import LocalHsm

TERMS = SendTerms(feerate_sat_per_vb=2)


@pytest.fixture
async def sealed(world: Any) -> AsyncIterator[BitcoinService]:
    """The service, its keys in an HSM of its own sessions."""
    hsm = LocalHsm(clock=world.clock)
    await hsm.start()
    service = BitcoinService(
        store=await world.stores.activate("bitcoin/main"),
        rpc=world.node,
        signer=hsm.signer("bitcoin/main"),
        actors=hsm.actors,
        clock=world.clock,
        randomness=SystemRandomness(),
        bus=world.bus,
        settings=world.settings,
    )
    world.living.append(service)
    await service.resume()
    yield service
    await service.close()
    world.living.remove(service)
    await hsm.close()


async def fund(world: Any, service: BitcoinService, *addresses: str) -> None:
    for address in addresses:
        world.node.mine(1, world.script(address))
    world.node.mine(100)
    await service.follow()


async def test_a_taproot_wallet_pays_a_silent_address_and_signs_a_message(
    world: Any, sealed: BitcoinService
) -> None:
    view = await sealed.create_wallet("main", WalletOrder(kind="tr"), message_id="w")
    await fund(world, sealed, view.address)
    receiver = SilentAddress(Point.of_scalar(7), Point.of_scalar(9)).encode(Network.REGTEST)
    to = [(receiver, 1_000_000), (world.payee, 2_000_000)]
    promised = await sealed.pay("main", to, TERMS, message_id="m")
    await sealed.settled("main")
    world.node.mine(1)
    await sealed.follow()
    assert (await sealed.payment(promised.payment_id)).phase == "confirmed"
    signed = await sealed.messages.sign("main", view.address, "hello")
    assert sealed.messages.verify(view.address, "hello", signed.signature).variant == "simple"


async def test_two_keys_of_the_hsm_sign_as_one(world: Any, sealed: BitcoinService) -> None:
    keys = [await sealed.wallet_book.extended_key(name, "m/48h/1h/0h") for name in ("alice", "bob")]
    text = f"tr(musig({keys[0].expression},{keys[1].expression})/<0;1>/*)"
    for name, key in zip(("alice", "bob"), keys, strict=True):
        order = WalletOrder(descriptor=text, key=key.key)
        view = await sealed.create_wallet(name, order, message_id=name)
    await fund(world, sealed, view.address)
    made = await sealed.psbts.create("alice", [(world.payee, 1_000_000)], TERMS, 2, "m")
    nonces = [await sealed.psbts.sign(name, made.psbt, None) for name in ("alice", "bob")]
    together = sealed.psbts.combine([one.psbt for one in nonces])
    parts = [await sealed.psbts.sign(name, together.psbt, None) for name in ("alice", "bob")]
    signed = sealed.psbts.combine([one.psbt for one in parts])
    assert signed.complete
    await sealed.psbts.send(signed.psbt, None)
    world.node.mine(1)
    assert world.node.outputs_to(world.script(world.payee)) == [1_000_000]


async def test_a_silent_payment_is_found_and_spent_by_the_keys_of_the_hsm(
    world: Any, sealed: BitcoinService
) -> None:
    view = await sealed.create_wallet("main", WalletOrder(kind="tr"), message_id="w")
    await fund(world, sealed, view.address)
    await sealed.create_wallet("receiver", message_id="r")
    receiver = await sealed.wallet_book.silent_address("receiver", "s")
    to = [(receiver.address, 1_000_000), (receiver.address, 2_000_000)]
    await sealed.pay("main", to, TERMS, message_id="m")
    await sealed.settled("main")
    world.node.mine(1)
    await sealed.follow()
    assert (await sealed.balance("receiver")).confirmed_sat == 3_000_000
    sent = await sealed.pay("receiver", [(world.payee, 2_500_000)], TERMS, message_id="p")
    await sealed.settled("receiver")
    world.node.mine(1)
    await sealed.follow()
    assert (await sealed.payment(sent.payment_id)).phase == "confirmed"
    assert world.node.outputs_to(world.script(world.payee)) == [2_500_000]


async def test_a_key_bound_to_its_account_receives_no_silent_payments(
    world: Any, sealed: BitcoinService
) -> None:
    account = account_path(AddressKind.WPKH, Network.REGTEST, 0)
    for name, paths in (("bound", (account,)), ("both", (account, (352 | HARDENED, *account[1:])))):
        arguments = (name, "bip32", "bitcoin/main", ("derive", "sign", "verify"), KeyPolicy(paths=paths))
        await sealed._keys._actors.call("hsm/main", "create_key", *arguments, message_id=name)
        origin, xpub = await sealed._keys.extended(name, account)
        order = WalletOrder(descriptor=f"wpkh([{origin}]{xpub}/<0;1>/*)", key=name)
        await sealed.create_wallet(name, order, message_id=name)
    with pytest.raises(OperationRefusedError, match="352h/1h/0h"):
        await sealed.wallet_book.silent_address("bound", "s")
    assert (await sealed._ledger.wallet("bound")).silent is None
    assert (await sealed.wallet_book.silent_address("both", "t")).path == "m/352h/1h/0h/0h/0"
