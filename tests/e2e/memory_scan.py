"""Reads the memory of other processes, as root may, and finds known secrets in it.

Keys that begin with one mark of nine bytes are all found by one search. Besides as it is, a secret is
looked for turned round (OpenSSL keeps great numbers so), in hex and in base64; text only as it is.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

CHUNK = 4 << 20
OVERLAP = 128
HEAD = 15
ZEROS = bytes(CHUNK)


def writings(secret: bytes) -> set[bytes]:
    """The secret in every form in which memory might hold it; its length is a multiple of three."""
    text = secret.hex()
    encoded = {base64.b64encode(secret), base64.urlsafe_b64encode(secret)}
    return {secret, secret[::-1], text.encode(), text.upper().encode(), *encoded}


class Needles:
    """Secrets by their names, found by their first 15 bytes."""

    def __init__(
        self, mark: bytes, secrets: Mapping[str, bytes], texts: Mapping[str, bytes] | None = None
    ) -> None:
        as_is = {text[:HEAD]: name for name, text in (texts or {}).items()}
        self._names = {form: name for name, secret in secrets.items() for form in writings(secret[:HEAD])}
        self._names |= as_is
        unmarked = [secret[:HEAD] for secret in secrets.values() if not secret.startswith(mark)]
        self._searched = {form for one in (mark, *unmarked) for form in writings(one)} | as_is.keys()

    def found_in(self, chunk: bytes) -> Iterator[str]:
        """The name of each secret that is in it, as often as it is."""
        for needle in self._searched:
            at = chunk.find(needle)
            while at >= 0:
                around = chunk[max(0, at - HEAD) : at + 2 * HEAD]
                yield from (name for form, name in self._names.items() if form in around)
                at = chunk.find(needle, at + 1)


def found_in_process(pid: int, needles: Needles) -> set[str]:
    """The names of the secrets that a process holds."""
    return {secret for chunk in chunks_of(pid) for secret in needles.found_in(chunk)}


def chunks_of(pid: int) -> Iterator[bytes]:
    """What the process can write to, or shares, in overlapping pieces; files of code are left out."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    try:
        for line in lines:
            span, modes, *rest = line.split()
            if modes[0] == "r" and (modes[1] == "w" or not rest[3:]) and "[v" not in line:
                begin, end = (int(edge, 16) for edge in span.split("-"))
                yield from _chunks(memory, begin, end)
    finally:
        os.close(memory)


def _chunks(memory: int, begin: int, end: int) -> Iterator[bytes]:
    for place in range(begin, end, CHUNK - OVERLAP):
        try:
            chunk = os.pread(memory, min(CHUNK, end - place), place)
        except OSError:  # unmapped meanwhile, or a device's
            return
        if chunk != ZEROS[: len(chunk)]:
            yield chunk
