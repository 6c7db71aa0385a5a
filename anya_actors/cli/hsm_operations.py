"""``anya hsm sign`` and its like: one operation, in a session that is opened for it and closed after it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import urlencode

import typer

from anya_actors.cli.binary import (
    OUT_HELP,
    Base64,
    File,
    Hex,
    Message,
    Out,
    bytes_of,
    from_written,
    private_file,
    read_printed,
    written,
)
from anya_actors.cli.hsm_keys import BASE, Name, place_of
from anya_actors.cli.options import asking
from anya_actors.cli.remote import Remote, argument_or_stdin

app = typer.Typer(rich_markup_mode=None)

Algorithm = Annotated[
    str, typer.Option("--algorithm", help="Such as schnorr-bip340; else the usual one of the key's type.")
]
KeyPath = Annotated[str, typer.Option("--path", help="From a bip32 key, like m/84h/0h/0h/0/5.")]
Version = Annotated[int, typer.Option("--version", min=0, help="Of the key; 0 is the newest.")]
Associated = Annotated[
    str, typer.Option("--associated-data", metavar="TEXT", help="Authenticated and not hidden.")
]
Context = Annotated[str, typer.Option("--context", metavar="TEXT", help="Names the key, of a derived one.")]
Plaintext = Annotated[str, typer.Argument(metavar="[-]", help="Standard input is read, or --file.")]
Ciphertext = Annotated[
    str, typer.Argument(metavar="CIPHERTEXT", help="Hex, base64 or what 'encrypt' printed; - for stdin.")
]
SecretOut = Annotated[Path, typer.Option("--out", metavar="FILE", help=OUT_HELP)]


@contextlib.contextmanager
def session_for(remote: Remote, key: str) -> Iterator[str]:
    """Where the API has a session of this key, which ends with the block."""
    session = f"{BASE}/sessions/{remote.post(f'{BASE}/sessions', {'keys': [key]})['session_id']}"
    try:
        yield session
    finally:
        remote.delete(session)


def _perform(remote: Remote, operation: str, key: str, algorithm: str, **fields: Any) -> Any:
    """What the operation gave, with the key and the algorithm."""
    from anya_actors.domain.keys.algorithms import MAC_ALGORITHMS, usual_algorithm

    key_type = remote.get(place_of(key))["key_type"]
    if operation == "verify" and key_type in MAC_ALGORITHMS:
        operation = "verify-mac"
    algorithm = algorithm or usual_algorithm(key_type, "decrypt" if operation == "rewrap" else operation)
    asked = {"operation": operation, "key": key, "algorithm": algorithm, **fields}
    with session_for(remote, key) as session:
        (found,) = remote.post(f"{session}/operations", {"operations": [asked]})["results"]
    return found | {"key": key, "algorithm": algorithm}


def _context(text: str) -> dict[str, Any]:
    return {"context_hex": text.encode().hex()}


def _show(remote: Remote, name: str, found: Any, *, base64: bool) -> None:
    remote.show_record(written(name, found.pop("data_hex"), base64=base64) | found)


def _keep(remote: Remote, file: BinaryIO, path: Path | None, found: Any) -> None:
    """Write the bytes to the file, and show everything else."""
    file.write(bytes.fromhex(found.pop("data_hex")))
    remote.show_record({"written_to": str(path)} | found)


@app.command()
@asking
def sign(
    remote: Remote,
    key: Name,
    message: Message = None,
    algorithm: Algorithm = "",
    path: KeyPath = "",
    version: Version = 0,
    context: Context = "",
    merkle_root: Annotated[
        str | None,
        typer.Option(
            "--merkle-root", metavar="HEX", help="Tweak a BIP340 key as BIP341 has it; '' for none."
        ),
    ] = None,
    file: File = None,
    as_hex: Hex = False,
    base64: Base64 = False,
) -> None:
    """Sign a message; ecdsa-secp256k1, schnorr-bip340 and their like sign a 32-byte digest."""
    fields: dict[str, Any] = {"data_hex": bytes_of(message, file, as_hex=as_hex).hex()}
    fields |= {"path": path, "version": version} | _context(context)
    if merkle_root is not None:
        fields["taproot_merkle_root_hex"] = from_written(merkle_root, base64=False).hex()
    found = _perform(remote, "sign", key, algorithm, **fields)
    _show(remote, "signature", found, base64=base64)


@app.command()
@asking
def verify(
    remote: Remote,
    key: Name,
    signature: Annotated[str, typer.Argument(metavar="SIGNATURE", help="Hex, or base64 with --base64.")],
    message: Message = None,
    algorithm: Algorithm = "",
    path: KeyPath = "",
    version: Version = 0,
    context: Context = "",
    file: File = None,
    as_hex: Hex = False,
    base64: Base64 = False,
) -> None:
    """Verify a signature, or the code of an HMAC or CMAC key; an error if it does not hold."""
    proof = from_written(signature, base64=base64).hex()
    data = bytes_of(message, file, as_hex=as_hex).hex()
    fields = {"data_hex": data, "signature_hex": proof, "path": path, "version": version}
    found = _perform(remote, "verify", key, algorithm, **fields, **_context(context))
    del found["data_hex"]
    remote.show_record({"valid": True} | found)


@app.command()
@asking
def encrypt(
    remote: Remote,
    key: Name,
    stdin: Plaintext = "-",
    algorithm: Algorithm = "",
    associated_data: Associated = "",
    version: Version = 0,
    context: Context = "",
    file: File = None,
    as_hex: Hex = False,
    base64: Base64 = False,
) -> None:
    """Encrypt a file or standard input; keep the version that is printed, which opens it."""
    if stdin != "-":
        raise typer.BadParameter("pipe the plaintext or name its --file: others see a command line")
    data = bytes_of(None, file, as_hex=as_hex).hex()
    fields = {"associated_data_hex": associated_data.encode().hex(), "version": version} | _context(context)
    found = _perform(remote, "encrypt", key, algorithm, data_hex=data, **fields)
    _show(remote, "ciphertext", found, base64=base64)


@app.command()
@asking
def decrypt(
    remote: Remote,
    key: Name,
    ciphertext: Ciphertext = "-",
    algorithm: Algorithm = "",
    associated_data: Associated = "",
    version: Version = 0,
    context: Context = "",
    raw: Annotated[bool, typer.Option("--raw", help="Print the plaintext and nothing else.")] = False,
    out: Out = None,
    base64: Base64 = False,
) -> None:
    """Decrypt; an error that does not say why if it does not open."""
    facts = _sealed(ciphertext, associated_data, version, context, base64=base64)
    with private_file(out) as kept:
        found = _perform(remote, "decrypt", key, algorithm, **facts)
        if kept is not None:
            _keep(remote, kept, out, found)
        elif raw:
            sys.stdout.buffer.write(bytes.fromhex(found["data_hex"]))
            sys.stdout.buffer.flush()
        else:
            _show(remote, "plaintext", found, base64=base64)


@app.command()
@asking
def rewrap(
    remote: Remote,
    key: Name,
    ciphertext: Ciphertext = "-",
    algorithm: Algorithm = "",
    associated_data: Associated = "",
    version: Version = 0,
    to_version: Annotated[int, typer.Option("--to-version", min=0, help="0 is the newest.")] = 0,
    context: Context = "",
    base64: Base64 = False,
) -> None:
    """Encrypt anew, by another version of the key, what a ciphertext holds; nobody sees it meanwhile."""
    facts = _sealed(ciphertext, associated_data, version, context, base64=base64)
    found = _perform(remote, "rewrap", key, algorithm, to_version=to_version, **facts)
    _show(remote, "ciphertext", found, base64=base64)


def _sealed(text: str, associated: str, version: int, context: str, *, base64: bool) -> dict[str, Any]:
    """A ciphertext as written or printed, with what else opens it."""
    sealed, printed = read_printed(argument_or_stdin(text), "ciphertext", base64=base64)
    opened_by = {"version": version or printed.get("version", 0)} | _context(context)
    return {"data_hex": sealed.hex(), "associated_data_hex": associated.encode().hex()} | opened_by


@app.command()
@asking
def mac(
    remote: Remote,
    key: Name,
    message: Message = None,
    algorithm: Algorithm = "",
    version: Version = 0,
    file: File = None,
    as_hex: Hex = False,
    base64: Base64 = False,
) -> None:
    """The message authentication code (HMAC, CMAC) of a message; 'verify' checks it."""
    data = bytes_of(message, file, as_hex=as_hex).hex()
    _show(
        remote, "mac", _perform(remote, "mac", key, algorithm, data_hex=data, version=version), base64=base64
    )


@app.command()
@asking
def agree(
    remote: Remote,
    key: Name,
    out: SecretOut,
    public_key: Annotated[
        str | None,
        typer.Argument(metavar="[PUBLIC_KEY]", help="The other's, in hex; else --file or standard input."),
    ] = None,
    algorithm: Algorithm = "",
    path: KeyPath = "",
    version: Version = 0,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The other's key: PEM, JWK or hex.")
    ] = None,
    base64: Base64 = False,
) -> None:
    """A secret shared with the holder of another public key (Diffie-Hellman)."""
    fields: dict[str, Any] = {"public_key": bytes_of(public_key, file).decode("utf-8", "replace").strip()}
    _secret(remote, "agree", key, algorithm, out, fields | {"path": path, "version": version}, base64=base64)


@app.command()
@asking
def stretch(
    remote: Remote,
    key: Name,
    out: SecretOut,
    length: Annotated[int, typer.Option("--length", min=1, max=65_536, help="How many bytes.")] = 32,
    algorithm: Annotated[
        str, typer.Option("--algorithm", help="Such as hkdf-sha512, pbkdf2-sha256, argon2id.")
    ] = "hkdf-sha256",
    salt: Annotated[str, typer.Option("--salt", metavar="HEX")] = "",
    info: Annotated[str, typer.Option("--info", metavar="TEXT", help="What it is for (HKDF).")] = "",
    iterations: Annotated[int, typer.Option("--iterations", min=0, help="Of PBKDF2 or Argon2id.")] = 0,
    memory_kib: Annotated[int, typer.Option("--memory-kib", min=0, help="Of Argon2id.")] = 0,
    lanes: Annotated[int, typer.Option("--lanes", min=1, help="Of Argon2id.")] = 1,
    version: Version = 0,
    base64: Base64 = False,
) -> None:
    """Bytes derived from a key of type 'secret': a passphrase, or what others agreed on."""
    fields: dict[str, Any] = {"length": length, "iterations": iterations, "memory_kib": memory_kib}
    fields |= {"salt_hex": from_written(salt, base64=False).hex(), "info_hex": info.encode().hex()}
    fields |= {"lanes": lanes, "version": version}
    _secret(remote, "stretch", key, algorithm, out, fields, base64=base64)


def _secret(
    remote: Remote,
    operation: str,
    key: str,
    algorithm: str,
    out: Path,
    fields: dict[str, Any],
    *,
    base64: bool,
) -> None:
    """Perform what gives a secret, and bring that where it was asked for."""
    with private_file(out) as kept:
        found = _perform(remote, operation, key, algorithm, **fields)
        if kept is not None:
            _keep(remote, kept, out, found)
        else:
            _show(remote, "secret", found, base64=base64)


@asking
def xpub(
    remote: Remote,
    name: Name,
    path: Annotated[
        str, typer.Argument(metavar="[PATH]", help="Such as m/84h/0h/0h; else the key's own.")
    ] = "",
    testnet: Annotated[bool, typer.Option("--testnet", help="As test networks write it.")] = False,
) -> None:
    """The extended public key of a bip32 key at a path (BIP32)."""
    with session_for(remote, name) as session:
        place = f"{session}{place_of(name).removeprefix(BASE)}/extended-public-key"
        found = remote.get(f"{place}?{urlencode({'path': path, 'testnet': testnet})}")
    remote.show_record(found | {"key": name, "path": path or "m"})


@app.command()
@asking
def random(
    remote: Remote,
    length: Annotated[int, typer.Argument(metavar="BYTES", min=1, max=65_536)] = 32,
    out: Out = None,
    base64: Base64 = False,
) -> None:
    """Unpredictable bytes."""
    with private_file(out) as kept:
        found = remote.post(f"{BASE}/random", {"length": length})
        if kept is not None:
            _keep(remote, kept, out, found)
        else:
            _show(remote, "random", found, base64=base64)
