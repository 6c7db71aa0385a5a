"""A process whose files may not grow any more after a while: what a full disk looks like to it.

Run as ``python full_disk.py rocksdb|files FOLDER``; says what it got through.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.ports.append_log import LogFullError
from anya_actors.ports.state_store import Applied, Commit, StoreFullError

UNLIMITED = resource.RLIM_INFINITY
SIZE = 5_000


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, UNLIMITED))


async def rocksdb(folder: Path) -> None:
    stores = RocksdbStateStores(folder)
    store = await stores.activate("victim/1")
    acknowledged: set[int] = set()
    refused: list[AnyaError] = []

    async def write(number: int) -> None:
        try:
            await store.commit(Commit(f"k{number}", 0, bytes(SIZE), f"m{number}", events=(b"%d" % number,)))
        except (StoreFullError, UnavailableError) as error:
            refused.append(error)
        else:
            acknowledged.add(number)

    limit_files(200_000)
    for start in range(0, 100, 5):
        await asyncio.gather(*(write(number) for number in range(start, start + 5)))
    assert any(isinstance(error, StoreFullError) for error in refused), refused
    assert 10 < len(acknowledged) < 100
    assert len(acknowledged) + len(refused) == 100
    sys.stdout.write("refused\n")

    limit_files(UNLIMITED)
    await write(1000)
    assert 1000 in acknowledged, refused[-1]
    sys.stdout.write("recovered\n")

    await store.close()
    store = await stores.activate("victim/1")
    keys = {int(key[1:]) for key in await store.keys()}
    assert acknowledged <= keys
    events = await store.events_after(0, 1000)
    assert [event.sequence for event in events] == list(range(1, len(keys) + 1))
    assert {int(event.event) for event in events} == keys
    for number in range(100):
        assert (await store.applied(f"m{number}") == Applied(b"", b"")) == (number in keys)
    await store.close()
    sys.stdout.write("reopened\n")


async def files(folder: Path) -> None:
    log = await FileAppendLog.open(SystemDisk(folder), "log")
    limit_files(100_000)
    acknowledged = 0
    try:
        while True:
            await log.append(b"%d" % acknowledged * SIZE)
            acknowledged += 1
    except LogFullError:
        assert len(log) == acknowledged > 3
    sys.stdout.write("refused\n")
    limit_files(UNLIMITED)
    assert await log.append(b"after") == acknowledged
    sys.stdout.write("recovered\n")
    await log.close()
    log = await FileAppendLog.open(SystemDisk(folder), "log")
    assert await log.read(0, 1000) == [*(b"%d" % n * SIZE for n in range(acknowledged)), b"after"]
    await log.close()
    sys.stdout.write("reopened\n")


signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
asyncio.run({"rocksdb": rocksdb, "files": files}[sys.argv[1]](Path(sys.argv[2])))
