"""``anya hsm key``: the life of keys, through the HTTP API of a running platform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import typer

from anya_actors.cli.binary import Base64, bytes_in, bytes_of, read_printed, written
from anya_actors.cli.options import Config, DataDir, asking
from anya_actors.cli.remote import Remote, at

BASE: Final = "/api/v1/security"

app = typer.Typer(help="Keys and their life.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="KEY")]
KeyType = Annotated[str, typer.Option("--type", help="Such as ed25519, secp256k1, bip32, aes256-gcm.")]
Allowed = Annotated[
    list[str] | None, typer.Option("--allow", help="sign, verify, encrypt, decrypt or derive; repeatable.")
]
Owner = Annotated[str | None, typer.Option("--owner", help="Whose key it is, if not yours.")]
Policy = Annotated[
    list[str] | None,
    typer.Option(
        "--policy",
        metavar="NAME=VALUE",
        help="A bound, repeatable: exportable=true, expires_unix_ms=…, rate_per_s=…, encryption_limit=…, "
        "counter_nonces=true, paths=m/84h/0h/0h,…, deletion_wait_s=…, deletion_allowed=false, "
        "guarded=rotate,…, approvers=alice,…, approvals_needed=…, auto_rotate_s=…, "
        "derived=true, convergent=true, backup=true, every_version=true",
    ),
]
Digest = Annotated[str, typer.Option("--digest", help="Of RSA-OAEP: sha1, sha256, sha384 or sha512.")]
KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="It holds the key; - for stdin.")]
Form = Annotated[str, typer.Option("--form", help="raw, pkcs8, seed, mnemonic or extended-private-key.")]
AsHex = Annotated[bool, typer.Option("--hex", help="The file holds hex.")]
Passphrase = Annotated[Path | None, typer.Option("--passphrase-file", help="A mnemonic's own passphrase.")]
Wrapped = Annotated[bool, typer.Option("--wrapped", help="The file holds a key wrapped to 'wrapping-key'.")]
_LISTS: Final = ("paths", "guarded", "approvers")


def place_of(name: str, *rest: str) -> str:
    """Where the API has a key, or a part of it."""
    return at(BASE, "keys", name, *rest)


def policy_of(bounds: list[str] | None) -> dict[str, Any]:
    """``NAME=VALUE`` as the API wants it."""
    import json

    found: dict[str, Any] = {}
    for bound in bounds or ():
        name, mark, value = bound.partition("=")
        if not mark:
            raise typer.BadParameter("write NAME=VALUE", param_hint="--policy")
        if name in _LISTS:
            found[name] = [each for each in value.split(",") if each]
            continue
        try:
            found[name] = json.loads(value)
        except ValueError:
            raise typer.BadParameter(f"{name} is a number, true or false", param_hint="--policy") from None
    return found


def _facts(
    name: str, key_type: str, allowed: list[str] | None, owner: str | None, bounds: list[str] | None
) -> dict[str, Any]:
    from anya_actors.domain.keys.algorithms import usual_operations

    operations = allowed or list(usual_operations(key_type))
    facts = {"name": name, "key_type": key_type, "operations": operations, "policy": policy_of(bounds)}
    return facts if owner is None else facts | {"owner": owner}


def _content(
    remote: Remote, data: bytes, form: str, digest: str, passphrase_file: Path | None, *, wrapped: bool
) -> dict[str, Any]:
    """What is in a file, as it is if wrapped, else sealed for the HSM's process alone to open."""
    if wrapped:
        return {"wrapped_hex": data.hex(), "form": form, "digest": digest}
    from anya_actors.cli.sealing import sealed_material

    passphrase = bytes_in(passphrase_file).strip(b"\r\n") if passphrase_file else b""
    transport_key = bytes.fromhex(remote.get(f"{BASE}/transport-key")["public_key_hex"])
    return {"box_hex": sealed_material(form, data, passphrase, transport_key).hex()}


@asking
def list_keys(remote: Remote) -> None:
    """Every key, public parts only."""
    columns = ("name", "key_type", "version", "state", "owner", "operations")
    remote.show_items(f"{BASE}/keys", columns)


@asking
def wrapping_key(remote: Remote) -> None:
    """The RSA-4096 public key (PEM) that a key from outside may be wrapped to."""
    print(remote.get(f"{BASE}/wrapping-key")["public_key_pem"], end="")


@app.command()
@asking
def create(
    remote: Remote,
    name: Name,
    key_type: KeyType = "ed25519",
    allow: Allowed = None,
    owner: Owner = None,
    policy: Policy = None,
) -> None:
    """Draw a key inside the HSM; without --allow it does what its type is for."""
    remote.post_and_show(f"{BASE}/keys", _facts(name, key_type, allow, owner, policy))


@app.command("import")
@asking
def import_key(
    remote: Remote,
    name: Name,
    file: KeyFile,
    key_type: KeyType = "ed25519",
    form: Form = "raw",
    as_hex: AsHex = False,
    passphrase_file: Passphrase = None,
    wrapped: Wrapped = False,
    digest: Digest = "sha256",
    allow: Allowed = None,
    owner: Owner = None,
    policy: Policy = None,
) -> None:
    """Take in a key from a file or standard input; it is sealed here and opened in the HSM's process."""
    facts = _facts(name, key_type, allow, owner, policy)
    data = bytes_of(None, file, as_hex=as_hex)
    content = _content(remote, data, form, digest, passphrase_file, wrapped=wrapped)
    remote.post_and_show(f"{BASE}/keys/import", facts | content)


