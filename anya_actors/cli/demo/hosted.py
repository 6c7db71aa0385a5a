"""The platform that the tour visits: ``anya up`` in a process of its own, as any user starts it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import psutil

from anya_actors.cli.faults import UnforeseenError
from anya_actors.cli.instance import Record, read_record
from anya_actors.cli.processes import TEMPORARY_PREFIX, of_instance
from anya_actors.domain.machine import AnyaError

_PR_SET_PDEATHSIG: Final = 1
_STOP_S: Final = 40.0


class HostedPlatformError(AnyaError):
    """The tour's own platform did not start; its own words are passed on."""

    code = "demo-platform"
    message = "the platform of the tour did not start ({}): {}"
    remedy = "Run 'anya doctor', then 'anya up' by itself to see more."

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(problem, text)


class HostedPlatform:
    """A platform in a temporary data directory, from `__enter__` to `__exit__`."""

    def __init__(self, on_stage: Callable[[str], None], config: Path = Path(os.devnull)) -> None:
        self._on_stage = on_stage
        self._config = config
        self.ready: dict[str, Any] = {}

    def __enter__(self) -> Self:
        """Start it and wait until it is ready; raises `HostedPlatformError`."""
        self.data_dir = Path(tempfile.mkdtemp(prefix=f"{TEMPORARY_PREFIX}demo-"))
        self._complaints = (self.data_dir / "stderr").open("w+", encoding="utf-8")
        # Settings of the user's own platform are not for this one.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("ANYA_")}
        command = ["up", "--json", "--port", "0", "--data-dir", str(self.data_dir)]
        command += ["--config", str(self._config)]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "anya_actors.cli.main", *command],
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
            env=environ,
            process_group=0,  # Ctrl-C is for the tour, which then stops the platform
            preexec_fn=_stop_when_parent_dies if sys.platform == "linux" else None,
        )
        try:
            self._wait_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and remove everything of it."""
        self.stop()
        self._complaints.close()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    def stop(self) -> int:
        """Ctrl-C, and wait. Returns its exit code; repeating it is no error."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                # Read to the end: a full pipe would keep it from ending.
                self._process.communicate(timeout=_STOP_S)
        if self._process.poll() is None:
            self._process.kill()  # its watchdog ends the rest
        if self._process.stdout is not None:
            self._process.stdout.close()
        return self._process.wait()

    def record(self) -> Record:
        """Its ``run/platform.json``."""
        record = read_record(self.data_dir)
        if record is None:
            raise UnforeseenError("run/platform.json", "it is missing or damaged")
        return record

    def admin_token(self) -> str:
        """The administrator's token, from the file that the platform names."""
        return Path(self.ready["admin_token_file"]).read_text(encoding="utf-8")

    def processes(self) -> set[psutil.Process]:
        """Every process of it, its launcher and the launcher's watchdog included."""
        record = self.record()
        launcher = psutil.Process(record.pid)
        return of_instance(record.instance) | {launcher, *launcher.children()}

    def _wait_ready(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - Popen was given a pipe
        for line in self._process.stdout:
            told = json.loads(line)
            if told["event"] == "stage":
                self._on_stage(told["text"])
            elif told["event"] == "error":
                raise HostedPlatformError(told["code"], f"{told['message']}. {told['remedy']}")
            elif told["event"] == "ready":
                self.ready = told
                return
        code = self._process.wait()
        self._complaints.seek(0)
        said = self._complaints.read().strip().splitlines()[-1:]
        raise HostedPlatformError(f"exit code {code}", said[0] if said else "it said nothing")


def _stop_when_parent_dies() -> None:
    """Runs in the child before ``exec``: a killed tour stops its platform, which ends cleanly."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
