"""Platforms as a user starts them: a process of their own, read line by line."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from anya_actors.cli.processes import end_all, of_instance

ANYA = ("-m", "anya_actors.cli.main")


def anya(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ANYA_", "RAY_"))}
    done = subprocess.run(
        [sys.executable, *ANYA, *arguments], capture_output=True, text=True, timeout=120, env=environ
    )
    return done.returncode, done.stdout, done.stderr


class Launched:
    """One launcher, in a process group of its own as a terminal would give it."""

    def __init__(self, data_dir: Path, *arguments: str) -> None:
        self.data_dir = data_dir
        environ = {
            name: value for name, value in os.environ.items() if not name.startswith(("ANYA_", "RAY_"))
        }
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environ,
            process_group=0,
        )
        self.lines: list[dict[str, Any]] = []

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read until this line; fails with what came instead."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"ended with {self.process.wait()}: {self.lines} {self.stderr()}")

    def wait_end(self, timeout_s: float = 60.0) -> int:
        """Its exit code."""
        return self.process.wait(timeout_s)

    def stderr(self) -> str:
        """What it complained about; call when it has ended."""
        assert self.process.stderr is not None
        return self.process.stderr.read()

    def interrupt(self) -> None:
        """Ctrl-C: the terminal signals the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self) -> None:
        """Kill it with all that belongs to it, whatever state it is in."""
        instance = None
        with contextlib.suppress(OSError, ValueError):
            instance = self.instance()
        self.process.kill()
        self.process.communicate()
        if instance is not None:
            end_all(instance, grace_s=0.0)

    def record(self) -> dict[str, Any]:
        """What it wrote for other commands."""
        found: dict[str, Any] = json.loads((self.data_dir / "run" / "platform.json").read_text())
        return found

    def instance(self) -> str:
        """Its mark."""
        return str(self.record()["instance"])


Launch = Callable[..., Launched]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Start launchers; whatever the test leaves is ended."""
    started: list[Launched] = []

    def start(*arguments: str, data_dir: Path = tmp_path / "data") -> Launched:
        started.append(Launched(data_dir, *arguments))
        return started[-1]

    yield start
    for one in started:
        one.end()


def wait_gone(instance: str, known: Collection[psutil.Process] = (), timeout_s: float = 20.0) -> None:
    """Wait until no process bears the mark and none of ``known`` runs.

    A process loses its mark a little before it is gone, so that looking at ``known`` is not the same.
    """
    began = time.monotonic()
    while left := living(of_instance(instance) | set(known)):
        waited = time.monotonic() - began
        assert waited < timeout_s, f"still there after {waited:.1f} s: {left}"
        time.sleep(0.05)


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
