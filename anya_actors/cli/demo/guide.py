"""Who leads the tour: tells what happens, keeps the figures, and stops at the first broken promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rich.console import Console, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from anya_actors.cli.output import print_json
from anya_actors.domain.machine import AnyaError

T = TypeVar("T")

_LOOK_EVERY_S = 0.05


class BrokenPromiseError(AnyaError):
    """The platform did not do what it promises."""

    code = "broken-promise"
    message = "a promise was broken: {} ({})"
    remedy = "This is a fault of the platform; please report it with this output."

    def __init__(self, promise: str, found: str) -> None:
        super().__init__(promise, found)


class Guide:
    """Prints for a person, or one JSON object per line for a program."""

    def __init__(self, *, as_json_lines: bool) -> None:
        self._json = as_json_lines
        self._console = Console(highlight=False)
        self._began = time.monotonic()
        self.figures: dict[str, str] = {}
        self.promises: list[str] = []

    def stop(self, name: str, title: str, why: str) -> None:
        """A new stop of the tour: its stable name, its title, and what there is to see."""
        if self._json:
            print_json(event="stop", stop=name, title=title, elapsed_s=self.elapsed_s())
            return
        self._console.print()
        self._console.print(Panel(Text(why), title=f"[bold]{title}[/]", title_align="left", style="cyan"))

    def tell(self, text: str, **facts: Any) -> None:
        """One thing that was done, with the values that show it."""
        if self._json:
            print_json(event="done", text=text, elapsed_s=self.elapsed_s(), **facts)
            return
        self._console.print(Text.assemble(("  ", ""), ("done ", "green"), text))
        if facts:
            self._console.print(rows({name.replace("_", " "): value for name, value in facts.items()}))

    def note(self, text: str) -> None:
        """Something on the way that is worth a line."""
        if self._json:
            print_json(event="note", text=text, elapsed_s=self.elapsed_s())
        else:
            self._console.print(Text(f"  {self.elapsed_s():4.1f} s  {text}", "dim"))

    def show(self, picture: RenderableType, **facts: Any) -> None:
        """A picture for a person; the same facts for a program."""
        if self._json:
            print_json(event="shown", elapsed_s=self.elapsed_s(), **facts)
        else:
            self._console.print(picture)

    def promise(self, text: str, kept: bool, found: object) -> None:
        """Check one promise; raises `BrokenPromiseError` with what was found instead."""
        if self._json:
            print_json(event="promise", promise=text, kept=kept, found=str(found))
        elif kept:
            self._console.print(Text.assemble(("  ", ""), ("kept ", "bold green"), (text, "bold")))
        if not kept:
            raise BrokenPromiseError(text, str(found))
        self.promises.append(text)

    def wait_until(self, what: str, ask: Callable[[], T | None], timeout_s: float = 30.0) -> T:
        """Ask until there is an answer; raises `BrokenPromiseError` when there is none in time."""
        until = time.monotonic() + timeout_s
        while (answer := ask()) is None:
            if time.monotonic() > until:
                raise BrokenPromiseError(what, f"not within {timeout_s:g} s")
            time.sleep(_LOOK_EVERY_S)
        return answer

    def finish(self) -> None:
        """The figures, and that every promise was kept."""
        self.figures["the whole tour"] = f"{self.elapsed_s():.1f} s"
        if self._json:
            print_json(event="finished", promises_kept=len(self.promises), figures=self.figures)
            return
        self._console.print()
        self._console.print(rows(self.figures))
        self._console.print()
        count = len(self.promises)
        self._console.print(
            Text(f"All {count} promises were kept. Start your own with: anya up", "bold green")
        )

    def elapsed_s(self) -> float:
        """Seconds since the tour began."""
        return round(time.monotonic() - self._began, 2)


def rows(facts: Mapping[str, object]) -> Table:
    """Names and values, one pair a line."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        table.add_row(Text("    " + name, "dim"), Text(shown))
    return table
