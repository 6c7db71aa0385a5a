"""What ``anya`` prints: sentences and tables for people, one JSON object per line for programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from anya_actors.bootstrap.addresses import Addresses
from anya_actors.domain.machine import AnyaError


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

    def stage(self, name: str, text: str) -> None:
        print_json(event="stage", stage=name, text=text, elapsed_s=self._elapsed())

    def ready(self, addresses: Addresses, facts: dict[str, Any]) -> None:
        print_json(
            event="ready",
            api=addresses.api,
            bitcoin_rpc=addresses.bitcoin_rpc,
            bitcoin_cookie=addresses.bitcoin_cookie,
            elapsed_s=self._elapsed(),
            **facts,
        )

    def failed(self, error: AnyaError) -> None:
        print_json(**as_json(error))

    def _elapsed(self) -> float:
        return round(time.monotonic() - self._began, 3)


class TextProgress:
    """Short lines for a terminal; the time since the start stands in front."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._console = Console(highlight=False, soft_wrap=True)

    def stage(self, name: str, text: str) -> None:
        self._line(text, "dim")

    def ready(self, addresses: Addresses, facts: dict[str, Any]) -> None:
        self._line("The platform is ready.", "bold green")
        rows = [("HTTP API", addresses.api)]
        if addresses.bitcoin_rpc:
            rows += [
                ("Bitcoin RPC", addresses.bitcoin_rpc),
                ("Bitcoin cookie", addresses.bitcoin_cookie or ""),
            ]
        rows += [(name.replace("_", " ").capitalize(), str(value)) for name, value in facts.items()]
        for name, value in rows:
            self._console.print(Text(f"         {name:<16} {value}"))
        self._console.print(Text("         Ctrl-C stops it.", style="dim"))

    def failed(self, error: AnyaError) -> None:
        print_error(error)

    def _line(self, text: str, style: str) -> None:
        self._console.print(
            Text(f"{time.monotonic() - self._began:6.1f} s ", "cyan"), Text(text, style), sep=""
        )


def progress(*, as_json_lines: bool) -> Progress:
    """The way of printing that was asked for."""
    return JsonProgress() if as_json_lines else TextProgress()


def print_json(**fields: Any) -> None:
    """One line, sent at once: whoever reads the pipe waits for it."""
    print(json.dumps(fields), flush=True)


def print_error(error: AnyaError) -> None:
    """The cause and the remedy on standard error, without a traceback."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        Text.assemble(("anya: ", "bold red"), str(error))
    )


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
