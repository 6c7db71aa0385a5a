"""A wallet's backup: of old journals too, and refused whole where a record of it could not be read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.ports.append_log import AppendLog
from anya_actors.services.bitcoin_node.journal import RECORDS, AnyRecord, KeyGiven, WalletSeeded
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.services.bitcoin_node.wallets.backup import (
    BadWalletBackupError,
    encode_backup,
    read_backup,
)
from anya_actors.services.bitcoin_node.wallets.records import (
    WalletAddressGiven,
    WalletDescriptorAdded,
    WalletLoadedOrNot,
    WalletMade,
    WalletRecord,
    WalletSent,
)

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]

MADE = WalletMade("old", bytes(32), True, 1)
KEY = "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW"
GOOD = WalletDescriptorAdded("old", f"wpkh({KEY})", 0, 0, 0, 1)


async def test_a_wallet_of_an_earlier_versions_journal_is_backed_up(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    records: list[AnyRecord] = [
        WalletSeeded(bytes(range(32))),
        KeyGiven("bech32", "first"),
        KeyGiven("bech32m", ""),
    ]
    await log.append(*(RECORDS.encode(record) for record in records))
    node = await start_node(log)
    old = node.wallets.all[""]
    data = await node.in_turn(lambda: node.wallets.backup(old))
    copy = await node.in_turn(lambda: node.wallets.restore("copy", data))
    assert copy.scripts.keys() == old.scripts.keys()
    assert copy.labels == old.labels
    # And a later start finds it in the journal.
    again = await start_node(log)
    assert again.wallets.all["copy"].scripts.keys() == old.scripts.keys()


def test_the_name_is_the_new_one_and_being_unloaded_is_not_kept() -> None:
    data = encode_backup([MADE, GOOD, WalletLoadedOrNot("old", False)])
    assert [record.wallet for record in read_backup(data, "new")] == ["new", "new"]


BAD: list[tuple[WalletRecord, ...]] = [
    (),
    (GOOD,),
    (GOOD, MADE),
    (MADE, MADE),
    (MADE, WalletAddressGiven("other", "bech32", False)),
]
UNREADABLE: list[WalletRecord] = [
    WalletDescriptorAdded("old", "wpkh(nonsense)", 0, 0, 0, 1),
    WalletDescriptorAdded("old", f"wpkh({KEY})", 0, 1 << 40, 0, 1),
    WalletDescriptorAdded("old", f"wpkh({KEY})", 5, 2, 5, 1),
    WalletDescriptorAdded("old", f"wpkh({KEY})", 0, 3, 9, 1),
    WalletDescriptorAdded("old", f"wpkh({KEY})", 0, 0, 0, 1, kind="nonsense"),
    WalletAddressGiven("old", "nonsense", False),
    WalletSent("old", b"no transaction", 1),
]


@pytest.mark.parametrize("records", BAD)
def test_what_is_not_the_life_of_one_wallet_is_refused(records: tuple[WalletRecord, ...]) -> None:
    with pytest.raises(BadWalletBackupError):
        read_backup(encode_backup(records), "new")


@pytest.mark.parametrize("record", UNREADABLE)
async def test_a_record_that_no_start_could_read_never_comes_into_the_journal(
    node: BitcoinNodeService, log: MemoryAppendLog, record: WalletRecord
) -> None:
    data, before = encode_backup([MADE, record]), len(log)
    with pytest.raises(BadWalletBackupError) as refused:
        await node.in_turn(lambda: node.wallets.restore("new", data))
    assert KEY not in str(refused.value)
    assert len(log) == before
    assert "new" not in node.wallets.all


@given(data=st.binary(max_size=300), place=st.integers(0, 400), bit=st.integers(0, 7))
def test_other_bytes_and_a_changed_bit_are_refused(data: bytes, place: int, bit: int) -> None:
    with pytest.raises(BadWalletBackupError):
        read_backup(data, "new")
    good = bytearray(encode_backup([MADE, GOOD]))
    good[place % len(good)] ^= 1 << bit
    with pytest.raises(BadWalletBackupError):
        read_backup(bytes(good), "new")
