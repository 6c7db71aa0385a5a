"""Hardening of a process that holds keys, by prctl, rlimits and mlock."""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

# linux/prctl.h
_PR_SET_DUMPABLE: Final = 4


class LinuxProcessGuard:
    """No core dumps, and no ptrace or /proc/<pid>/mem by other processes of the same user.

    Root can still read the memory: against root a software HSM has nothing to offer.
    """

    def harden(self) -> tuple[str, ...]:
        """Harden this process; the names of what the system refused."""
        refused: list[str] = []
        try:
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0 if hard != 0 else hard))
        except (OSError, ValueError):
            refused.append("core dumps stay on")
        libc = _libc()
        if libc is None or libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
            refused.append("the process stays readable by its user")
        return tuple(refused)

    def lock(self, buffer: bytearray) -> bool:
        """``mlock`` the pages of the buffer."""
        libc = _libc()
        if libc is None or not buffer:
            return False
        window = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        try:
            return bool(libc.mlock(ctypes.byref(window), ctypes.c_size_t(len(buffer))) == 0)
        finally:
            del window  # the buffer cannot be resized while it is exported


def _libc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:
        return None
