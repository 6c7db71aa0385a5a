"""``anya hsm client``: programs that get access tokens by a secret of their own."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from anya_actors.cli.options import Config, DataDir, asking
from anya_actors.cli.remote import Remote, at

CLIENTS: Final = "/api/v1/security/clients"

client_app = typer.Typer(
    help="Clients: programs that get tokens by a secret.", no_args_is_help=True, rich_markup_mode=None
)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT")]


@client_app.command()
@asking
def create(
    remote: Remote,
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
) -> None:
    """Register a client and show its secret, once."""
    body = {
        "client_id": client_id,
        "subject": subject or None,
        "scopes": scopes.replace(",", " ").split(),
        "roles": role or [],
        "ttl_s": ttl,
    }
    remote.post_and_show(CLIENTS, body)


@client_app.command("list")
@asking
def list_clients(remote: Remote) -> None:
    """Every client, without its secrets."""
    columns = ("client_id", "subject", "scopes", "roles", "ttl_s", "enabled", "used_unix_ms")
    remote.show_items(CLIENTS, columns)


@client_app.command()
@asking
def rotate(
    remote: Remote,
    client_id: ClientId,
    overlap: Annotated[
        int, typer.Option("--overlap", min=0, help="Seconds for which the other secrets still hold.")
    ] = 0,
) -> None:
    """Give a client another secret and show it, once."""
    remote.post_and_show(_path(client_id, "rotate"), {"overlap_s": overlap})


@client_app.command()
@asking
def disable(remote: Remote, client_id: ClientId) -> None:
    """Give a client no more tokens, and end those it has; done when no door takes them any more."""
    remote.post_and_show(_path(client_id, "disable"), {})


@client_app.command()
@asking
def enable(remote: Remote, client_id: ClientId) -> None:
    """Let a disabled client get tokens again."""
    remote.post_and_show(_path(client_id, "enable"), {})


@client_app.command()
def delete(client_id: ClientId, data_dir: DataDir = None, config: Config = None) -> None:
    """Delete a client and end its tokens; done when no door takes them any more."""
    Remote(data_dir, config, as_json_lines=False).delete(_path(client_id))


def _path(client_id: str, *change: str) -> str:
    return at(CLIENTS, client_id, *change)
