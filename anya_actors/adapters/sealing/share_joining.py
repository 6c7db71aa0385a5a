"""Shares are joined in a process of their own, which ends with its answer (ADR 33).

The library keeps shares in strings that nobody can wipe. So the HSM's process never sees them: the
child reads them, and hands the passphrase over a pipe, straight into a buffer that can be wiped.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.passphrase import PassphraseSourceError

SUFFIX: Final = ".share"
TIMEOUT_S: Final = 60.0
MAX_ANSWER_BYTES: Final = 16 * 1024
JOINED: Final = 0
REFUSED: Final = 1
COMMAND: Final = (sys.executable, "-P", "-m", "anya_actors.adapters.sealing.share_joining")


def join_apart(path: Path, *, command: Sequence[str] = COMMAND, timeout_s: float = TIMEOUT_S) -> Secret:
    """The passphrase of the shares in a directory, or `PassphraseSourceError`. The child is gone then."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(place for place in sys.path if place)}
    try:
        child = subprocess.Popen(  # noqa: S603 - our own module, and a path that is no option
            [*command, str(path.absolute())],
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a trace could quote a share
            env=environment,
        )
    except OSError as error:
        raise _failed(path, os.strerror(error.errno or 0)) from None
    with Secret(bytearray(MAX_ANSWER_BYTES)) as page:
        with child:  # closes the pipe, then reaps
            try:
                size = _read_answer(child, page, time.monotonic() + timeout_s)
            finally:
                child.kill()
        return _passphrase_in(path, page, size)


def _read_answer(child: subprocess.Popen[bytes], page: Secret, deadline_s: float) -> int:
    """How many bytes the child answered with before it closed its end; 0 if it did not in time."""
    assert child.stdout is not None  # noqa: S101 - it was asked for
    descriptor, size = child.stdout.fileno(), 0
    answer = select.poll()  # `select` takes no descriptor above 1023
    answer.register(descriptor, select.POLLIN)
    with memoryview(page.buffer) as place:
        while answer.poll(1000 * max(0.0, deadline_s - time.monotonic())):
            if size == len(place):
                return 0
            with place[size:] as rest:
                count = os.readv(descriptor, [rest])
            if count == 0:
                return size
            size += count
    return 0


def _passphrase_in(path: Path, page: Secret, size: int) -> Secret:
    if size > 1 and page.buffer[0] == JOINED:
        return Secret(page.buffer[1:size])
    if size > 1 and page.buffer[0] == REFUSED:
        try:
            source, reason = json.loads(page.buffer[1:size])
        except (ValueError, TypeError):
            raise _failed(path, "its answer cannot be read") from None
        raise PassphraseSourceError(str(source), str(reason))
    raise _failed(path, "it ended without an answer, or gave none in time")


def _failed(path: Path, reason: str) -> PassphraseSourceError:
    return PassphraseSourceError(str(path), f"the process that joins its shares failed: {reason}")


def main() -> None:
    """In the child: join the shares of the directory that was named, answer and end."""
    LinuxProcessGuard().harden()  # before anything is read
    from anya_actors.adapters.sealing.shamir_shares import read_shares

    try:
        with read_shares(Path(sys.argv[1])) as passphrase:
            os.writev(1, [bytes([JOINED]), passphrase.buffer])
    except PassphraseSourceError as error:
        os.writev(1, [bytes([REFUSED]), json.dumps(error.args).encode()])


if __name__ == "__main__":
    main()
