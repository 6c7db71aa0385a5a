"""What commands answer with: tables for people, one JSON object per line in pipes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from anya_actors.cli.api_client import ApiClient
from anya_actors.cli.output import for_terminal, print_json

_PAGE: Final = 500


def show_one(record: Mapping[str, Any], *, as_json_lines: bool) -> None:
    """One thing: its fields under one another, or one line."""
    if as_json_lines or not for_terminal():
        print_json(**record)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in record.items():
        table.add_row(name, cell(value))
    Console(highlight=False).print(table)


def show_many(records: Iterable[Mapping[str, Any]], columns: Sequence[str], *, as_json_lines: bool) -> None:
    """A list: these columns of each as a table, or a line each with every field."""
    if as_json_lines or not for_terminal():
        for record in records:
            print_json(**record)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    found = list(records)
    for column in columns:
        numbers = all(isinstance(record.get(column), int | None) for record in found)
        table.add_column(column, justify="right" if numbers and found else "left", overflow="fold")
    for record in found:
        table.add_row(*(cell(record.get(column)) for column in columns))
    Console(highlight=False).print(table)


def cell(value: object) -> str:
    """A value as people read it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}".replace(",", " ")
        case list() | tuple():
            return "\n".join(cell(item) for item in value) or "-"
        case Mapping():
            return "  ".join(f"{name} {cell(item)}" for name, item in value.items())
    return str(value)


def every_item(client: ApiClient, path: str, **query: Any) -> Iterator[Mapping[str, Any]]:
    """All items of a list that comes in pages."""
    after: str | None = None
    while True:
        cursor = {} if after is None else {"after": after}
        page = client.get(path, limit=_PAGE, **cursor, **query)
        yield from page["items"]
        after = page["next_cursor"]
        if after is None:
            return
