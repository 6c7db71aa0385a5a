"""Finding and ending every process of one platform, however it came loose.

Each process inherits ``ANYA_INSTANCE`` from its launcher. That marks raylet, workers and nodes
alike, also those whose parent is gone. A process that made itself unreadable (an HSM session turns
core dumps off, which hides its environment) is known by its place in the process tree instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

import psutil

MARKER: Final = "ANYA_INSTANCE"
TEMPORARY_PREFIX: Final = "anya-"


def of_instance(instance: str) -> set[psutil.Process]:
    """The marked processes and all their descendants, without this one and its own parents."""
    spared = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        # Zombies, other users' processes and those that just ended are not ours to judge.
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in spared and process.environ().get(MARKER) == instance:
                found.add(process)
    for process in tuple(found):
        found |= descendants(process)
    return {process for process in found if process.pid not in spared}


def descendants(process: psutil.Process) -> set[psutil.Process]:
    """Every living process below this one."""
    try:
        return set(process.children(recursive=True))
    except psutil.Error:
        return set()


def end_all(
    instance: str, *, known: Iterable[psutil.Process] = (), spare: Collection[int] = (), grace_s: float = 2.0
) -> int:
    """End every process of the instance: first asked, after ``grace_s`` killed. Returns how many.

    ``known`` adds processes that cannot be found by their mark. A process is only ever signalled
    while it is the one that was found: psutil compares start times, so a reused pid is safe.
    """
    ended: set[psutil.Process] = set()
    remembered = set(known)
    # A dying worker may have started another; look again until nothing is left.
    for attempt in range(5):
        living = {p for p in remembered if p.is_running()} | of_instance(instance)
        living = {p for p in living if p.pid not in spare and not _is_zombie(p)}
        if not living:
            break
        for process in tuple(living):
            living |= {p for p in descendants(process) if p.pid not in spare}
        _end(living, grace_s if attempt == 0 else 0.0)
        ended |= living
        remembered |= living  # one that is ending has lost its mark already, but is not gone
    return len(ended)


def _end(processes: Collection[psutil.Process], grace_s: float) -> None:
    if grace_s > 0:
        for process in processes:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _wait(processes, grace_s)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait(processes, 2.0)


def _wait(processes: Collection[psutil.Process], timeout_s: float) -> None:
    """Wait without reaping: our own children are reaped by whoever started them."""
    until = time.monotonic() + timeout_s
    while time.monotonic() < until and any(p.is_running() and not _is_zombie(p) for p in processes):
        time.sleep(0.02)


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def clear_temporary(temp_dir: Path, log_dir: Path) -> None:
    """Move Ray's logs of this run to ``log_dir`` and remove the rest of its directory."""
    if not temp_dir.name.startswith(TEMPORARY_PREFIX):
        return  # whatever a damaged record names, it is not a directory of ours
    logs = next(temp_dir.glob("session_[0-9]*/logs"), None)
    if logs is not None:
        shutil.rmtree(log_dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            shutil.move(logs, log_dir)
    shutil.rmtree(temp_dir, ignore_errors=True)
