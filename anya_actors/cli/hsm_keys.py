"""``anya hsm key``: the life of keys, through the HTTP API of a running platform."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from anya_actors.cli.binary import Base64, bytes_in, bytes_of, read_printed, written
from anya_actors.cli.options import Config, DataDir, Json
from anya_actors.cli.remote import Remote

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
_LISTS: Final = ("paths", "guarded", "approvers")


def place_of(name: str, *rest: str) -> str:
    """Where the API has a key, or a part of it."""
    from urllib.parse import quote

    return "/".join((f"{BASE}/keys/{quote(name, safe='')}", *rest))


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


def list_keys(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Every key, public parts only."""
    columns = ("name", "key_type", "version", "state", "owner", "operations")
    Remote(data_dir, config, json).show_items(f"{BASE}/keys", columns)


def wrapping_key(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The RSA-4096 public key (PEM) that a key from outside may be wrapped to."""
    print(Remote(data_dir, config, json).get(f"{BASE}/wrapping-key")["public_key_pem"], end="")


@app.command()
def create(
    name: Name,
    key_type: KeyType = "ed25519",
    allow: Allowed = None,
    owner: Owner = None,
    policy: Policy = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Draw a key inside the HSM; without --allow it does what its type is for."""
    Remote(data_dir, config, json).post_and_show(f"{BASE}/keys", _facts(name, key_type, allow, owner, policy))


@app.command("import")
def import_key(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="It holds the key; - for stdin.")],
    key_type: KeyType = "ed25519",
    form: Annotated[
        str, typer.Option("--form", help="raw, pkcs8, seed, mnemonic or extended-private-key.")
    ] = "raw",
    as_hex: Annotated[bool, typer.Option("--hex", help="The file holds hex.")] = False,
    passphrase_file: Annotated[
        Path | None, typer.Option("--passphrase-file", help="A mnemonic's own passphrase.")
    ] = None,
    wrapped: Annotated[
        bool, typer.Option("--wrapped", help="The file holds a key wrapped to 'wrapping-key'.")
    ] = False,
    digest: Digest = "sha256",
    allow: Allowed = None,
    owner: Owner = None,
    policy: Policy = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Take in a key from a file or standard input; it is sealed here and opened in the HSM's process."""
    remote = Remote(data_dir, config, json)
    facts = _facts(name, key_type, allow, owner, policy)
    data = bytes_of(None, file, as_hex=as_hex)
    if wrapped:
        content = {"wrapped_hex": data.hex(), "form": form, "digest": digest}
    else:
        from anya_actors.cli.sealing import sealed_material

        passphrase = bytes_in(passphrase_file).strip(b"\r\n") if passphrase_file else b""
        transport_key = bytes.fromhex(remote.get(f"{BASE}/transport-key")["public_key_hex"])
        content = {"box_hex": sealed_material(form, data, passphrase, transport_key).hex()}
    remote.post_and_show(f"{BASE}/keys/import", facts | content)


@app.command()
def show(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """One key, its versions and its policy."""
    Remote(data_dir, config, json).show(place_of(name))


@app.command()
def public(
    name: Name,
    form: Annotated[str, typer.Option("--form", help="pem, jwk, sec1, spki or raw.")] = "pem",
    version: Annotated[int, typer.Option("--version", min=0, help="0 is the newest.")] = 0,
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Print a public key and nothing else."""
    path = f"{place_of(name, 'public')}?form={form}&version={version}"
    print(Remote(data_dir, config, True).get(path)["public_key"].rstrip("\n"))


@app.command()
def rotate(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Draw a new version, which signs and encrypts from now on."""
    Remote(data_dir, config, json).post_and_show(place_of(name, "rotate"), {})


@app.command()
def configure(
    name: Name,
    minimum_version: Annotated[int | None, typer.Option("--minimum-version", min=1)] = None,
    minimum_encryption_version: Annotated[
        int | None, typer.Option("--minimum-encryption-version", min=0, help="0 is the newest alone.")
    ] = None,
    policy: Policy = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Set from which version on a key serves, and its policy; what is not given stays."""
    remote = Remote(data_dir, config, json)
    now = remote.get(place_of(name))
    given = {
        "minimum_version": minimum_version,
        "minimum_encryption_version": minimum_encryption_version,
    }
    body = {name: now[name] if value is None else value for name, value in given.items()}
    body["policy"] = now["policy"] | {"paths": now["paths"]} | policy_of(policy)
    remote.post_and_show(place_of(name, "configure"), body)


@app.command()
def trim(
    name: Name,
    first: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The first that is kept.")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Forget for ever the versions before one."""
    Remote(data_dir, config, json).post_and_show(place_of(name, "trim"), {"first": first})


@app.command()
def disable(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Let nobody use a key; sessions that hold it are closed at once."""
    Remote(data_dir, config, json).post_and_show(place_of(name, "disable"), {})


@app.command()
def enable(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Let a key be used again."""
    Remote(data_dir, config, json).post_and_show(place_of(name, "enable"), {})


@app.command()
def delete(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Let nobody use a key; for its waiting period 'restore' takes that back."""
    Remote(data_dir, config, json).post_and_show(place_of(name, "delete"), {})


@app.command()
def restore(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Take a deletion back; the key is then disabled."""
    Remote(data_dir, config, json).post_and_show(place_of(name, "restore"), {})


@app.command()
def destroy(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Forget a deleted key for ever, once its waiting period is over."""
    Remote(data_dir, config, json).post_and_show(place_of(name, "destroy"), {})


@app.command("back-up")
def back_up(
    name: Name,
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """The whole key, sealed so that only this HSM opens it; its policy must allow backup."""
    remote = Remote(data_dir, config, json)
    remote.show_record(
        written("backup", remote.post(place_of(name, "backups", "new"), {})["backup_hex"], base64=base64)
    )


@app.command("bring-back")
def bring_back(
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What 'back-up' printed; - for stdin.")],
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Bring a deleted or destroyed key back out of its backup; it is then disabled."""
    text = bytes_of(None, file).decode("ascii", "replace")
    backup, _ = read_printed(text, "backup", base64=base64)
    body = {"backup_hex": backup.hex()}
    Remote(data_dir, config, json).post_and_show(place_of(name, "backups", "restored"), body)


@app.command()
def export(
    name: Name,
    recipient: Annotated[
        Path,
        typer.Argument(metavar="PEM_FILE", help="The recipient's RSA public key."),
    ],
    version: Annotated[int, typer.Option("--version", min=0, help="0 is the newest.")] = 0,
    digest: Digest = "sha256",
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """An exportable key, wrapped to the recipient: RSA-OAEP of an AES-256 key, and AES-KWP of the key."""
    remote = Remote(data_dir, config, json)
    pem = bytes_in(recipient).decode("ascii", "replace")
    body = {"recipient_pem": pem, "version": version, "digest": digest}
    wrapped = remote.post(place_of(name, "export", "wrapped"), body)["wrapped_hex"]
    remote.show_record(written("wrapped", wrapped, base64=base64))
