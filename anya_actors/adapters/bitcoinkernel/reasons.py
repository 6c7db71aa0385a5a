"""Why the kernel refused a block: it says so only in its log."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pbk

from anya_actors.ports.consensus import EngineFailedError

_FAILED: Final = re.compile(
    r"ConnectBlock [0-9a-f]{64} failed, (?P<connect>.+)$|AcceptBlock FAILED \((?P<accept>.+)\)\s*$"
)

# Reject reasons are words joined by hyphens; what a broken disk causes is told in sentences.
_RULE: Final = re.compile(r"(?:duplicate|[a-z]+(?:-[A-Za-z0-9]+)+)(?: ?\(|$)")

_heard = threading.local()
_connection: pbk.LoggingConnection | None = None
_connecting = threading.Lock()


def _hear(line: str) -> None:
    # The kernel logs in the thread that called it: lines of other engines go to their own callers.
    lines: list[str] | None = getattr(_heard, "lines", None)
    if lines is not None:
        lines.append(line)


def listen() -> None:
    """Connect to the kernel's log, once a process. It also keeps the kernel off standard output."""
    global _connection
    with _connecting:
        if _connection is None:
            _connection = pbk.LoggingConnection(_hear)


@contextmanager
def heard_lines() -> Iterator[list[str]]:
    """The lines that the kernel logs in this thread meanwhile."""
    lines: list[str] = []
    _heard.lines = lines
    try:
        yield lines
    finally:
        _heard.lines = None


def reason_in(lines: list[str], block_hash: str) -> tuple[str, str]:
    """Reject reason and detail about this block.

    Raises `EngineFailedError` if the kernel named no rule: then it could not judge, for want of
    disk space say, and the block may well be valid.
    """
    about = [line for line in lines if "ConnectBlock" in line and block_hash in line]
    for line in [*about, *reversed(lines)]:
        match = _FAILED.search(line.strip())
        if match:
            reason, _, detail = (match["connect"] or match["accept"]).partition(", ")
            if _RULE.match(reason) is None:
                raise EngineFailedError("judge a block", reason)
            return reason.strip(), detail.strip()
    raise EngineFailedError("judge a block", lines[-1].strip() if lines else "it does not say why")
