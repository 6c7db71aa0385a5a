"""``anya hsm session``: the sessions that are open, through the HTTP API of a running platform."""

from __future__ import annotations

from typing import Annotated

import typer

from anya_actors.cli.hsm_keys import BASE
from anya_actors.cli.options import Config, DataDir, Json
from anya_actors.cli.remote import Remote

app = typer.Typer(help="Open sessions.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_sessions(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Every open session, and the keys that its process may hold."""
    columns = ("session_id", "owner", "keys", "opened_unix_ms", "idle_timeout_s", "absolute_timeout_s")
    Remote(data_dir, config, json).show_items(f"{BASE}/sessions", columns)


@app.command()
def close(
    session_id: Annotated[str, typer.Argument(metavar="SESSION_ID")],
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Close a session at once: what it has not answered yet is refused."""
    Remote(data_dir, config, False).delete(f"{BASE}/sessions/{session_id}")
