"""How commands read and write what is not text."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

Message = Annotated[
    str | None, typer.Argument(metavar="[MESSAGE]", help="Text; - or nothing reads standard input.")
]
File = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read this file.")]
Hex = Annotated[bool, typer.Option("--hex", help="The message is written in hex: a digest, say.")]
Base64 = Annotated[bool, typer.Option("--base64", help="Binary in base64 instead of hex, in and out.")]

OUT_HELP = "Write the bytes alone to this new file, which you alone can read; - prints them."
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help=OUT_HELP)]


@contextlib.contextmanager
def private_file(path: Path | None) -> Iterator[BinaryIO | None]:
    """A new file of mode 0600, gone again if the block fails; None where there is no path, or ``-``.

    It is made before there is anything to write: what cannot be kept is not to be asked for.
    """
    if path is None or str(path) == "-":
        yield None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        reason = f"no new file can be made there: {error.strerror}; name another"
        raise typer.BadParameter(reason, param_hint="--out") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def bytes_of(text: str | None, file: Path | None, *, as_hex: bool = False) -> bytes:
    """The bytes of a text, a file or standard input; a file named ``-`` is standard input too."""
    if file is not None and str(file) != "-":
        data = bytes_in(file)
    elif text is None or text == "-":
        data = sys.stdin.buffer.read()
    else:
        data = os.fsencode(text)
    return from_written(data.decode("ascii", "replace"), base64=False) if as_hex else data


def bytes_in(file: Path) -> bytes:
    """What the file holds. An error does not repeat its name: it may be a secret that was no name."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"the file cannot be read: {error.strerror}") from None


def from_written(text: str, *, base64: bool) -> bytes:
    """What hex or base64 stands for."""
    from base64 import b64decode

    try:
        return b64decode(text.strip(), validate=True) if base64 else bytes.fromhex(text)
    except ValueError:
        raise typer.BadParameter(f"that is not {'base64' if base64 else 'hex'}") from None


def read_printed(text: str, name: str, *, base64: bool) -> tuple[bytes, dict[str, Any]]:
    """A binary field as hex, as base64, or in the line that a command printed, with that line's record."""
    from json import loads

    if not text.lstrip().startswith("{"):
        return from_written(text, base64=base64), {}
    try:
        record = loads(text)
        in_base64 = f"{name}_base64" in record
        told = record[f"{name}_{'base64' if in_base64 else 'hex'}"]
        return from_written(told, base64=in_base64), record
    except (ValueError, KeyError, TypeError):
        raise typer.BadParameter(f"that is no line with a {name}") from None


def written(name: str, in_hex: str, *, base64: bool) -> dict[str, str]:
    """A record of one binary field, in hex as the API gave it, or in base64."""
    from base64 import b64encode

    if base64:
        return {f"{name}_base64": b64encode(bytes.fromhex(in_hex)).decode()}
    return {f"{name}_hex": in_hex}
