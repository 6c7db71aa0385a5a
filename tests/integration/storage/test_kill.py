"""SIGKILL at random moments: what was acknowledged is there, and nothing is there by half."""

from __future__ import annotations

import os
import random
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.ports.state_store import Applied, Stored

KILLS = 10
SEED = 20261123


def acknowledged_before_a_kill(kind: str, folder: Path, first: int, chance: random.Random) -> list[int]:
    """Let a writer work from number ``first`` on, kill it, and return what it acknowledged."""
    writer = Path(__file__).with_name("writer.py")
    with subprocess.Popen(
        [sys.executable, str(writer), kind, str(folder), str(first)], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        pipe, said = child.stdout.fileno(), b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while not said:
                said = os.read(pipe, 65536)
                assert said, "the writer died by itself"
            deadline = time.monotonic() + chance.uniform(0, 0.15)
            while (left := deadline - time.monotonic()) > 0:
                if selector.select(left):
                    said += os.read(pipe, 65536)
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read()
    return [int(line) for line in said.split(b"\n")[:-1]]


async def test_rocksdb_keeps_every_acknowledged_commit_whole_through_kills(tmp_path: Path) -> None:
    chance, known, first = random.Random(SEED), set[int](), 0
    for kill in range(KILLS):
        known.update(acknowledged_before_a_kill("rocksdb", tmp_path, first, chance))
        first = max(known) + 1000
        store = await RocksdbStateStores(tmp_path).activate("victim/1")
        assert store.epoch == 2 * (kill + 1)
        keys = {int(key[1:]) for key in await store.keys("k")}
        assert known <= keys
        owed, events = await store.owed(), await store.events_after(0, 1 << 30)
        assert {int(one.command) for one in owed} == {int(one.event) for one in events} == keys
        assert [one.sequence for one in events] == list(range(1, len(keys) + 1))
        assert [one.sequence for one in owed] == list(range(1, len(keys) + 1))
        for number in keys:
            assert await store.load(f"k{number}") == Stored(1, b"%d" % number * 20)
            assert await store.applied(f"m{number}") == Applied(b"", b"")
        known = keys
        await store.close()
    assert len(known) > KILLS * 10


async def test_the_log_keeps_every_acknowledged_append_whole_through_kills(tmp_path: Path) -> None:
    chance, known, first = random.Random(SEED), list[int](), 0
    for _ in range(KILLS):
        acknowledged = acknowledged_before_a_kill("files", tmp_path, first, chance)
        first += len(acknowledged) + 1000
        log = await FileAppendLog.open(SystemDisk(tmp_path), "log")
        records = await log.read(0, len(log))
        await log.close()
        numbers = [int(record) for record in records[::2]]
        assert [b"again %d" % number for number in numbers] == records[1::2]
        assert set(known) | set(acknowledged) <= set(numbers)
        assert numbers[: len(known)] == known
        known = numbers
    assert len(known) > KILLS * 10


@pytest.mark.parametrize("kind", ["rocksdb", "files"])
def test_a_full_disk_refuses_the_write_loses_nothing_and_recovers_when_there_is_room(
    tmp_path: Path, kind: str
) -> None:
    """A file-size limit stands for the full disk: a write meets it in the middle of a record."""
    child = Path(__file__).with_name("full_disk.py")
    done = subprocess.run(
        [sys.executable, str(child), kind, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-3000:]
    stages = ("refused", "recovered", "reopened")
    assert tuple(line for line in done.stdout.splitlines() if line in stages) == stages
