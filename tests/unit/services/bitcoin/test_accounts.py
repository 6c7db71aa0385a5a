"""Wallets on descriptors: what they find, what they pay with, and what they keep to themselves."""

from __future__ import annotations

from typing import Any

import pytest

from anya_actors.domain.bitcoin.account import Account, AddressesEndError, branch_of
from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.chain_follower import RETAINED_BLOCKS
from anya_actors.domain.bitcoin.coin_selection import InsufficientFundsError
from anya_actors.domain.bitcoin.descriptors import DescriptorError
from anya_actors.domain.bitcoin.events import (
    BitcoinTransactionConfirmed,
    BitcoinTransactionReorged,
    BitcoinTransactionSeen,
)
from anya_actors.domain.bitcoin.labels import MAX_LABELS
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.orders import GAP_LIMIT, Label
from anya_actors.domain.bitcoin.wallet import CoinNotSpendableError, WalletCreated, WalletKey
from anya_actors.domain.bitcoin.wallet_scripts import known_scripts
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.services.bitcoin import BitcoinService, SendTerms, WalletOrder
from anya_actors.services.bitcoin.ledger import wallet_key

COIN_SAT = 50 * 100_000_000
XPUB = (  # BIP32, test vector 1, chain m
    "xpub661MyMwAqRbcFtXgS5sYJABqqG9YLmC4Q1Rdap9gSE8NqtwybGhePY2gZ29ESFjqJoCu1Rupje8YtGqsefD265TMg7usUDFdp6W1EGMcet8"
)


OUTPUT = "ab" * 32


async def script_at(service: BitcoinService, branch: int, place: int, name: str = "main") -> bytes:
    account = (await service._ledger.wallet(name)).account
    assert isinstance(account, Account)
    return branch_of(account.descriptor(branch), Network.REGTEST).script(place)


@pytest.mark.parametrize(
    ("kind", "begins", "path"),
    [
        ("wpkh", "bcrt1q", "m/84h/1h/0h/0/1"),
        ("tr", "bcrt1p", "m/86h/1h/0h/0/1"),
        ("sh-wpkh", "2", "m/49h/1h/0h/0/1"),
    ],
)
async def test_each_kind_of_address_receives_pays_and_is_bumped(
    world: Any, service: BitcoinService, kind: str, begins: str, path: str
) -> None:
    view = await service.create_wallet("main", WalletOrder(kind=kind), message_id="w")
    assert view.address.startswith(begins)
    second = await service.new_address("main", message_id="a")
    assert (second.path, second.key) == (path, "wallet.main")
    world.node.mine(1, world.script(view.address))
    world.node.mine(1, world.script(second.address))
    world.node.mine(100)
    await service.follow()
    promised = await service.send("main", world.payee, COIN_SAT + 1000, 2, message_id="m")
    await service.settled("main")
    sent = await service.transaction(promised.txid)
    assert 2 * sent.vsize <= promised.fee_sat <= 2 * (sent.vsize + 2)
    bumped = await service.bump_payment(promised.payment_id, 5, message_id="b")
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    found = await service.payment(promised.payment_id)
    assert (found.phase, found.txid) == ("confirmed", bumped.txid)
    wallet = await service._ledger.wallet("main")
    assert wallet.account is not None
    assert wallet.account.next_change == 1
    balance = await service.balance("main")
    assert balance.confirmed_sat == world.node.balance_sat(known_scripts(wallet)) == bumped.change_sat
    # The change can be spent in its turn.
    await service.send("main", world.payee, 1_000_000, 2, message_id="again")
    await service.settled("main")
    world.node.mine(1)
    assert world.node.outputs_to(world.script(world.payee)) == [COIN_SAT + 1000, 1_000_000]


async def test_a_p2pkh_wallet_receives_and_says_why_it_does_not_send_by_itself(
    world: Any, service: BitcoinService
) -> None:
    view = await service.create_wallet("main", WalletOrder(kind="pkh"), message_id="w")
    assert view.address[0] in "mn"
    world.node.mine(101, world.script(view.address))
    await service.follow()
    assert (await service.balance("main")).spendable_sat == COIN_SAT
    with pytest.raises(NotSupportedError, match="PSBT"):
        await service.send("main", world.payee, 1000, 2, message_id="m")


