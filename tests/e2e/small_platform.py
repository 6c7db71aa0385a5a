"""``anya up`` around a platform of three plain actors: what the launcher owes, without the rest.

One actor starts a process in a session of its own, as a node would; one makes itself unreadable,
as an HSM session does; one hangs and hears no SIGTERM.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

from anya_actors.bootstrap.addresses import Addresses
from anya_actors.cli.output import JsonProgress
from anya_actors.cli.platform import Report
from anya_actors.cli.up import run
from anya_actors.config import Settings, load_settings
from anya_actors.domain.machine import AnyaError

_PR_SET_DUMPABLE = 4


class Child:
    """An actor that does as its name says."""

    def start(self, what: str) -> list[int]:
        """Begin; the pids that now belong to the platform."""
        pids = [os.getpid()]
        if what == "node":
            sleeper = subprocess.Popen(["sleep", "600"], start_new_session=True)
            pids.append(sleeper.pid)
        if what == "secretive":
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
        return pids

    def hang(self) -> NoReturn:
        """Never return, and let no signal through that can be held back."""
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        while True:
            signal.pause()


class SmallPlatform:
    """Three children."""

    def __init__(self, api: str, children: list[Any]) -> None:
        self.addresses = Addresses(api=api)
        self._children = children

    async def issue_token(self, subject: str, scopes: tuple[str, ...], ttl_s: int) -> str:
        """A token that nobody accepts."""
        return f"{subject}:{' '.join(scopes)}:{ttl_s}"

    async def unseal(self) -> None:
        """It has no HSM."""

    async def wait_failed(self) -> AnyaError:
        """Never."""
        await asyncio.Event().wait()
        raise AssertionError

    async def stop(self) -> None:
        """Kill the children, unless the stop is to hang."""
        if "hang-at-stop" in sys.argv:
            await asyncio.Event().wait()
        import ray

        for child in self._children:
            ray.kill(child)


async def start(settings: Settings, report: Report) -> SmallPlatform:
    """Start the children and write their pids down for the test."""
    # Not before: Ray reads its environment when it is imported, and the launcher sets it.
    import ray

    report("actors", "Starting three actors")
    make: Any = ray.remote(num_cpus=0)(Child)
    children = [make.remote() for _ in range(3)]
    names = ("node", "secretive", "hung")
    pids = await asyncio.gather(*(c.start.remote(n) for c, n in zip(children, names, strict=True)))
    children[2].hang.remote()
    listing = " ".join(str(pid) for group in pids for pid in group)
    (settings.data_dir / "pids").write_text(listing)
    return SmallPlatform(f"http://{settings.api.host}:{settings.api.port}", children)


if __name__ == "__main__":
    sys.exit(run(load_settings(flags={"data_dir": Path(sys.argv[1]), "api.port": 0}), JsonProgress(), start))
