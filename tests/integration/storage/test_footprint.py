"""Many actors on a laptop: what one more RocksDB costs."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.ports.state_store import Commit

STORES = 20


async def test_a_store_opens_in_50_ms_and_takes_less_than_5_megabytes(tmp_path: Path) -> None:
    stores, process = RocksdbStateStores(tmp_path), psutil.Process()
    await (await stores.activate("warm/up")).close()
    before = process.memory_info().rss
    opened, times_ms = [], []
    for number in range(STORES):
        started = time.perf_counter()
        opened.append(await stores.activate(f"small/{number}"))
        times_ms.append((time.perf_counter() - started) * 1000)
    for store in opened:
        for number in range(50):
            await store.commit(Commit(f"k{number}", 0, bytes(10_000), f"m{number}"))
    grown = (process.memory_info().rss - before) / STORES
    assert grown < 5 << 20, f"{grown / 2**20:.1f} MiB for each store"
    # The best of them: the machine may be busy with other things.
    assert min(times_ms) < 50, f"{min(times_ms):.0f} ms at best"
    for store in opened:
        await store.close()