async def test_addresses_are_found_up_to_the_gap_limit_and_then_further(
    world: Any, service: BitcoinService
) -> None:
    await service.create_wallet("main", message_id="w")
    beyond = await script_at(service, 0, GAP_LIMIT + 1)
    world.node.mine(1, beyond)
    await service.follow()
    assert (await service.balance("main")).immature_sat == 0
    world.node.mine(1, await script_at(service, 0, GAP_LIMIT))
    world.node.mine(1, await script_at(service, 0, 2 * GAP_LIMIT))
    world.node.mine(1, await script_at(service, 1, GAP_LIMIT - 1))
    await service.follow()
    assert (await service.balance("main")).immature_sat == 3 * COIN_SAT
    next_address = await service.new_address("main", message_id="a")
    assert next_address.place == 2 * GAP_LIMIT + 1
    # What lay beyond the gap then is found when the chain is looked through again; nothing is told twice.
    before = await world.events(BitcoinTransactionConfirmed)
    await service.wallet_book.rescan("main", 0, message_id="r")
    await service.follow()
    assert (await service.balance("main")).immature_sat == 4 * COIN_SAT
    assert await world.events(BitcoinTransactionConfirmed) == before


async def test_a_rescan_from_a_height_keeps_what_lies_below_it(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50, 50, 50)
    await service.send("main", world.payee, 6_000_000_000, 2, message_id="pay")
    await service.settled("main")
    world.node.mine(3)
    await service.follow()
    before, told = await service.balance("main"), await world.events()
    coins = await service.wallet_book.coins("main")
    for height in (50, 2, world.node.height + 1, 104):
        await service.wallet_book.rescan("main", height, message_id=f"r{height}")
        await service.follow()
        assert await service.balance("main") == before
        assert sorted(await service.wallet_book.coins("main"), key=str) == sorted(coins, key=str)
    assert await world.events() == told


async def test_a_rescan_in_a_rescan_tells_nothing_twice(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50, 50)
    told = await world.events()
    await service.wallet_book.rescan("main", 0, message_id="r1")
    await service.wallet_book.rescan("main", 0, message_id="r2")
    await service.follow()
    assert await world.events() == told
    assert (await service.balance("main")).confirmed_sat == 2 * COIN_SAT


@pytest.mark.parametrize("again", [False, True], ids=["one rescan", "a rescan in a rescan"])
async def test_a_reorganisation_during_a_rescan_takes_back_what_was_told(
    world: Any, service: BitcoinService, again: bool
) -> None:
    """The forgotten coins no longer tell of it: a payment stayed confirmed that was in no block."""
    await world.funded(service, 50, 50)
    promised = await service.send("main", world.payee, 1_000_000, 2, message_id="pay")
    await service.settled("main")
    world.node.mine(2)
    await service.follow()
    await service.wallet_book.rescan("main", 0, message_id="r")
    if again:
        await service.wallet_book.rescan("main", 1, message_id="r2")
    world.node.reorganise(2, 3)
    await service.follow()
    assert (await service.payment(promised.payment_id)).phase == "broadcast"
    await service.settled("main")
    world.node.mine(1)
    await service.follow()
    assert (await service.payment(promised.payment_id)).height == world.node.height
    told: Any = await world.events(BitcoinTransactionConfirmed, BitcoinTransactionReorged)
    assert [type(one).__name__ for one in told if one.txid == promised.txid] == [
        "BitcoinTransactionConfirmed",
        "BitcoinTransactionReorged",
        "BitcoinTransactionConfirmed",
    ]
    assert (await service._ledger.wallet("main")).before_rescan is None


async def test_coins_from_before_a_wallets_birth_outlive_a_deep_reorganisation(
    world: Any, service: BitcoinService
) -> None:
    view = await service.create_wallet("main", message_id="w")
    world.node.mine(2, world.script(view.address))
    world.node.mine(RETAINED_BLOCKS + 2)
    assert view.account is not None
    order = WalletOrder(descriptor=view.account.receive, birth_height=world.node.height)
    await service.create_wallet("copy", order, message_id="c")
    await service.wallet_book.rescan("copy", 0, message_id="r")
    await service.follow()
    world.node.reorganise(RETAINED_BLOCKS + 1)
    await service.follow()
    assert (await service.balance("copy")).confirmed_sat == 2 * COIN_SAT


async def test_what_waits_in_the_mempool_is_known_to_a_new_wallet_and_after_a_rescan(
    world: Any, service: BitcoinService
) -> None:
    await world.funded(service, 50)
    payee = await service.create_wallet("payee", message_id="p")
    await service.send("main", payee.address, 1000, 2, message_id="pay")
    await service.settled("main")
    await service.follow()
    assert payee.account is not None
    order = WalletOrder(descriptor=payee.account.receive)
    await service.create_wallet("copy", order, message_id="c")
    await service.follow()
    told = await world.events(BitcoinTransactionSeen)
    assert (await service.balance("copy")).pending_sat == 1000
    await service.wallet_book.rescan("copy", 0, message_id="r")
    assert (await service.balance("copy")).pending_sat == 1000
    await service.follow()
    assert (await service.balance("copy")).pending_sat == 1000
    assert await world.events(BitcoinTransactionSeen) == told


