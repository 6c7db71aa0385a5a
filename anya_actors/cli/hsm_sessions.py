"""``anya hsm session``: the sessions that are open, through the HTTP API of a running platform."""

from __future__ import annotations

from typing import Annotated

import typer

from anya_actors.cli.hsm_keys import BASE
from anya_actors.cli.options import Config, DataDir, asking
from anya_actors.cli.remote import Remote, at

app = typer.Typer(help="Open sessions.", no_args_is_help=True, rich_markup_mode=None)

SessionId = Annotated[str, typer.Argument(metavar="SESSION_ID")]
Keys = Annotated[list[str], typer.Argument(metavar="KEY...")]


@app.command("list")
@asking
def list_sessions(remote: Remote) -> None:
    """Every open session, and the keys that its process may hold."""
    times = ("opened_unix_ms", "idle_timeout_s", "absolute_timeout_s")
    columns = ("session_id", "owner", "keys", *times, "hardening_refused")
    remote.show_items(f"{BASE}/sessions", columns)


@app.command("open")
@asking
def open_session(remote: Remote, keys: Keys) -> None:
    """Open a session: a process of its own that holds these keys, until it is closed or idle too long."""
    remote.post_and_show(f"{BASE}/sessions", {"keys": keys})


@app.command()
@asking
def extend(remote: Remote, session_id: SessionId, keys: Keys) -> None:
    """Have an open session hold more keys of its owner."""
    place = at(BASE, "sessions", session_id, "keys")
    remote.post_and_show(place, {"keys": keys})


@app.command()
def close(
    session_id: SessionId,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Close a session at once: what it has not answered yet is refused."""
    Remote(data_dir, config, False).delete(at(BASE, "sessions", session_id))
