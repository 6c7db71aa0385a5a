"""A small process that outlives its launcher just long enough to clean up after it.

The launcher starts it first and keeps a pipe to its standard input. When the launcher dies, however
it dies, the kernel closes the pipe; the watchdog then ends every process of the instance and removes
its temporary directory. The byte ``q`` says that there is nothing left to clean. It also inherits
the data directory's lock, so that no new platform starts beside the remains of the old one.

It imports no Ray and costs one look at the process table every two seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from anya_actors.cli.processes import clear_temporary, descendants, end_all

_LOOK_EVERY_S = 2.0
_QUIT = b"q"


class Watchdog:
    """The launcher's end of the pipe."""

    def __init__(self, instance: str, temp_dir: Path, log_dir: Path, lock: int) -> None:
        """Start the watching process. ``lock`` is the descriptor of the data directory's lock."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "anya_actors.cli.watchdog"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock,),
            start_new_session=True,  # a Ctrl-C in the terminal is not for it
        )
        task = {
            "instance": instance,
            "launcher": os.getpid(),
            "temp_dir": str(temp_dir),
            "log_dir": str(log_dir),
        }
        assert self._process.stdin is not None  # noqa: S101 - Popen was given a pipe
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        """The watching process."""
        return self._process.pid

    def dismiss(self) -> None:
        """Say that everything is clean, and wait until the watching process has gone."""
        with contextlib.suppress(OSError):
            self._process.communicate(_QUIT, timeout=5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def watch() -> None:
    """Wait for the launcher's end, then clean up. The whole life of the watching process."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    pipe = sys.stdin.fileno()
    task = json.loads(_read_line(pipe))
    launcher = psutil.Process(task["launcher"])
    seen: set[psutil.Process] = set()
    while True:
        readable, _, _ = select.select([pipe], [], [], _LOOK_EVERY_S)
        if readable:
            if os.read(pipe, 1) == _QUIT:
                return
            break
        seen = {process for process in seen if process.is_running()} | descendants(launcher)
    seen.discard(psutil.Process())
    end_all(task["instance"], known=seen)
    clear_temporary(Path(task["temp_dir"]), Path(task["log_dir"]))


def _read_line(pipe: int) -> bytes:
    """Byte by byte: a buffered reader would swallow what `select` is to see."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(pipe, 1)
        if not byte:
            sys.exit(0)  # the launcher died before it had started anything
        line += byte
    return line


if __name__ == "__main__":
    watch()
