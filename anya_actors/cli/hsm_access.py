"""``anya hsm client``: programs that get access tokens by a secret of their own."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import quote

import typer

from anya_actors.cli.options import Config, DataDir, Json
from anya_actors.cli.remote import Remote

CLIENTS: Final = "/api/v1/security/clients"

client_app = typer.Typer(
    help="Clients: programs that get tokens by a secret.", no_args_is_help=True, rich_markup_mode=None
)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT")]


@client_app.command()
def create(
    client_id: ClientId,
    scopes: Annotated[
        str, typer.Option("--scopes", help="What it may have, separated by commas or spaces.")
    ] = "",
    role: Annotated[
        list[str] | None, typer.Option("--role", help="A set of scopes, like signer; repeatable.")
    ] = None,
    ttl: Annotated[int, typer.Option("--ttl", min=1, help="Seconds until a token of it expires.")] = 3600,
    subject: Annotated[
        str, typer.Option("--subject", help="Whom its tokens speak for; by default itself.")
    ] = "",
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Register a client and show its secret, once."""
    body = {
        "client_id": client_id,
        "subject": subject or None,
        "scopes": scopes.replace(",", " ").split(),
        "roles": role or [],
        "ttl_s": ttl,
    }
    Remote(data_dir, config, json).post_and_show(CLIENTS, body)


@client_app.command("list")
def list_clients(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Every client, without its secrets."""
    columns = ("client_id", "subject", "scopes", "roles", "ttl_s", "enabled", "used_unix_ms")
    Remote(data_dir, config, json).show_items(CLIENTS, columns)


@client_app.command()
def rotate(
    client_id: ClientId,
    overlap: Annotated[
        int, typer.Option("--overlap", min=0, help="Seconds for which the other secrets still hold.")
    ] = 0,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Give a client another secret and show it, once."""
    Remote(data_dir, config, json).post_and_show(_path(client_id, "/rotate"), {"overlap_s": overlap})


@client_app.command()
def disable(client_id: ClientId, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Give a client no more tokens, and end those it has; done when no door takes them any more."""
    Remote(data_dir, config, json).post_and_show(_path(client_id, "/disable"), {})


@client_app.command()
def enable(client_id: ClientId, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Let a disabled client get tokens again."""
    Remote(data_dir, config, json).post_and_show(_path(client_id, "/enable"), {})


@client_app.command()
def delete(client_id: ClientId, data_dir: DataDir = None, config: Config = None) -> None:
    """Delete a client and end its tokens; done when no door takes them any more."""
    Remote(data_dir, config, as_json_lines=False).delete(_path(client_id))


def _path(client_id: str, change: str = "") -> str:
    return f"{CLIENTS}/{quote(client_id, safe='')}{change}"
