"""A log is rewritten whole or not at all, wherever the machine stops meanwhile."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.memory.disk import MemoryDisk, MemoryFile
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.append_log import DamagedLogError, LogFullError


class PowerCutError(BaseException):
    """The machine stops here."""


class StoppingFile(MemoryFile):
    """A file of a `StoppingDisk`."""

    def __init__(self, disk: StoppingDisk, content: bytearray) -> None:
        super().__init__(content)
        self._disk = disk

    def append(self, data: bytes) -> None:
        self._disk.step()
        super().append(data)
        self._disk.step()

    def sync(self) -> None:
        self._disk.step()
        self._disk.synced[id(self._content)] = bytes(self._content)
        self._disk.step()

    def truncate(self, size: int) -> None:
        self._disk.step()
        super().truncate(size)
        self._disk.synced[id(self._content)] = bytes(self._content)


class StoppingDisk(MemoryDisk):
    """Counts what is done to it, and loses power before a chosen step."""

    def __init__(self) -> None:
        super().__init__()
        self.synced: dict[int, bytes] = {}
        self.steps = 0
        self.stop_at = -1

    def step(self) -> None:
        if self.steps == self.stop_at:
            raise PowerCutError
        self.steps += 1

    def open(self, name: str) -> StoppingFile:
        return StoppingFile(self, self.files.setdefault(name, bytearray()))

    def remove(self, name: str) -> None:
        self.step()
        super().remove(name)

    def rename(self, name: str, to: str) -> None:
        self.step()
        super().rename(name, to)
        self.step()

    def after_power_cut(self, keep: Callable[[bytes, bytes], bytes]) -> MemoryDisk:
        """What is found after it: of each file what ``keep`` says, from what was seen and what was synced."""
        disk = MemoryDisk()
        for name, content in self.files.items():
            disk.files[name] = bytearray(keep(bytes(content), self.synced.get(id(content), b"")))
        return disk


def _half(seen: bytes, synced: bytes) -> bytes:
    return seen[: max(len(synced), len(seen) // 2)]


def _hidden(record: bytes) -> bytes:
    return record.replace(b"secret", b"hidden")


OLD = [b"one", b"secret two", b"three", b"secret four"]
NEW = [*map(_hidden, OLD), b"more"]


async def _filled(disk: MemoryDisk) -> FileAppendLog:
    log = await FileAppendLog.open(disk, "log")
    await log.append(*OLD[:2])
    await log.append(*OLD[2:])
    return log


async def _steps() -> int:
    disk = StoppingDisk()
    log = await _filled(disk)
    before = disk.steps
    await log.rewrite(_hidden, b"more")
    await log.close()
    return disk.steps - before


@pytest.mark.parametrize(
    "keep", [lambda seen, _: seen, lambda _, synced: synced, _half], ids=["all", "synced", "half"]
)
async def test_after_a_power_cut_at_any_step_the_log_is_the_old_or_the_new_one(
    keep: Callable[[bytes, bytes], bytes],
) -> None:
    found = []
    for stop in range(await _steps()):
        disk = StoppingDisk()
        log = await _filled(disk)
        disk.stop_at = disk.steps + stop
        with pytest.raises(PowerCutError):
            await log.rewrite(_hidden, b"more")
        left = disk.after_power_cut(keep)
        again = await FileAppendLog.open(left, "log")
        found.append(await again.read(0, 99))
        assert found[-1] in (OLD, NEW)
        assert list(left.files) == ["log"]  # nothing unfinished stays
        assert (b"secret" in left.files["log"]) is (found[-1] == OLD)
        assert await again.append(b"next") == len(found[-1])
        await again.close()
    assert found[0] == OLD
    assert found[-1] == NEW


async def test_after_a_rewriting_no_file_of_the_folder_holds_what_was_replaced(tmp_path: Path) -> None:
    log = await FileAppendLog.open(SystemDisk(tmp_path), "log")
    await log.append(*OLD)
    await log.rewrite(_hidden, b"more")
    assert _contents(tmp_path).keys() == {"log"}
    assert b"secret" not in _contents(tmp_path)["log"]
    await log.append(b"next")
    await log.close()
    again = await FileAppendLog.open(SystemDisk(tmp_path), "log")
    assert await again.read(0, 99) == [*NEW, b"next"]
    await again.close()


def _contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class FullDisk(MemoryDisk):
    """A disk where one operation fails."""

    fails = ""

    def open(self, name: str) -> MemoryFile:
        full = self.fails == "append" and name != "log"

        class File(MemoryFile):
            def append(self, data: bytes) -> None:
                if full:
                    raise OSError(errno.ENOSPC, "No space left on device")
                super().append(data)

        return File(self.files.setdefault(name, bytearray()))

    def rename(self, name: str, to: str) -> None:
        if self.fails == "rename":
            raise OSError(errno.EIO, "Input/output error")
        super().rename(name, to)


async def test_a_full_disk_leaves_the_log_as_it_was_and_usable() -> None:
    disk = FullDisk()
    log = await _filled(disk)
    disk.fails = "append"
    with pytest.raises(LogFullError):
        await log.rewrite(_hidden)
    assert list(disk.files) == ["log"]
    assert await log.append(b"next") == 4
    await log.close()


async def test_where_the_successor_may_or_may_not_have_taken_its_place_nothing_goes_on() -> None:
    disk = FullDisk()
    log = await _filled(disk)
    disk.fails = "rename"
    with pytest.raises(UnavailableError):
        await log.rewrite(_hidden)
    with pytest.raises(UnavailableError):
        await log.append(b"next")
    again = await FileAppendLog.open(disk, "log")
    assert await again.read(0, 99) == OLD


async def test_a_damaged_record_is_not_carried_over() -> None:
    disk = MemoryDisk()
    log = await _filled(disk)
    place = disk.files["log"].index(b"three")
    disk.files["log"][place] ^= 1
    with pytest.raises(DamagedLogError):
        await log.rewrite(_hidden)
    assert list(disk.files) == ["log"]
