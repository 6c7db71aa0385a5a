"""What every `AppendLog` promises, over memory and files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.ports.append_log import AppendLog

Open = Callable[[], Awaitable[AppendLog]]


@pytest.fixture(params=["memory", "files"])
def open_log(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    async def in_memory() -> AppendLog:
        return MemoryAppendLog()

    async def in_files() -> AppendLog:
        return await FileAppendLog.open(SystemDisk(tmp_path), "log")

    return in_memory if request.param == "memory" else in_files


async def test_records_are_numbered_from_zero_and_read_back_in_order(open_log: Open) -> None:
    log = await open_log()
    assert (len(log), await log.read(0, 10)) == (0, [])
    assert await log.append(b"a", b"", b"c") == 0
    assert await log.append(b"d" * 100_000) == 3
    assert await log.append() == 4
    assert len(log) == 4
    assert await log.read(1, 2) == [b"", b"c"]
    assert await log.read(2, 100) == [b"c", b"d" * 100_000]
    assert await log.read(4, 1) == []
    await log.close()


async def test_concurrent_appends_each_stay_together(open_log: Open) -> None:
    log = await open_log()
    firsts = await asyncio.gather(*(log.append(b"%d" % n, b"%d" % n) for n in range(200)))
    assert sorted(firsts) == list(range(0, 400, 2))
    for n, first in enumerate(firsts):
        assert await log.read(first, 2) == [b"%d" % n] * 2
    await log.close()


async def test_a_cancelled_append_leaves_the_log_whole(open_log: Open) -> None:
    log = await open_log()
    task = asyncio.create_task(log.append(b"perhaps"))
    await asyncio.sleep(0)
    task.cancel()
    first = await log.append(b"surely")
    assert await log.read(first, 1) == [b"surely"]
    assert len(log) == first + 1
    await log.close()
