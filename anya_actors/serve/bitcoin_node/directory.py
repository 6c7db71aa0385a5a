"""The files of an embedded node beside its journal."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO, Final

from anya_actors.serve.bitcoin_node.errors import NodeDirectoryInUseError
from anya_actors.serve.replaced_file import replace_file

COOKIE_USER: Final = "__cookie__"


class NodeDirectory:
    """Lock, cookie, TCP ports and fee estimates."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock: IO[bytes] = (path / "node.lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise NodeDirectoryInUseError(str(path)) from error

    @property
    def cookie(self) -> Path:
        return self._path / ".cookie"

    def write_cookie(self, password: str) -> None:
        """Put user and password where clients read them, readable by this user alone."""
        self._replace(".cookie", f"{COOKIE_USER}:{password}".encode())

    def kept_port(self, door: str) -> int:
        """The TCP port that this door had at earlier starts, 0 if there was none."""
        try:
            return int((self._path / f"{door}_port").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def keep_port(self, door: str, port: int) -> None:
        if port != self.kept_port(door):
            self._replace(f"{door}_port", str(port).encode())

    def kept_fees(self) -> bytes | None:
        """The fee estimates as they were last written, None if they never were."""
        try:
            return (self._path / "fee_estimates").read_bytes()
        except FileNotFoundError:
            return None

    def keep_fees(self, content: bytes) -> None:
        self._replace("fee_estimates", content)

    def _replace(self, name: str, content: bytes) -> None:
        fresh = self._path / f"{name}.new"
        fresh.unlink(missing_ok=True)  # what a killed predecessor left
        replace_file(self._path / name, content, fresh=fresh)

    def close(self) -> None:
        self.cookie.unlink(missing_ok=True)
        self._lock.close()
