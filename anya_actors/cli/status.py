"""``anya status``: the supervision tree of a running platform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from anya_actors.cli.api_client import admin_client
from anya_actors.cli.output import print_json
from anya_actors.config import Settings

_STYLES = {"running": "green", "starting": "yellow", "stopping": "yellow", "waiting": "red"}


def show_status(settings: Settings, *, as_json_lines: bool) -> None:
    """Ask the platform and print one line per actor; raises `NotRunningError` and its like."""
    with admin_client(settings) as client:
        system = client.get("/api/v1/system")
        url = client.url
    if as_json_lines:
        print_json(event="platform", api=url, **_head(system))
        for actor in system["actors"]:
            print_json(event="actor", **actor)
        return
    console = Console(highlight=False)
    head = _head(system)
    console.print(
        f"[bold]{head['name']}[/] {head['platform_version']} is [bold]{head['phase']}[/] at {url}, "
        f"{head['restarts']} restarts"
    )
    console.print(tree_table(system))
    console.print("[dim]* critical   + a standby process waits[/]")


def tree_table(system: Mapping[str, Any]) -> Table:
    """The tree as a table: an actor stands indented under its supervisor."""
    table = Table(
        "Actor", "Status", "Pid", "Epoch", "Restarts", box=None, pad_edge=False, header_style="bold"
    )
    for column in table.columns[2:]:
        column.justify = "right"
    actors = {actor["name"]: actor for actor in system["actors"]}
    for depth, name, strategy in walk(system["tree"]):
        actor = actors.get(name)
        if actor is None:
            table.add_row("  " * depth + f"[dim]{name}  {strategy}[/]")
            continue
        status = actor["status"]
        marks = (" *" if actor["critical"] else "") + (" +" if actor["standby"] else "")
        table.add_row(
            "  " * depth + name + marks,
            f"[{_STYLES.get(status, 'default')}]{status}[/]",
            _or_dash(actor["pid"]),
            _or_dash(actor["epoch"]),
            str(actor["restarts"]),
        )
    return table


def walk(node: Mapping[str, Any] | str, depth: int = 0) -> Iterator[tuple[int, str, str]]:
    """Every node of a tree with its depth and, for a supervisor, its strategy."""
    if isinstance(node, str):
        yield depth, node, ""
        return
    yield depth, node["name"], node["strategy"]
    for child in node["children"]:
        yield from walk(child, depth + 1)


def _head(system: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("name", "platform_version", "phase", "coordinator_pid", "started_unix_ms", "restarts")
    return {key: system[key] for key in keys}


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)
