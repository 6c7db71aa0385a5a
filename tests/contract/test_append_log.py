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


async def test_a_rewritten_log_has_every_record_changed_in_its_place_and_more_behind(open_log: Open) -> None:
    log = await open_log()
    await log.append(b"a", b"secret")
    await log.append(b"c")
    await log.rewrite(lambda record: b"hidden" if record == b"secret" else record, b"more", b"")
    assert await log.read(0, 10) == [b"a", b"hidden", b"c", b"more", b""]
    assert await log.append(b"next") == 5
    await log.rewrite(lambda record: record)
    assert (len(log), await log.read(3, 10)) == (6, [b"more", b"", b"next"])
    await log.close()


async def test_a_change_that_raises_leaves_the_log_as_it_was(open_log: Open) -> None:
    log = await open_log()
    await log.append(b"a", b"b")

    def refuse(record: bytes) -> bytes:
        if record == b"b":
            raise LookupError(record)
        return b"changed"

    with pytest.raises(LookupError):
        await log.rewrite(refuse, b"more")
    assert await log.read(0, 10) == [b"a", b"b"]
    assert await log.append(b"c") == 2
    await log.close()


async def test_appends_and_reads_beside_a_rewriting_lose_nothing(open_log: Open) -> None:
    log = await open_log()
    await log.append(*(b"%d" % n for n in range(500)))
    _, _, firsts, reads = await asyncio.gather(
        log.rewrite(lambda record: b"x" + record),
        log.rewrite(lambda record: b"x" + record),
        asyncio.gather(*(log.append(b"late") for _ in range(20))),
        asyncio.gather(*(log.read(n, 3) for n in range(490))),
    )
    assert sorted(firsts) == list(range(500, 520))
    assert all(
        record.lstrip(b"x") == b"%d" % (n + at)
        for n, found in enumerate(reads)
        for at, record in enumerate(found)
    )
    assert await log.read(0, 2) == [b"xx0", b"xx1"]
    assert {record.lstrip(b"x") for record in await log.read(500, 99)} == {b"late"}
    await log.close()
