"""A crash may cut the journal at any byte, and leave the indexes behind it, ahead of it, or nowhere.

A start depends on the journal's whole records alone. So every cut is opened as a log, and a node is
started on each number of records that comes out of that, with the indexes in more than one state.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.coin_index import FILTER
from anya_actors.domain.bitcoin.network import Network
from anya_actors.ports.chain_index import ChainIndexStore, ChainIndexStores
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from tests.unit.services.bitcoin_node.purse import pay, wallet_script

TRUE = b"\x51"
STATES = ("lost", "stale", "damaged")


@asynccontextmanager
async def _node(folder: Path, indexes: ChainIndexStores) -> AsyncIterator[BitcoinNodeService]:
    log = await FileAppendLog.open(SystemDisk(folder), "journal")
    node = BitcoinNodeService(
        engines=KernelEngines(folder / "kernel", Network.REGTEST, in_memory=True),
        log=log,
        indexes=indexes,
        clock=SystemClock(),
        randomness=SystemRandomness(),
    )
    await node.start()
    try:
        yield node
    finally:
        await node.close()


def _rows(store: ChainIndexStore) -> list[tuple[bytes, bytes]]:
    """All rows but the filters, which outlive their blocks."""
    return [row for row in store.scan(b"") if not row[0].startswith(FILTER)]


async def _life(folder: Path) -> tuple[int, int]:
    """A node's life; the size of its journal before the last records, and the whole size."""
    indexes = RocksdbChainIndexes(folder / "indexes")
    journal = folder / "journal"
    async with _node(folder, indexes) as node:
        script = await wallet_script(node)
        await node.generate(script, 1)
        await node.generate(TRUE, 101)
    shutil.copytree(folder / "indexes", folder / "indexes.stale")
    async with _node(folder, indexes) as node:
        await pay(node, script, 1_000_000)
        before = journal.stat().st_size
        # The records from here on are cut.
        await pay(node, script, 2_000_000)
        left = (await node.generate(TRUE, 2))[0]
        await node.invalidate_block(left)
        await node.generate(script, 1)
        await node.reconsider_block(left)
    return before, journal.stat().st_size


def _put_indexes(folder: Path, life: Path, state: str) -> None:
    target = folder / "indexes"
    shutil.rmtree(target, ignore_errors=True)
    if state == "lost":
        return
    shutil.copytree(life / ("indexes.stale" if state == "stale" else "indexes"), target)
    if state == "damaged":
        for path in target.glob("*.sst"):
            path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.slow
async def test_a_journal_cut_at_any_byte_gives_a_whole_node_whatever_its_indexes(tmp_path: Path) -> None:
    life = tmp_path / "life"
    life.mkdir()
    before, size = await _life(life)
    data = (life / "journal").read_bytes()
    whole: dict[int, int] = {}
    torn = tmp_path / "torn"
    torn.mkdir()
    for cut in range(before, size + 1):
        (torn / "journal").write_bytes(data[:cut])
        log = await FileAppendLog.open(SystemDisk(torn), "journal")
        whole.setdefault(len(log), cut)
        await log.close()
    assert list(whole) == sorted(whole)
    assert len(whole) > 5
    for number, cut in enumerate(whole.values()):
        await _start(tmp_path, life, data[:cut], {"as left", STATES[number % len(STATES)]})


async def _start(folder: Path, life: Path, journal: bytes, states: set[str]) -> None:
    found = folder / "found"
    found.mkdir(exist_ok=True)
    (found / "journal").write_bytes(journal)
    fresh = MemoryChainIndexes()
    async with _node(found, fresh) as node:
        tip, waiting = node.chain.tip.hash, set(node.pool.entries)
    expected = _rows(fresh.store)
    for state in states:
        _put_indexes(found, life, state)
        (found / "journal").write_bytes(journal)
        indexes = RocksdbChainIndexes(found / "indexes")
        async with _node(found, indexes) as node:
            assert node.chain.tip.hash == node.chain.index.tip == tip
            assert set(node.pool.entries) == waiting
            await node.generate(TRUE, 1)
            mined = node.chain.tip.hash
        assert mined != tip
        async with _node(found, indexes) as node:
            assert node.chain.tip.hash == mined
            await node.invalidate_block(mined)
        store = indexes.open()
        assert _rows(store) == expected, state
        store.close()
