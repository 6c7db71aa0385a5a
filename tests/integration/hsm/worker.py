"""An HSM and one session on a real disk, signing until it is killed. Started by test_kill.py.

Writes a line for every answer: what was acknowledged must be there afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.testing.local_hsm import LocalHsm


async def bench_at(folder: Path) -> LocalHsm:
    log = await FileAppendLog.open(SystemDisk(folder), "audit.log")
    return LocalHsm(stores=RocksdbStateStores(folder / "state"), log=log, clock=SystemClock())


def answer(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def work(folder: Path, life: int) -> None:
    bench = await bench_at(folder)
    hsm = await bench.start()
    number = 0
    while True:
        name = f"key-{life}-{number}"
        view = await hsm.create_key(name, "ed25519", "alice", message_id=name)
        answer("key", name, view.public_key)
        session = await hsm.open_session("alice", (name,), message_id=f"open {name}")
        signed = await asyncio.gather(
            *(bench.actors.call(session.actor, "sign", name, b"%d" % n, "ed25519") for n in range(4))
        )
        answer("signed", name, str(len(signed)))
        await hsm.close_session(session.session_id, message_id=f"close {name}")
        number += 1


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2])))
