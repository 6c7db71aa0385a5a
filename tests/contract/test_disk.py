"""What every `Disk` promises, over memory and the machine's own file system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.memory.disk import MemoryDisk
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.disk import Disk
from anya_actors.ports.state_store import StoreLockedError

DISKS: dict[str, Callable[[Path], Disk]] = {
    "memory": lambda _: MemoryDisk(),
    "files": lambda folder: SystemDisk(folder / "deep" / "inside"),
}


@pytest.fixture(params=DISKS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return DISKS[request.param](tmp_path)


def test_what_was_written_is_found_after_reopening(disk: Disk) -> None:
    file = disk.open("a.log")
    assert file.size() == 0
    file.append(b"hello ")
    file.append(b"world")
    file.sync()
    assert (file.size(), file.read(6, 100), file.read(11, 5)) == (11, b"world", b"")
    file.close()
    again = disk.open("a.log")
    assert again.read(0, 11) == b"hello world"
    again.close()


def test_a_truncated_file_grows_from_its_new_end(disk: Disk) -> None:
    file = disk.open("a.log")
    file.append(b"0123456789")
    file.truncate(4)
    file.append(b"X")
    assert (file.size(), file.read(0, 99)) == (5, b"0123X")
    file.close()


def test_a_removed_file_is_gone_and_removing_it_again_is_no_error(disk: Disk) -> None:
    disk.open("a").close()
    assert disk.exists("a")
    disk.remove("a")
    disk.remove("a")
    assert not disk.exists("a")


@pytest.mark.parametrize("name", ["../a", "a/b", "..", "", "/a"])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError):
        SystemDisk(tmp_path).open(name)


def test_an_open_file_of_the_machine_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    held = SystemDisk(tmp_path).open("a")
    with pytest.raises(StoreLockedError):
        SystemDisk(tmp_path).open("a")
    held.close()
    SystemDisk(tmp_path).open("a").close()


def test_a_file_is_private_to_its_user(tmp_path: Path) -> None:
    SystemDisk(tmp_path / "data").open("a").close()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert (tmp_path / "data" / "a").stat().st_mode & 0o077 == 0


def test_a_renamed_file_takes_the_others_place_and_stays_open(disk: Disk) -> None:
    old, fresh = disk.open("a"), disk.open("b")
    old.append(b"old")
    fresh.append(b"fresh")
    disk.rename("b", "a")
    fresh.append(b"er")
    assert not disk.exists("b")
    assert old.read(0, 9) == b"old"
    old.close()
    fresh.close()
    again = disk.open("a")
    assert again.read(0, 9) == b"fresher"
    again.close()


def test_a_file_that_took_anothers_place_is_locked_as_that_was(tmp_path: Path) -> None:
    disk = SystemDisk(tmp_path)
    old, fresh = disk.open("a"), disk.open("b")
    disk.rename("b", "a")
    old.close()
    with pytest.raises(StoreLockedError):
        SystemDisk(tmp_path).open("a")
    fresh.close()
    SystemDisk(tmp_path).open("a").close()
