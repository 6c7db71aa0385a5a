"""PSBT rounds: several signers, watch-only wallets, legacy addresses; and what a signer does not believe."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from anya_actors.domain.bitcoin.coin_selection import InsufficientFundsError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment_order import AbsurdFeeError, FeeCapMissingError
from anya_actors.domain.bitcoin.psbt import PsbtError, PsbtInputError, PsbtStateError, parse_psbt_base64
from anya_actors.domain.bitcoin.psbt.fields import In
from anya_actors.domain.bitcoin.transaction import TxOutput
from anya_actors.domain.machine import AnyaError, InvalidInputError, NotSupportedError
from anya_actors.services.bitcoin import BitcoinService, SendTerms, WalletOrder
from anya_actors.services.durable import IdempotencyConflictError

NUMS = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0"  # BIP341's point without a key
NAMES = ("alice", "bob", "carol")
TERMS = SendTerms(feerate_sat_per_vb=3)
POLICIES = {
    "2 of 3, P2WSH": "wsh(sortedmulti(2,{0}/<0;1>/*,{1}/<0;1>/*,{2}/<0;1>/*))",
    "2 of 3, nested P2WSH": "sh(wsh(sortedmulti(2,{0}/<0;1>/*,{1}/<0;1>/*,{2}/<0;1>/*)))",
    "2 of 3, tapscript": f"tr({NUMS}," + "multi_a(2,{0}/<0;1>/*,{1}/<0;1>/*,{2}/<0;1>/*))",
    "miniscript": "wsh(or_d(multi(2,{0}/<0;1>/*,{1}/<0;1>/*),and_v(v:pk({2}/<0;1>/*),older(65535))))",
    "MuSig2": "tr(musig({0},{1},{2})/<0;1>/*)",
}


async def shared_wallet(world: Any, service: BitcoinService, policy: str) -> list[str]:
    """One wallet for each signer over the same descriptors, each with its own key; funded."""
    keys = [await service.wallet_book.extended_key(name, "m/48h/1h/0h") for name in NAMES]
    text = POLICIES[policy].format(*(key.expression for key in keys))
    views = [
        await service.create_wallet(name, WalletOrder(descriptor=text, key=key.key), message_id=name)
        for name, key in zip(NAMES, keys, strict=True)
    ]
    assert len({view.address for view in views}) == 1
    world.node.mine(1, world.script(views[0].address))
    world.node.mine(100)
    await service.follow()
    return list(NAMES)


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("policy", [name for name in POLICIES if name != "MuSig2"])
async def test_k_of_n_sign_one_after_another(
    world: Any, service: BitcoinService, policy: str, version: int
) -> None:
    alice, bob, _ = await shared_wallet(world, service, policy)
    with pytest.raises(NotSupportedError, match="PSBT"):
        await service.send(alice, world.payee, 100_000, 3, message_id="alone")
    made = await service.psbts.create(alice, [(world.payee, 1_000_000)], TERMS, version, "m")
    assert (made.version, made.complete) == (version, False)
    assert [(one.ours, one.change) for one in made.outputs if one.ours] == [(True, True)]
    first = await service.psbts.sign(alice, made.psbt, None)
    second = await service.psbts.sign(bob, made.psbt, None)
    assert not first.complete
    with pytest.raises(PsbtStateError):
        await service.psbts.send(first.psbt, None)
    both = service.psbts.combine([first.psbt, second.psbt])
    assert both.complete
    final = service.psbts.finalize(both.psbt)
    assert final.hex is not None
    sent = await service.psbts.send(final.psbt, None)
    assert sent.txid == both.txid
    assert await service.psbts.send(final.psbt, None) == sent
    world.node.mine(1)
    await service.follow()
    assert world.node.outputs_to(world.script(world.payee)) == [1_000_000]
    # The fee is what the feerate asks of the real size, with the largest signatures.
    assert made.fee_sat is not None
    assert 3 * sent.vsize <= made.fee_sat <= 3 * (sent.vsize + 3)
    for name in NAMES:
        balance = await service.balance(name)
        assert balance.confirmed_sat == 50 * 10**8 - 1_000_000 - made.fee_sat


async def test_three_sign_as_one_by_musig2_in_two_rounds(world: Any, service: BitcoinService) -> None:
    alice, bob, carol = await shared_wallet(world, service, "MuSig2")
    made = await service.psbts.create(alice, [(world.payee, 1_000_000)], TERMS, 2, "m")
    nonces = [await service.psbts.sign(name, made.psbt, None) for name in (alice, bob, carol)]
    together = service.psbts.combine([one.psbt for one in nonces])
    assert not together.complete
    parts = [await service.psbts.sign(name, together.psbt, None) for name in (alice, bob, carol)]
    signed = service.psbts.combine([one.psbt for one in parts])
    assert signed.complete
    await service.psbts.send(signed.psbt, None)
    world.node.mine(1)
    assert world.node.outputs_to(world.script(world.payee)) == [1_000_000]
    # A nonce signs once: the same round again is refused, and nothing is given away.
    with pytest.raises(AnyaError, match="nonce"):
        await service.psbts.sign(alice, together.psbt, None)


@pytest.mark.parametrize("kind", ["wpkh", "tr", "sh-wpkh", "pkh"])
async def test_a_watch_only_wallet_makes_what_the_holder_of_the_key_signs(
    world: Any, service: BitcoinService, kind: str
) -> None:
    holder = await service.create_wallet("holder", WalletOrder(kind=kind), message_id="h")
    assert holder.account is not None
    order = WalletOrder(
        descriptor=holder.account.receive, change_descriptor=holder.account.change, birth_height=0
    )
    await service.create_wallet("watch", order, message_id="w")
    world.node.mine(101, world.script(holder.address))
    await service.follow()
    made = await service.psbts.create("watch", [(world.payee, 1_000_000)], TERMS, 0, "m")
    with pytest.raises(NotSupportedError, match="watch-only"):
        await service.psbts.sign("watch", made.psbt, None)
    signed = await service.psbts.sign("holder", made.psbt, None)
    assert signed.complete
    sent = await service.psbts.send(signed.psbt, None)
    world.node.mine(1)
    await service.follow()
    assert sent.txid == signed.txid
    assert world.node.outputs_to(world.script(world.payee)) == [1_000_000]
    assert await service.balance("holder") == replace(await service.balance("watch"), wallet="holder")


async def holder_psbt(world: Any, service: BitcoinService) -> Any:
    view = await service.create_wallet("main", message_id="w")
    world.node.mine(101, world.script(view.address))
    await service.follow()
    return await service.psbts.create("main", [(world.payee, 1_000_000)], TERMS, 0, "m")


async def test_a_psbt_that_lies_about_our_coins_is_not_signed(world: Any, service: BitcoinService) -> None:
    made = await holder_psbt(world, service)
    psbt = parse_psbt_base64(made.psbt)
    stated = psbt.spent_output(0)
    assert stated is not None
    lie = TxOutput(stated.amount_sat // 2, stated.script_pubkey).serialize()
    lying = psbt.with_input(0, psbt.inputs[0].with_value(In.WITNESS_UTXO, lie))
    with pytest.raises(PsbtInputError, match="not those of the wallet's coin"):
        await service.psbts.sign("main", lying.to_base64(), None)


async def test_an_output_is_ours_only_if_our_descriptors_say_so(world: Any, service: BitcoinService) -> None:
    made = await holder_psbt(world, service)
    seen = await service.psbts.decode(made.psbt, "main")
    assert {(one.address == world.payee, one.ours) for one in seen.outputs} == {(True, False), (False, True)}
    unseen = await service.psbts.decode(made.psbt, None)
    assert not any(one.ours for one in unseen.inputs)
    assert not any(one.ours for one in unseen.outputs)


async def test_a_foreign_psbt_and_a_high_fee_are_not_signed(world: Any, service: BitcoinService) -> None:
    made = await holder_psbt(world, service)
    await service.create_wallet("other", message_id="o")
    with pytest.raises(PsbtStateError, match="no input is of the wallet"):
        await service.psbts.sign("other", made.psbt, None)
    with pytest.raises(AbsurdFeeError):
        await service.psbts.sign("main", made.psbt, 10)
    signed = await service.psbts.sign("main", made.psbt, None)
    with pytest.raises(AbsurdFeeError):
        await service.psbts.send(signed.psbt, 10)
    with pytest.raises(InvalidInputError):
        service.psbts.combine([])
    with pytest.raises(InvalidInputError):
        await service.psbts.create("main", [(world.payee, 1000)], TERMS, 1, "m2")


async def test_mainnet_signs_and_sends_only_below_an_explicit_cap(world: Any) -> None:
    mainnet = type(world)(Network.MAINNET)
    service = await mainnet.start()
    await mainnet.funded(service, 50)
    with pytest.raises(FeeCapMissingError):
        await service.psbts.create("main", [(mainnet.payee, 100_000)], TERMS, 0, "m")
    terms = SendTerms(feerate_sat_per_vb=3, max_fee_sat=1000)
    made = await service.psbts.create("main", [(mainnet.payee, 100_000)], terms, 0, "m")
    with pytest.raises(FeeCapMissingError):
        await service.psbts.sign("main", made.psbt, None)
    signed = await service.psbts.sign("main", made.psbt, 1000)
    with pytest.raises(FeeCapMissingError):
        await service.psbts.send(signed.psbt, None)
    await service.psbts.send(signed.psbt, 1000)
    await mainnet.close()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(data=st.data())
async def test_a_damaged_psbt_is_refused_as_such(new_world: Any, data: Any) -> None:
    world = new_world()
    service = await world.start()
    made = await holder_psbt(world, service)
    raw = bytearray(base64.b64decode(made.psbt))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    text = base64.b64encode(bytes(raw)).decode()
    # Whatever else it raised would be a fault of ours.
    for step in (service.psbts.decode(text, "main"), service.psbts.sign("main", text, None)):
        with contextlib.suppress(PsbtError, AnyaError):
            assert (await step).psbt
    await world.close()


async def test_a_reserved_psbt_keeps_its_coins_and_is_the_same_for_the_same_message(
    world: Any, service: BitcoinService
) -> None:
    view = await service.create_wallet("main", message_id="w")
    world.node.mine(3, world.script(view.address))
    world.node.mine(100)
    await service.follow()
    to = [(world.payee, 1_000_000)]
    free = await service.psbts.create("main", to, TERMS, 0, "free")
    assert not any(coin.frozen for coin in await service.wallet_book.coins("main"))
    made = await service.psbts.create("main", to, TERMS, 0, "m", reserve=True)
    kept = {one.outpoint for one in made.inputs}
    assert len(free.inputs) == 1
    assert {coin.outpoint for coin in await service.wallet_book.coins("main") if coin.frozen} == kept
    assert await service.psbts.create("main", to, TERMS, 0, "m", reserve=True) == made
    with pytest.raises(IdempotencyConflictError):
        await service.psbts.create("main", [(world.payee, 2)], TERMS, 0, "m", reserve=True)
    # The two others are taken by further ones, then nothing is left.
    taken = set(kept)
    for message in ("n", "o"):
        other = await service.psbts.create("main", to, TERMS, 0, message, reserve=True)
        outpoints = {one.outpoint for one in other.inputs}
        assert not outpoints & taken
        taken |= outpoints
    with pytest.raises(InsufficientFundsError):
        await service.psbts.create("main", to, TERMS, 0, "p", reserve=True)
    with pytest.raises(InsufficientFundsError):
        await service.send("main", world.payee, 1_000_000, 3, message_id="q")
    await service.wallet_book.freeze("main", sorted(kept), False, "thaw")
    again = await service.psbts.create("main", to, TERMS, 0, "r", reserve=True)
    assert {one.outpoint for one in again.inputs} == kept
    # A reserved PSBT is signed and sent as any other, and its coins are gone.
    signed = await service.psbts.sign("main", again.psbt, None)
    await service.psbts.send(signed.psbt, None)
    world.node.mine(1)
    await service.follow()
    left = {coin.outpoint for coin in await service.wallet_book.coins("main") if coin.frozen}
    assert left == taken - kept