async def test_a_wallet_born_in_the_past_finds_what_it_was_paid(world: Any, service: BitcoinService) -> None:
    first = await service.create_wallet("main", message_id="w")
    world.node.mine(3, world.script(first.address))
    await service.follow()
    descriptors = (await service.wallet_book.wallet("main")).account
    assert descriptors is not None
    order = WalletOrder(descriptor=descriptors.receive, change_descriptor=descriptors.change, birth_height=2)
    copy = await service.create_wallet("copy", order, message_id="c")
    assert copy.account is not None
    assert copy.account.watch_only
    await service.follow()
    assert (await service.balance("copy")).immature_sat == 2 * COIN_SAT
    told: Any = await world.events(BitcoinTransactionConfirmed)
    assert len([one for one in told if one.wallet == "copy"]) == 2
    with pytest.raises(NotSupportedError, match="watch-only"):
        await service.send("copy", world.payee, 1000, 2, message_id="m")
    with pytest.raises(InvalidInputError):
        await service.wallet_book.rescan("copy", 99, message_id="r")


async def test_one_descriptor_with_two_paths_gives_both_branches(world: Any, service: BitcoinService) -> None:
    key = await service.wallet_book.extended_key("cosigner", "m/48h")
    text = f"wpkh({key.expression}/<0;1>/*)"
    order = WalletOrder(descriptor=text, key=key.key)
    view = await service.create_wallet("cosigner", order, message_id="w")
    assert view.account is not None
    assert view.account.receive != view.account.change
    world.node.mine(101, world.script(view.address))
    await service.follow()
    await service.send("cosigner", world.payee, 100_000, 2, message_id="m")
    await service.settled("cosigner")
    world.node.mine(1)
    assert world.node.outputs_to(world.script(world.payee)) == [100_000]


