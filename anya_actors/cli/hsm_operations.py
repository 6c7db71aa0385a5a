"""``anya hsm sign`` and its like: one operation, in a session that is opened for it and closed after it."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from anya_actors.cli.binary import Base64, File, Hex, Message, bytes_of, from_written, read_printed, written
from anya_actors.cli.hsm_keys import BASE, Name, place_of
from anya_actors.cli.options import Config, DataDir, Json
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


def _perform(remote: Remote, operation: str, key: str, algorithm: str, **fields: Any) -> Any:
    """What the operation gave, with the key and the algorithm."""
    from anya_actors.domain.keys.algorithms import MAC_ALGORITHMS, usual_algorithm

    key_type = remote.get(place_of(key))["key_type"]
    if operation == "verify" and key_type in MAC_ALGORITHMS:
        operation = "verify-mac"
    algorithm = algorithm or usual_algorithm(key_type, operation)
    asked = {"operation": operation, "key": key, "algorithm": algorithm, **fields}
    session = f"{BASE}/sessions/{remote.post(f'{BASE}/sessions', {'keys': [key]})['session_id']}"
    try:
        (found,) = remote.post(f"{session}/operations", {"operations": [asked]})["results"]
    finally:
        remote.delete(session)
    return found | {"key": key, "algorithm": algorithm}


def _context(text: str) -> dict[str, Any]:
    return {"context_hex": text.encode().hex()}


def _show(remote: Remote, name: str, found: Any, *, base64: bool) -> None:
    remote.show_record(written(name, found.pop("data_hex"), base64=base64) | found)


@app.command()
def sign(
    key: Name,
    message: Message = None,
    algorithm: Algorithm = "",
    path: KeyPath = "",
    version: Version = 0,
    context: Context = "",
    file: File = None,
    as_hex: Hex = False,
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Sign a message; ecdsa-secp256k1, schnorr-bip340 and their like sign a 32-byte digest."""
    remote = Remote(data_dir, config, json)
    data = bytes_of(message, file, as_hex=as_hex).hex()
    found = _perform(
        remote, "sign", key, algorithm, data_hex=data, path=path, version=version, **_context(context)
    )
    _show(remote, "signature", found, base64=base64)


@app.command()
def verify(
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
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Verify a signature, or the code of an HMAC or CMAC key; an error if it does not hold."""
    remote = Remote(data_dir, config, json)
    proof = from_written(signature, base64=base64).hex()
    data = bytes_of(message, file, as_hex=as_hex).hex()
    fields = {"data_hex": data, "signature_hex": proof, "path": path, "version": version}
    found = _perform(remote, "verify", key, algorithm, **fields, **_context(context))
    del found["data_hex"]
    remote.show_record({"valid": True} | found)


@app.command()
def encrypt(
    key: Name,
    message: Message = None,
    algorithm: Algorithm = "",
    associated_data: Associated = "",
    version: Version = 0,
    context: Context = "",
    file: File = None,
    as_hex: Hex = False,
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Encrypt; keep the version that is printed, which opens it."""
    remote = Remote(data_dir, config, json)
    data = bytes_of(message, file, as_hex=as_hex).hex()
    fields = {"associated_data_hex": associated_data.encode().hex(), "version": version} | _context(context)
    found = _perform(remote, "encrypt", key, algorithm, data_hex=data, **fields)
    _show(remote, "ciphertext", found, base64=base64)


@app.command()
def decrypt(
    key: Name,
    ciphertext: Annotated[
        str, typer.Argument(metavar="CIPHERTEXT", help="Hex, base64 or what 'encrypt' printed; - for stdin.")
    ] = "-",
    algorithm: Algorithm = "",
    associated_data: Associated = "",
    version: Version = 0,
    context: Context = "",
    raw: Annotated[bool, typer.Option("--raw", help="Print the plaintext and nothing else.")] = False,
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Decrypt; an error that does not say why if it does not open."""
    remote = Remote(data_dir, config, json)
    sealed, printed = read_printed(argument_or_stdin(ciphertext), "ciphertext", base64=base64)
    fields = {
        "associated_data_hex": associated_data.encode().hex(),
        "version": version or printed.get("version", 0),
    }
    facts = fields | _context(context)
    found = _perform(remote, "decrypt", key, algorithm, data_hex=sealed.hex(), **facts)
    if raw:
        sys.stdout.buffer.write(bytes.fromhex(found["data_hex"]))
        sys.stdout.buffer.flush()
    else:
        _show(remote, "plaintext", found, base64=base64)


@app.command()
def mac(
    key: Name,
    message: Message = None,
    algorithm: Algorithm = "",
    version: Version = 0,
    file: File = None,
    as_hex: Hex = False,
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """The message authentication code (HMAC, CMAC) of a message; 'verify' checks it."""
    remote = Remote(data_dir, config, json)
    data = bytes_of(message, file, as_hex=as_hex).hex()
    _show(
        remote, "mac", _perform(remote, "mac", key, algorithm, data_hex=data, version=version), base64=base64
    )


@app.command()
def random(
    length: Annotated[int, typer.Argument(metavar="BYTES", min=1, max=65_536)] = 32,
    base64: Base64 = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Unpredictable bytes."""
    remote = Remote(data_dir, config, json)
    drawn = remote.post(f"{BASE}/random", {"length": length})["data_hex"]
    remote.show_record(written("random", drawn, base64=base64))
