"""A process that writes to a store or a log as fast as it can and says what was acknowledged.

Run as ``python writer.py rocksdb|files FOLDER FIRST``. Every acknowledged number is written to
standard output only after the write returned. Its parent kills it at a random moment.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.ports.state_store import Commit

WRITERS = 8


async def rocksdb_write(folder: Path) -> Callable[[int], Awaitable[None]]:
    store = await RocksdbStateStores(folder).activate("victim/1")

    async def write(number: int) -> None:
        text = b"%d" % number
        # Two keys' worth of content in one commit: a torn batch would show.
        await store.commit(Commit(f"k{number}", 0, text * 20, f"m{number}", commands=(text,), events=(text,)))

    return write


async def files_write(folder: Path) -> Callable[[int], Awaitable[None]]:
    log = await FileAppendLog.open(SystemDisk(folder), "log")

    async def write(number: int) -> None:
        await log.append(b"%d" % number, b"again %d" % number)

    return write


async def main() -> None:
    kind, folder, first = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    write = await (rocksdb_write if kind == "rocksdb" else files_write)(folder)
    numbers: Iterator[int] = itertools.count(first)

    async def work() -> None:
        for number in numbers:
            await write(number)
            os.write(1, b"%d\n" % number)

    await asyncio.gather(*(work() for _ in range(WRITERS)))


asyncio.run(main())
