"""The node's wallets as a service: what they keep, and what they take over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.ports.append_log import AppendLog
from anya_actors.services.bitcoin_node.journal import RECORDS, AnyRecord, KeyGiven, WalletSeeded
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.services.bitcoin_node.wallets.collection import NoKeysError
from anya_actors.services.bitcoin_node.wallets.keys import LOOKAHEAD, AddressKind

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]

# Output script, public key and label, as an earlier version derived them.
EARLIER_KEYS = (
    (
        "0014980277246c92971f25b0bd2d6545a29bacf91bd0",
        "02e9a0ac87e6e8a863452d3e086ded0401784df15b7d77057a428ef573ae8bd938",
        "first",
    ),
    (
        "51201f9687bc498457510dc0509523207e9c18e883a6675d6e99fb8dca51c8582d8b",
        "02beb16e130d499149b2f2b32fa6a7d5c7285026b785cfe7a758eb6f23810efe10",
        "",
    ),
)


async def test_keys_of_an_earlier_versions_journal_are_taken_over(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    seed = bytes(range(32))
    records: list[AnyRecord] = [WalletSeeded(seed), KeyGiven("bech32", "first"), KeyGiven("bech32m", "")]
    await log.append(*(RECORDS.encode(record) for record in records))
    node = await start_node(log)
    wallet = node.wallets.loaded[""]
    for script_pubkey, public_key, label in EARLIER_KEYS:
        own = wallet.scripts[bytes.fromhex(script_pubkey)]
        assert [key.public_key.hex() for key, _ in own.source.secrets(own.index)] == [public_key]
        assert wallet.labels[bytes.fromhex(script_pubkey)] == label
    script = await node.in_turn(lambda: node.wallets.new_script(wallet, AddressKind.BECH32))
    assert script.script_pubkey in wallet.scripts


async def test_addresses_are_watched_some_way_ahead(node: BitcoinNodeService) -> None:
    wallet = await node.in_turn(node.wallets.default)
    own = wallet.active(AddressKind.BECH32, is_change=False)
    assert own is not None
    far = own.scripts[LOOKAHEAD - 1][0]
    await node.generate(far.script_pubkey, 1)
    assert [fund.own for fund in wallet.funds()] == [far]
    for _ in range(3):
        await node.in_turn(lambda: node.wallets.new_script(wallet, AddressKind.BECH32))
    assert (own.next_index, own.last) == (3, LOOKAHEAD + 2)


async def test_a_wallet_without_descriptors_gives_no_addresses(node: BitcoinNodeService) -> None:
    wallet = await node.in_turn(lambda: node.wallets.create("watch", private_keys=False, blank=True))
    with pytest.raises(NoKeysError, match="watch"):
        await node.in_turn(lambda: node.wallets.new_script(wallet, AddressKind.BECH32))


async def test_nothing_of_a_key_stands_in_a_repr(node: BitcoinNodeService) -> None:
    wallet = await node.in_turn(node.wallets.default)
    private = wallet.descriptors[0].descriptor.private_text(wallet.descriptors[0].parsed.private_keys)
    assert "tprv" in private
    assert all("tprv" not in repr(thing) for thing in (wallet, wallet.descriptors[0]))
