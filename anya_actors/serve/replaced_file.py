"""A file written whole: after a crash it is what it was, or all that was written."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes, *, fresh: Path) -> None:
    """Put content in a file's place, readable by this user alone; on disk when it returns.

    It is written to ``fresh`` first, in the same folder, where nothing may be. Raises ``OSError``.
    """
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