@pytest.mark.parametrize(
    ("order", "error"),
    [
        (WalletOrder(descriptor="wpkh(nothing)"), DescriptorError),
        (WalletOrder(descriptor=f"wpkh({XPUB}/0/*)"), DescriptorError),  # of mainnet
        (WalletOrder(descriptor="unused(02" + "11" * 32 + ")"), InvalidInputError),
        (WalletOrder(descriptor="combo(02" + "11" * 32 + ")"), InvalidInputError),
        (WalletOrder(kind="p2sh"), InvalidInputError),
        (WalletOrder(account=-1), InvalidInputError),
        (WalletOrder(gap_limit=0), InvalidInputError),
        (WalletOrder(birth_height=7), InvalidInputError),
    ],
)
async def test_a_wallet_that_cannot_be_is_refused_with_the_reason(
    service: BitcoinService, order: WalletOrder, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await service.create_wallet("main", order, message_id="w")
    assert await service.wallets() == []


async def test_a_private_key_in_a_descriptor_is_refused_and_not_repeated(service: BitcoinService) -> None:
    wif = "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW"  # BIP174's vectors, a key of testnet
    with pytest.raises(InvalidInputError) as refused:
        await service.create_wallet("main", WalletOrder(descriptor=f"wpkh({wif})"), message_id="w")
    assert wif not in str(refused.value)


async def test_a_single_address_ends_after_one(service: BitcoinService) -> None:
    order = WalletOrder(
        descriptor="wpkh(02" + "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)"
    )
    await service.create_wallet("main", order, message_id="w")
    with pytest.raises(AddressesEndError):
        await service.new_address("main", message_id="a")


async def test_a_frozen_coin_is_not_spent_until_it_is_thawed(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    (coin,) = (one for one in await service.wallet_book.coins("main") if one.mature)
    await service.wallet_book.set_labels(
        "main", [Label("output", coin.outpoint, "keep", spendable=False)], message_id="f"
    )
    assert (await service.wallet_book.coins("main"))[0].frozen
    with pytest.raises(InsufficientFundsError):
        await service.send("main", world.payee, 1000, 2, message_id="m1")
    terms = SendTerms(feerate_sat_per_vb=2, inputs=(coin.outpoint,))
    with pytest.raises(CoinNotSpendableError):
        await service.pay("main", [(world.payee, 1000)], terms, message_id="m2")
    await service.wallet_book.set_labels(
        "main", [Label("output", coin.outpoint, "keep", spendable=True)], message_id="t"
    )
    await service.send("main", world.payee, 1000, 2, message_id="m3")


async def test_naming_a_frozen_coin_does_not_thaw_it(world: Any, service: BitcoinService) -> None:
    await world.funded(service, 50)
    (coin,) = (one for one in await service.wallet_book.coins("main") if one.mature)
    await service.wallet_book.freeze("main", [coin.outpoint], True, message_id="f")
    upper = coin.outpoint.upper()
    await service.wallet_book.set_labels("main", [Label("output", upper, "rent")], message_id="l")
    (named,) = (one for one in await service.wallet_book.coins("main") if one.mature)
    assert (named.frozen, named.label) == (True, "rent")
    await service.wallet_book.set_labels("main", [Label("output", upper)], message_id="l2")
    (unnamed,) = (one for one in await service.wallet_book.coins("main") if one.mature)
    assert (unnamed.frozen, unnamed.label) == (True, "")
    await service.wallet_book.freeze("main", [upper], False, message_id="t")
    assert await service.wallet_book.labels("main") == []
    await service.send("main", world.payee, 1000, 2, message_id="m")


async def test_a_wallet_keeps_a_bounded_number_of_labels(service: BitcoinService) -> None:
    await service.create_wallet("main", message_id="w")
    many = [Label("tx", f"{number:064x}", "x") for number in range(MAX_LABELS)]
    await service.wallet_book.set_labels("main", many, message_id="l")
    with pytest.raises(InvalidInputError, match="at most"):
        await service.wallet_book.set_labels("main", [Label("tx", "f" * 64, "x")], message_id="l2")
    await service.wallet_book.set_labels("main", [Label("tx", "0" * 64)], message_id="l3")
    await service.wallet_book.set_labels("main", [Label("tx", "f" * 64, "x")], message_id="l4")


async def test_labels_go_out_and_come_in_as_bip329_has_them(world: Any, service: BitcoinService) -> None:
    view = await service.create_wallet("main", message_id="w")
    text = (
        f'{{"type":"addr","ref":"{view.address}","label":"rent"}}\n'
        f'{{"type":"output","ref":"{OUTPUT}:1","label":"café","spendable":false,"more":1}}\n'
    )
    await service.wallet_book.import_labels("main", text, message_id="l")
    exported = await service.wallet_book.export_labels("main")
    assert exported == text.replace(',"more":1', "")
    await service.wallet_book.set_labels("main", [Label("addr", view.address)], message_id="l2")
    assert [one.type for one in await service.wallet_book.labels("main")] == ["output"]
    for bad in (
        '{"type":"song","ref":"x"}',
        '{"type":"output","ref":"x"}',
        "[]",
        "{",
        '{"type":"tx","ref":""}',
    ):
        with pytest.raises(InvalidInputError, match="line 1"):
            await service.wallet_book.import_labels("main", bad, message_id=f"bad {bad}")


async def test_a_wallet_of_one_key_for_each_address_is_kept_and_pays(
    world: Any, service: BitcoinService
) -> None:
    # As version 1 made them: its state has keys and no account.
    view = world.keyring._create("wallet.old.0", "secp256k1", "bitcoin/main", ("sign",), message_id="k")
    key = WalletKey("wallet.old.0", bytes.fromhex(view.public_key))
    chain = await service._ledger.chain()
    assert chain is not None
    address = encode_address(key.script_pubkey, Network.REGTEST) or ""
    event = WalletCreated("old", "regtest", chain.cursor, 0, address, key=key)
    await service._engine.handle(wallet_key("old"), event, message_id="old")
    second = await service.new_address("old", message_id="a")
    assert second.key == "wallet.old.1"
    world.node.mine(1, world.script(address))
    world.node.mine(101, world.script(second.address))
    await service.follow()
    await service.send("old", world.payee, COIN_SAT + 1000, 2, message_id="m")
    await service.settled("old")
    await service.send("old", world.payee, 1000, 2, message_id="m2")
    await service.settled("old")
    world.node.mine(1)
    assert sorted(world.node.outputs_to(world.script(world.payee))) == [1000, COIN_SAT + 1000]


async def test_ten_thousand_addresses_make_no_event_slow(world: Any, service: BitcoinService) -> None:
    view = await service.create_wallet("main", message_id="w")
    for place in range(GAP_LIMIT, 10_000 + GAP_LIMIT, GAP_LIMIT):
        world.node.mine(1, await script_at(service, 0, place))
    await service.follow()
    wallet = await service._ledger.wallet("main")
    assert wallet.account is not None
    assert wallet.account.next_receive > 10_000
    # Not a bound on time, which a busy machine breaks, but on what an event derives anew.
    branch = branch_of(wallet.account.receive, Network.REGTEST)
    derived = len(branch._scripts)
    world.node.mine(10, world.script(view.address))
    await service.follow()
    assert len(branch._scripts) == derived
    assert len(await world.events(BitcoinTransactionSeen)) == 510
