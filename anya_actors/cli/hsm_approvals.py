"""``anya hsm approvals`` and ``anya hsm key approve``: m-of-n approvals of guarded operations.

An approval is an approver's own word: whose it is, the access token says. The command line's own token is
the administrator's, so others bring theirs by ``--token-file``, and by ``--api`` from another machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from anya_actors.cli.binary import bytes_of
from anya_actors.cli.hsm_keys import BASE, Name, place_of
from anya_actors.cli.options import Api, Config, DataDir, Json, TokenFile
from anya_actors.cli.remote import Remote

OPERATIONS: Final = "destroy|delete|export|rotate|configure|sign|encrypt|decrypt|derive"
COLUMNS: Final = ("operation", "approver", "digest", "uses", "expires_unix_ms")
PENDING: Final = ("key", "operation", "needed", "missing", "given_by", "approvers")


def approve(
    name: Name,
    operation: Annotated[str, typer.Argument(metavar=OPERATIONS)],
    digest: Annotated[
        str, typer.Option("--digest", metavar="HEX", help="For the message with this SHA-256 alone.")
    ] = "",
    message_file: Annotated[
        Path | None,
        typer.Option("--message-file", metavar="FILE", help="For this message alone; - for stdin."),
    ] = None,
    uses: Annotated[int, typer.Option("--uses", min=1, help="How often it can be used.")] = 1,
    ttl: Annotated[int, typer.Option("--ttl", min=1, help="Seconds until it ends.")] = 3600,
    token_file: TokenFile = None,
    api: Api = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Approve a guarded operation, as one of the key's approvers; that cannot be taken back.

    A message is what is signed or decrypted, or the public key that is agreed with, as it is sent.
    """
    if digest and message_file is not None:
        raise typer.BadParameter("name --digest or --message-file")
    if message_file is not None:
        digest = sha256(bytes_of(None, message_file)).hexdigest()
    body = {"operation": operation, "digest_hex": digest, "uses": uses, "ttl_s": ttl}
    remote = Remote(data_dir, config, json, token_file, api)
    remote.post_and_show(place_of(name, "approvals", "given"), body)


def key_approvals(
    name: Name,
    token_file: TokenFile = None,
    api: Api = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """What was approved of a key and is not used yet; for its owner and its approvers."""
    remote = Remote(data_dir, config, json, token_file, api)
    remote.show_part(remote.get(place_of(name, "approvals"))["items"], COLUMNS)


def approvals(
    token_file: TokenFile = None,
    api: Api = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Every guarded operation of the keys that one sees: who has approved it, how many still must."""
    remote = Remote(data_dir, config, json, token_file, api)
    rows: list[dict[str, Any]] = []
    for key in remote.items(f"{BASE}/keys"):
        guarded = key["policy"].get("guarded", ())  # a policy shows what it binds
        if guarded:
            given = remote.get(place_of(key["name"], "approvals"))["items"]
            rows += [row_of(key, operation, given) for operation in guarded]
    remote.show_part(rows, PENDING)


def row_of(key: Mapping[str, Any], operation: str, given: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One guarded operation of a key. An approval for one message counts for that, and is not in the sum."""
    policy = key["policy"]
    fitting = [each for each in given if each["operation"] == operation]
    for_any = {each["approver"] for each in fitting if not each["digest"]}
    shown = [each["approver"] + (f" for {each['digest']}" if each["digest"] else "") for each in fitting]
    return {
        "key": key["name"],
        "operation": operation,
        "needed": policy["approvals_needed"],
        "missing": max(0, policy["approvals_needed"] - len(for_any)),
        "given_by": shown,
        "approvers": policy["approvers"],
    }
