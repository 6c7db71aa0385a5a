"""A log in a file: torn ends are cut, damage is refused, a full disk loses nothing."""

from __future__ import annotations

import asyncio
import errno

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.frames import HEADER_SIZE
from anya_actors.adapters.memory.disk import MemoryDisk, MemoryFile
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.append_log import DamagedLogError, LogFullError


class FailingFile(MemoryFile):
    """A file whose next sync (and cut) can be made to fail."""

    def __init__(self, content: bytearray) -> None:
        super().__init__(content)
        self.syncs = 0
        self.fail_append = self.fail_sync = self.fail_truncate = False

    def append(self, data: bytes) -> None:
        if self.fail_append:
            super().append(data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        super().append(data)

    def sync(self) -> None:
        self.syncs += 1
        if self.fail_sync:
            raise OSError(errno.EIO, "Input/output error")

    def truncate(self, size: int) -> None:
        if self.fail_truncate:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(size)


class FailingDisk(MemoryDisk):
    def open(self, name: str) -> FailingFile:
        self.file = FailingFile(self.files.setdefault(name, bytearray()))
        return self.file


async def filled(disk: MemoryDisk, *appends: tuple[bytes, ...]) -> list[int]:
    """Write the appends one after another; the file's size after each."""
    log = await FileAppendLog.open(disk, "log")
    sizes = [len(disk.files["log"])]
    for records in appends:
        await log.append(*records)
        sizes.append(len(disk.files["log"]))
    await log.close()
    return sizes


async def reread(disk: MemoryDisk) -> list[bytes]:
    log = await FileAppendLog.open(disk, "log")
    found = await log.read(0, len(log))
    await log.close()
    return found


async def test_a_file_cut_anywhere_holds_exactly_the_appends_that_are_whole() -> None:
    disk = MemoryDisk()
    sizes = await filled(disk, (b"one",), (b"two", b"three"), (b"four",))
    whole = bytes(disk.files["log"])
    for size in range(len(whole) + 1):
        disk.files["log"] = bytearray(whole[:size])
        kept = sum(size >= end for end in sizes[1:])
        assert (
            await reread(disk)
            == [[], [b"one"], [b"one", b"two", b"three"], [b"one", b"two", b"three", b"four"]][kept]
        )
        log = await FileAppendLog.open(disk, "log")
        await log.append(b"next")
        await log.close()
        assert (await reread(disk))[-1] == b"next"


async def test_every_damaged_byte_before_the_last_append_is_refused_and_nothing_is_changed() -> None:
    disk = MemoryDisk()
    sizes = await filled(disk, (b"one",), (b"two",))
    whole = bytes(disk.files["log"])
    for place in range(sizes[1]):
        damaged = bytearray(whole)
        damaged[place] ^= 0x40
        disk.files["log"] = bytearray(damaged)
        with pytest.raises(DamagedLogError):
            await FileAppendLog.open(disk, "log")
        assert disk.files["log"] == damaged


async def test_a_hole_inside_the_last_group_is_a_torn_write_not_damage() -> None:
    disk = MemoryDisk()
    await filled(disk, (b"kept",))
    log = await FileAppendLog.open(disk, "log")
    start = len(disk.files["log"])
    await asyncio.gather(*(log.append(b"%d" % n * 20) for n in range(3)))
    # The kernel wrote the group's last page and not its first.
    disk.files["log"][start : start + 30] = bytes(30)
    await log.close()
    assert await reread(disk) == [b"kept"]
    assert len(disk.files["log"]) == start


async def test_a_record_from_another_log_or_another_place_never_passes() -> None:
    disk, other = MemoryDisk(), MemoryDisk()
    sizes = await filled(disk, (b"same",), (b"same",))
    await filled(other, (b"same",), (b"same",))
    frame = slice(sizes[0], sizes[1])
    moved = disk.files["log"][: sizes[1]] + disk.files["log"][frame]
    foreign = disk.files["log"][: sizes[0]] + other.files["log"][frame]
    for content, kept in ((moved, 1), (foreign, 0)):
        disk.files["log"] = bytearray(content)
        assert await reread(disk) == [b"same"] * kept


async def test_damage_done_while_the_log_is_open_is_told_by_the_read() -> None:
    disk = MemoryDisk()
    log = await FileAppendLog.open(disk, "log")
    await log.append(b"a")
    await log.append(b"b")
    disk.files["log"][-1] ^= 1
    assert await log.read(0, 1) == [b"a"]
    with pytest.raises(DamagedLogError, match="record 1 of log"):
        await log.read(0, 2)


async def test_concurrent_appends_share_a_sync() -> None:
    disk = FailingDisk()
    log = await FileAppendLog.open(disk, "log")
    before = disk.file.syncs
    await asyncio.gather(*(log.append(b"%d" % n) for n in range(200)))
    assert disk.file.syncs - before <= 2


@pytest.mark.parametrize("fault", ["fail_append", "fail_sync"])
async def test_a_failed_write_takes_the_whole_group_back_and_the_next_one_succeeds(fault: str) -> None:
    disk = FailingDisk()
    log = await FileAppendLog.open(disk, "log")
    await log.append(b"before")
    setattr(disk.file, fault, True)
    results = await asyncio.gather(log.append(b"x"), log.append(b"y"), return_exceptions=True)
    assert [type(result) for result in results] == [LogFullError, LogFullError]
    assert len(log) == 1
    setattr(disk.file, fault, False)
    assert await log.append(b"after") == 1
    await log.close()
    assert await reread(disk) == [b"before", b"after"]


async def test_a_log_whose_end_is_unknown_takes_nothing_more_until_it_is_opened_anew() -> None:
    disk = FailingDisk()
    log = await FileAppendLog.open(disk, "log")
    disk.file.fail_sync = disk.file.fail_truncate = True
    with pytest.raises(UnavailableError):
        await log.append(b"x")
    disk.file.fail_sync = disk.file.fail_truncate = False
    with pytest.raises(UnavailableError):
        await log.append(b"y")
    assert len(log) == 0


async def test_a_closed_log_says_so() -> None:
    log = await FileAppendLog.open(MemoryDisk(), "log")
    await log.close()
    await log.close()
    with pytest.raises(UnavailableError, match="closed"):
        await log.append(b"x")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_whatever_follows_the_header_is_cut_or_refused_without_a_crash(noise: bytes) -> None:
    async def scenario() -> None:
        disk = MemoryDisk()
        await filled(disk, (b"one",))
        disk.files["log"] += noise
        assert await reread(disk) == [b"one"]

    asyncio.run(scenario())


@settings(max_examples=100, deadline=None)
@given(st.binary(min_size=HEADER_SIZE + 1, max_size=200))
def test_a_file_that_is_no_log_is_refused(noise: bytes) -> None:
    async def scenario() -> None:
        disk = MemoryDisk()
        disk.files["log"] = bytearray(noise)
        with pytest.raises(DamagedLogError):
            await FileAppendLog.open(disk, "log")

    asyncio.run(scenario())
