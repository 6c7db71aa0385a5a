"""The node's wallets as a service: what they keep, and what they take over."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.ports.append_log import AppendLog
from anya_actors.services.bitcoin_node.journal import RECORDS, AnyRecord, KeyGiven, WalletSeeded
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.services.bitcoin_node.wallet_keys import AddressKind, WalletKey
from anya_actors.services.bitcoin_node.wallets.collection import NoKeysError
from anya_actors.services.bitcoin_node.wallets.keys import LOOKAHEAD
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind as Kind

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]


async def test_keys_of_an_earlier_versions_journal_are_taken_over(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    seed = bytes(range(32))
    records: list[AnyRecord] = [WalletSeeded(seed), KeyGiven("bech32", "first"), KeyGiven("bech32m", "")]
    await log.append(*(RECORDS.encode(record) for record in records))
    node = await start_node(log)
    wallet = node.wallets.loaded[""]
    for number, (kind, label) in enumerate(((AddressKind.BECH32, "first"), (AddressKind.BECH32M, ""))):
        old = WalletKey(seed, number, kind, label)
        own = wallet.scripts[old.script_pubkey]
        assert [key.public_key for key, _ in own.source.secrets(own.index)] == [old.public_key]
        assert wallet.labels[old.script_pubkey] == label
    script = await node.in_turn(lambda: node.wallets.new_script(wallet, Kind.BECH32))
    assert script.script_pubkey in wallet.scripts


async def test_addresses_are_watched_some_way_ahead(node: BitcoinNodeService) -> None:
    wallet = await node.in_turn(node.wallets.default)
    own = wallet.active(Kind.BECH32, is_change=False)
    assert own is not None
    far = own.scripts[LOOKAHEAD - 1][0]
    await node.generate(far.script_pubkey, 1)
    assert [fund.own for fund in wallet.funds()] == [far]
    for _ in range(3):
        await node.in_turn(lambda: node.wallets.new_script(wallet, Kind.BECH32))
    assert (own.next_index, own.last) == (3, LOOKAHEAD + 2)


async def test_a_wallet_without_descriptors_gives_no_addresses(node: BitcoinNodeService) -> None:
    wallet = await node.in_turn(lambda: node.wallets.create("watch", private_keys=False, blank=True))
    with pytest.raises(NoKeysError, match="watch"):
        await node.in_turn(lambda: node.wallets.new_script(wallet, Kind.BECH32))


async def test_nothing_of_a_key_stands_in_a_repr(node: BitcoinNodeService) -> None:
    wallet = await node.in_turn(node.wallets.default)
    private = wallet.descriptors[0].descriptor.private_text(wallet.descriptors[0].parsed.private_keys)
    assert "tprv" in private
    assert all("tprv" not in repr(thing) for thing in (wallet, wallet.descriptors[0]))
