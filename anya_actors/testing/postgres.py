"""A real PostgreSQL server for tests, from the programs that the machine has."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from anya_actors.domain.machine import UnavailableError

_START_TIMEOUT_S = 60.0


def find_programs() -> Path | None:
    """The newest folder that holds ``initdb`` and ``postgres``, or None."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    # Debian keeps them apart from the PATH, one folder for each version.
    debian = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(debian, key=lambda folder: (len(folder.parent.name), folder.parent.name), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class PostgresServer:
    """A server in a temporary folder that listens on a Unix socket there and nowhere else.

    Use it as a context manager; leaving it stops the server and removes the folder. PostgreSQL
    refuses to run as root: then it runs as ``postgres`` or ``nobody``.
    """

    def __init__(self) -> None:
        programs = find_programs()
        if programs is None:
            raise UnavailableError("PostgreSQL", "initdb was not found")
        self._programs = programs
        self._folder = Path(tempfile.mkdtemp(prefix="anya-postgres-"))
        self._user = _other_user() if os.geteuid() == 0 else None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """A libpq URL of the server's own database."""
        return f"postgresql://anya@/postgres?host={self._folder}"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return None if self._server is None else self._server.pid

    def __enter__(self) -> PostgresServer:
        try:
            self._make()
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._remove()

    def start(self) -> None:
        """Start the server (again) and wait until it answers."""
        command = [*self._tied_to_us(), str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += ["-k", str(self._folder), "-c", "listen_addresses=", "-c", "shared_buffers=16MB"]
        with (self._folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(  # noqa: S603 - programs of the machine's package
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, user=self._user, cwd=self._folder
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        ready = [str(self._programs / "pg_isready"), "-q", "-h", str(self._folder), "-U", "anya"]
        while subprocess.run(ready, check=False).returncode != 0:  # noqa: S603 - as above
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise UnavailableError("PostgreSQL", (self._folder / "server.log").read_text()[-500:])
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server at once but cleanly."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Stop it as a crash would: no checkpoint, every connection cut."""
        self._end(signal.SIGQUIT)

    def _end(self, how: signal.Signals) -> None:
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(timeout=30)
            self._server = None

    def _make(self) -> None:
        if self._user is not None:
            os.chown(self._folder, pwd.getpwnam(self._user).pw_uid, -1)
        command = [str(self._programs / "initdb"), "-D", str(self._folder / "data"), "-U", "anya"]
        command += ["--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
        made = subprocess.run(  # noqa: S603 - programs of the machine's package
            command, capture_output=True, text=True, check=False, user=self._user, cwd=self._folder
        )
        if made.returncode != 0:
            raise UnavailableError("PostgreSQL", made.stderr[-500:])

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _tied_to_us(self) -> list[str]:
        """Whatever kills this process, the server does not stay behind."""
        setpriv = shutil.which("setpriv")
        return [setpriv, "--pdeathsig", "INT", "--"] if setpriv else []


def _other_user() -> str:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise UnavailableError("PostgreSQL", "it refuses root, and there is no user postgres or nobody")
