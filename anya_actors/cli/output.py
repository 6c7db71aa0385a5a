"""What ``anya`` prints: sentences and tables for people, one JSON object per line for programs."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

import msgspec
from rich.console import Console
from rich.text import Text

from anya_actors.bootstrap.addresses import Addresses
from anya_actors.domain.machine import AnyaError

# What people are shown; programs get every address.
_DOORS: Final = {
    "api": "HTTP API",
    "transit": "Transit",
    "bitcoin_rpc": "Bitcoin RPC",
    "bitcoin_cookie": "Bitcoin cookie",
    "esplora": "Esplora",
    "electrum": "Electrum",
    "zmq_sequence": "ZMQ",
}


class Progress(Protocol):
    """Told what a starting platform does."""

    def stage(self, name: str, text: str) -> None:
        """A new stage has begun: its stable name, and a sentence for a person."""

    def ready(self, addresses: Addresses, facts: dict[str, Any]) -> None:
        """Everything serves."""

    def failed(self, error: AnyaError) -> None:
        """It ends here, because of this."""


class JsonProgress:
    """One JSON object per line on standard output."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._out = _own_copy(sys.stdout)

    def stage(self, name: str, text: str) -> None:
        self._line(event="stage", stage=name, text=text, elapsed_s=self._elapsed())

    def ready(self, addresses: Addresses, facts: dict[str, Any]) -> None:
        where = msgspec.structs.asdict(addresses)
        self._line(event="ready", **where, elapsed_s=self._elapsed(), **facts)

    def failed(self, error: AnyaError) -> None:
        self._line(**as_json(error))

    def _line(self, **fields: Any) -> None:
        with contextlib.suppress(OSError):  # nobody reads any more; that must not stop the platform
            print(json.dumps(fields), file=self._out, flush=True)

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 3)


class TextProgress:
    """Short lines for a terminal; the time since the start stands in front."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._console = Console(file=_own_copy(sys.stdout), highlight=False, soft_wrap=True)
        self._complaints = Console(file=_own_copy(sys.stderr), highlight=False, soft_wrap=True)

    def stage(self, name: str, text: str) -> None:
        self._line(text, "dim")

    def ready(self, addresses: Addresses, facts: dict[str, Any]) -> None:
        self._line("The platform is ready.", "bold green")
        doors = ((title, getattr(addresses, name)) for name, title in _DOORS.items())
        rows = [(title, address) for title, address in doors if address is not None]
        rows += [(name.replace("_", " ").capitalize(), str(value)) for name, value in facts.items()]
        for name, value in rows:
            self._console.print(Text(f"         {name:<16} {value}"))
        self._console.print(Text("         Ctrl-C stops it.", style="dim"))

    def failed(self, error: AnyaError) -> None:
        self._complaints.print(_complaint(error))

    def _line(self, text: str, style: str) -> None:
        since = f"{time.monotonic() - self._began:6.1f} s "
        with contextlib.suppress(OSError):  # the terminal is gone; that must not stop the platform
            self._console.print(Text.assemble((since, "cyan"), (text, style)))


def progress(*, as_json_lines: bool) -> Progress:
    """The way of printing that was asked for."""
    return JsonProgress() if as_json_lines else TextProgress()


@contextlib.contextmanager
def standard_streams_to(path: Path) -> Iterator[None]:
    """Send what libraries and their C++ print to a file, so that users see our words alone.

    A `Progress` made before keeps to where the streams led then.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = [(number, os.dup(number)) for number in (1, 2)]
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("ab") as file:
        os.truncate(file.fileno(), 0)
        for number, _ in kept:
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)


def _own_copy(stream: TextIO) -> TextIO:
    try:
        return os.fdopen(os.dup(stream.fileno()), "w", encoding=stream.encoding, buffering=1)
    except (OSError, ValueError):  # replaced by something without a descriptor
        return stream


def print_json(**fields: Any) -> None:
    """One line, sent at once: whoever reads the pipe waits for it."""
    print(json.dumps(fields), flush=True)


def print_error(error: AnyaError) -> None:
    """The cause and the remedy on standard error, without a traceback."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(_complaint(error))


def _complaint(error: AnyaError) -> Text:
    return Text.assemble(("anya: ", "bold red"), str(error))


def as_json(error: AnyaError) -> dict[str, Any]:
    """An error as a line for programs."""
    return {
        "event": "error",
        "code": error.code,
        "message": error.message.format(*error.args),
        "remedy": error.remedy,
    }


def for_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()
