"""``anya hsm status``, ``seal``, ``unseal``, ``rekey``, ``change-passphrase``."""

from __future__ import annotations

from typing import Annotated

import typer

from anya_actors.cli.hsm_keys import BASE
from anya_actors.cli.options import Config, DataDir, Json, asking
from anya_actors.cli.remote import Remote


@asking
def status(remote: Remote) -> None:
    """Whether the HSM is sealed, how far a rekeying is, and whether its memory is kept out of swap."""
    remote.show(f"{BASE}/seal-status")


@asking
def seal(remote: Remote) -> None:
    """Wipe every key from memory and close every session. Only an unsealing ends it, no restart does."""
    remote.post_and_show(f"{BASE}/seal", {})


@asking
def unseal(remote: Remote) -> None:
    """Have the HSM read its passphrase file, or its shares, and serve."""
    remote.post_and_show(f"{BASE}/unseal", {})


@asking
def rekey(
    remote: Remote,
    master: Annotated[bool, typer.Option("--master", help="Draw a new master key too.")] = False,
) -> None:
    """Wrap every key by a new key-encryption key, while everything goes on; `status` tells how far it is."""
    remote.post_and_show(f"{BASE}/rekey", {"new_master_key": master})


def change_passphrase(
    threshold: Annotated[int, typer.Option("--threshold", min=2, max=16, help="Of shares: how many.")] = 3,
    shares: Annotated[int, typer.Option("--shares", min=2, max=16, help="How many shares to make.")] = 5,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Give the HSM another passphrase, without a restart.

    It is drawn into a file beside the present one (FILE.new), or into a directory of new shares
    (DIRECTORY.new) where the HSM is unsealed by shares; what you put there yourself before is taken
    instead. Then the HSM seals itself by it and puts it in the present one's place. Interrupted at any
    point, the HSM still starts; repeat the command.
    """
    from anya_actors.cli.options import settings_of
    from anya_actors.cli.passphrase import prepare_passphrase

    prepare_passphrase(settings_of(data_dir, config), threshold, shares)
    Remote(data_dir, config, json).post_and_show(f"{BASE}/change-passphrase", {})