@app.command("import-version")
@asking
def import_version(
    remote: Remote,
    name: Name,
    file: KeyFile,
    form: Form = "raw",
    as_hex: AsHex = False,
    passphrase_file: Passphrase = None,
    wrapped: Wrapped = False,
    digest: Digest = "sha256",
) -> None:
    """Take in a new version of a key, as 'import' does; it signs and encrypts from now on."""
    data = bytes_of(None, file, as_hex=as_hex)
    content = _content(remote, data, form, digest, passphrase_file, wrapped=wrapped)
    remote.post_and_show(place_of(name, "versions", "import"), content)


@app.command()
@asking
def show(remote: Remote, name: Name) -> None:
    """One key, its versions and its policy."""
    remote.show(place_of(name))


@app.command()
def public(
    name: Name,
    form: Annotated[str, typer.Option("--form", help="pem, jwk, sec1, spki or raw.")] = "pem",
    version: Annotated[int, typer.Option("--version", min=0, help="0 is the newest.")] = 0,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Print a public key and nothing else."""
    path = f"{place_of(name, 'public')}?{urlencode({'form': form, 'version': version})}"
    print(Remote(data_dir, config, True).get(path)["public_key"].rstrip("\n"))


@app.command()
@asking
def rotate(remote: Remote, name: Name) -> None:
    """Draw a new version, which signs and encrypts from now on."""
    remote.post_and_show(place_of(name, "rotate"), {})


@app.command()
@asking
def configure(
    remote: Remote,
    name: Name,
    minimum_version: Annotated[int | None, typer.Option("--minimum-version", min=1)] = None,
    minimum_encryption_version: Annotated[
        int | None, typer.Option("--minimum-encryption-version", min=0, help="0 is the newest alone.")
    ] = None,
    policy: Policy = None,
) -> None:
    """Set from which version on a key serves, and its policy; what is not given stays."""
    now = remote.get(place_of(name))
    given = {
        "minimum_version": minimum_version,
        "minimum_encryption_version": minimum_encryption_version,
    }
    body = {name: now[name] if value is None else value for name, value in given.items()}
    body["policy"] = now["policy"] | {"paths": now["paths"]} | policy_of(policy)
    remote.post_and_show(place_of(name, "configure"), body)


@app.command()
@asking
def trim(
    remote: Remote,
    name: Name,
    first: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The first that is kept.")],
) -> None:
    """Forget for ever the versions before one."""
    remote.post_and_show(place_of(name, "trim"), {"first": first})


@app.command()
@asking
def disable(remote: Remote, name: Name) -> None:
    """Let nobody use a key; sessions that hold it are closed at once."""
    remote.post_and_show(place_of(name, "disable"), {})


@app.command()
@asking
def enable(remote: Remote, name: Name) -> None:
    """Let a key be used again."""
    remote.post_and_show(place_of(name, "enable"), {})


@app.command()
@asking
def delete(remote: Remote, name: Name) -> None:
    """Let nobody use a key; for its waiting period 'restore' takes that back."""
    remote.post_and_show(place_of(name, "delete"), {})


@app.command()
@asking
def restore(remote: Remote, name: Name) -> None:
    """Take a deletion back; the key is then disabled."""
    remote.post_and_show(place_of(name, "restore"), {})


@app.command()
@asking
def destroy(remote: Remote, name: Name) -> None:
    """Forget a deleted key for ever, once its waiting period is over."""
    remote.post_and_show(place_of(name, "destroy"), {})


@app.command("back-up")
@asking
def back_up(remote: Remote, name: Name, base64: Base64 = False) -> None:
    """The whole key, sealed so that only this HSM opens it; its policy must allow backup."""
    remote.show_record(
        written("backup", remote.post(place_of(name, "backups", "new"), {})["backup_hex"], base64=base64)
    )


@app.command("bring-back")
@asking
def bring_back(
    remote: Remote,
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What 'back-up' printed; - for stdin.")],
    base64: Base64 = False,
) -> None:
    """Bring a deleted or destroyed key back out of its backup; it is then disabled."""
    text = bytes_of(None, file).decode("ascii", "replace")
    backup, _ = read_printed(text, "backup", base64=base64)
    body = {"backup_hex": backup.hex()}
    remote.post_and_show(place_of(name, "backups", "restored"), body)


@app.command()
@asking
def export(
    remote: Remote,
    name: Name,
    recipient: Annotated[
        Path,
        typer.Argument(metavar="PEM_FILE", help="The recipient's RSA public key."),
    ],
    version: Annotated[int, typer.Option("--version", min=0, help="0 is the newest.")] = 0,
    digest: Digest = "sha256",
    base64: Base64 = False,
) -> None:
    """An exportable key, wrapped to the recipient: RSA-OAEP of an AES-256 key, and AES-KWP of the key."""
    pem = bytes_in(recipient).decode("ascii", "replace")
    body = {"recipient_pem": pem, "version": version, "digest": digest}
    wrapped = remote.post(place_of(name, "export", "wrapped"), body)["wrapped_hex"]
    remote.show_record(written("wrapped", wrapped, base64=base64))
