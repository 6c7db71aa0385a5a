"""``anya down``: stop the platform of a data directory from outside."""

from __future__ import annotations

import contextlib
import time
from typing import Final

import psutil

from anya_actors.cli.faults import NotRunningError, StuckPlatformError
from anya_actors.cli.instance import running
from anya_actors.cli.processes import of_instance
from anya_actors.config import Settings

_LOOK_EVERY_S: Final = 0.1
_CLEAN_UP_S: Final = 10.0


def stop_platform(settings: Settings, *, force: bool) -> None:
    """Ask the launcher to stop, and return when no process of its platform is left.

    With ``force`` the launcher is killed; its watchdog ends the rest. Raises `NotRunningError` or
    `StuckPlatformError`.
    """
    record = running(settings)
    launcher = record.launcher()
    if launcher is None:
        raise NotRunningError(str(settings.data_dir))
    with contextlib.suppress(psutil.NoSuchProcess):
        if force:
            launcher.kill()
        else:
            launcher.terminate()
    # The launcher waits this long for the platform, then ends what is left by itself.
    patience_s = settings.supervision.stop_timeout_s * 2 + _CLEAN_UP_S
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if record.launcher() is None and not of_instance(record.instance):
            return
        time.sleep(_LOOK_EVERY_S)
    raise StuckPlatformError(record.pid, patience_s)
