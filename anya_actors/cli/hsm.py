"""``anya hsm``: keys, operations and the audit trail of a running platform's HSM; its passphrase's shares."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from anya_actors.cli import hsm_approvals, hsm_keys, hsm_operations, hsm_seal, hsm_sessions
from anya_actors.cli.hsm_keys import BASE
from anya_actors.cli.hsm_metrics import metrics
from anya_actors.cli.options import Config, DataDir, Json, asking
from anya_actors.cli.remote import Remote

app = typer.Typer(help="The HSM.", no_args_is_help=True, rich_markup_mode=None)
audit_app = typer.Typer(help="The audit trail.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(audit_app, name="audit")
app.command()(metrics)
app.command("keys")(hsm_keys.list_keys)
app.command("wrapping-key")(hsm_keys.wrapping_key)
hsm_keys.app.command()(hsm_approvals.approve)
hsm_keys.app.command("approvals")(hsm_approvals.key_approvals)
hsm_keys.app.command()(hsm_operations.xpub)
app.add_typer(hsm_keys.app, name="key")
app.command()(hsm_approvals.approvals)
app.add_typer(hsm_sessions.app, name="session")
app.add_typer(hsm_operations.app)
app.command()(hsm_seal.status)
app.command()(hsm_seal.seal)
app.command()(hsm_seal.unseal)
app.command()(hsm_seal.rekey)
app.command()(hsm_seal.change_passphrase)

Since = Annotated[
    Path | None,
    typer.Option("--since", metavar="FILE", help="A checkpoint saved earlier: show that it still holds."),
]


@audit_app.command("list")
@asking
def list_entries(remote: Remote) -> None:
    """Every entry, oldest first: who did what with which key."""
    columns = ("sequence", "owner", "operation", "key", "key_version", "algorithm", "count", "outcome")
    remote.show_items(f"{BASE}/audit", columns)


@audit_app.command()
@asking
def verify(remote: Remote, since: Since = None) -> None:
    """Recompute the whole chain; an error names the first entry that was altered, removed or moved."""
    from anya_actors.cli.audit_checks import check_checkpoint, check_consistency

    report: dict[str, Any] = remote.get(f"{BASE}/audit/verify")
    checkpoint = remote.get(f"{BASE}/audit/checkpoint")
    check_checkpoint(checkpoint)
    if since is not None:
        check_consistency(remote, since, checkpoint["key"])
    remote.show_record(report | {"root": checkpoint["root"]})


@audit_app.command("checkpoint")
@asking
def checkpoint_command(remote: Remote) -> None:
    """The HSM's signature for its log as it is now; saved elsewhere, it witnesses against rewriting."""
    remote.show(f"{BASE}/audit/checkpoint")


@audit_app.command()
@asking
def proof(remote: Remote, sequence: Annotated[int, typer.Argument(min=1, metavar="SEQUENCE")]) -> None:
    """Proof that the HSM signs for an entry, checked before it is printed."""
    from anya_actors.cli.audit_checks import check_inclusion

    found = remote.get(f"{BASE}/audit/{sequence}/proof")
    check_inclusion(found, sequence)
    remote.show_record(found)


@app.command("split-passphrase")
def split_passphrase(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the share files go.")],
    threshold: Annotated[int, typer.Option("--threshold", min=2, max=16, help="How many must meet.")] = 3,
    shares: Annotated[int, typer.Option("--shares", min=2, max=16, help="How many there are.")] = 5,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Split the passphrase into k-of-n shares (SLIP-0039). Needs no running platform.

    Give each share to another person, bring enough of them into one directory, name it as
    hsm.share_directory, and remove the passphrase file.
    """
    from anya_actors.cli.options import settings_of
    from anya_actors.cli.passphrase import write_shares

    paths = write_shares(settings_of(data_dir, config).passphrase_file, directory, threshold, shares)
    rows = [{"share": str(path), "threshold": threshold} for path in paths]
    Remote(data_dir, config, json).show_part(rows, ("share", "threshold"))
