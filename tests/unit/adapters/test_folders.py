"""A folder that is new is on disk before anything in it is acknowledged."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores


async def open_log(root: Path) -> None:
    await (await FileAppendLog.open(SystemDisk(root / "hsm"), "audit.log")).close()


async def open_store(root: Path) -> None:
    await (await RocksdbStateStores(root / "state").activate("bank")).close()


@pytest.mark.parametrize(("opened", "inside"), [(open_log, "hsm"), (open_store, "state/bank")])
async def test_the_name_of_a_new_folder_is_synced_in_the_one_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Callable[[Path], Awaitable[None]], inside: str
) -> None:
    synced: list[tuple[str, bool]] = []
    folder = tmp_path / "data" / inside

    def fsync(descriptor: int) -> None:
        above = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((above, folder.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    await opened(tmp_path / "data")
    assert (str(folder.parent), True) in synced
    assert str(tmp_path) in [above for above, _ in synced]
    assert {path.stat().st_mode & 0o777 for path in (folder, tmp_path / "data")} == {0o700}
