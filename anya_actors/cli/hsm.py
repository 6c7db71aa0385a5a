"""``anya hsm``: the audit trail of a running platform's HSM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from anya_actors.cli.options import Config, DataDir, Json
from anya_actors.cli.remote import Remote

BASE: Final = "/api/v1/security"

app = typer.Typer(help="The HSM.", no_args_is_help=True, rich_markup_mode=None)
audit_app = typer.Typer(help="The audit trail.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit_app, name="audit")

Since = Annotated[
    Path | None,
    typer.Option("--since", metavar="FILE", help="A checkpoint saved earlier: show that it still holds."),
]


@audit_app.command("list")
def list_entries(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Every entry, oldest first: who did what with which key."""
    columns = ("sequence", "owner", "operation", "key", "key_version", "algorithm", "count", "outcome")
    Remote(data_dir, config, json).show_items(f"{BASE}/audit", columns)


@audit_app.command()
def verify(since: Since = None, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Recompute the whole chain; an error names the first entry that was altered, removed or moved."""
    from anya_actors.cli.audit_checks import check_checkpoint, check_consistency

    remote = Remote(data_dir, config, json)
    report: dict[str, Any] = remote.get(f"{BASE}/audit/verify")
    checkpoint = remote.get(f"{BASE}/audit/checkpoint")
    check_checkpoint(checkpoint)
    if since is not None:
        check_consistency(remote, since, checkpoint["key"])
    remote.show_record(report | {"root": checkpoint["root"]})


@audit_app.command("checkpoint")
def checkpoint_command(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The HSM's signature for its log as it is now; saved elsewhere, it witnesses against rewriting."""
    Remote(data_dir, config, json).show(f"{BASE}/audit/checkpoint")


@audit_app.command()
def proof(
    sequence: Annotated[int, typer.Argument(min=1, metavar="SEQUENCE")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Proof that the HSM signs for an entry, checked before it is printed."""
    from anya_actors.cli.audit_checks import check_inclusion

    remote = Remote(data_dir, config, json)
    found = remote.get(f"{BASE}/audit/{sequence}/proof")
    check_inclusion(found, sequence)
    remote.show_record(found)
