"""``anya up``: the launcher. Holds the data directory, boots Ray, starts the platform, ends it all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec
import psutil

from anya_actors.cli.faults import FORCED, InterruptedStartError, UnforeseenError, exit_code
from anya_actors.cli.instance import DataDirectory, Record, write_private
from anya_actors.cli.output import Progress, standard_streams_to
from anya_actors.cli.passphrase import ensure_passphrase
from anya_actors.cli.platform import Platform, StartPlatform
from anya_actors.cli.processes import clear_temporary, end_all
from anya_actors.cli.ray_boot import (
    boot_ray,
    import_ahead,
    limit_resources,
    make_temporary_directory,
    prepare_environment,
    ray_address,
    ray_token_file,
    stop_ray,
)
from anya_actors.cli.signals import (
    ForcedStop,
    SignalRecord,
    StopEvents,
    ignore_signals,
    interrupt_on_signals,
)
from anya_actors.cli.watchdog import Watchdog
from anya_actors.config import Settings
from anya_actors.domain.hsm.errors import SealedError
from anya_actors.domain.machine import AnyaError
from anya_actors.serve.port import reserve_port

ADMIN_SCOPES: Final = ("admin",)
_ADMIN_TOKEN_TTL_S: Final = 24 * 3600
_RENEW_ADMIN_TOKEN_S: Final = 8 * 3600
_LOOK_FOR_SEAL_S: Final = 5


def run(settings: Settings, progress: Progress, start: StartPlatform, *, unseal: bool = False) -> int:
    """Run a platform until it is told to stop or fails. Returns the exit code; prints no traceback.

    ``unseal`` opens an HSM that was sealed, which a start alone leaves as it is.
    """
    interrupt_on_signals()
    try:
        Launcher(settings, progress, start, unseal=unseal).run()
    except AnyaError as error:
        progress.failed(error)
        return exit_code(error)
    except (KeyboardInterrupt, SystemExit):  # while it boots, Ray turns SIGTERM into SystemExit
        progress.failed(InterruptedStartError())
        return FORCED
    except Exception as error:  # noqa: BLE001 - the last line of defence: the user gets no traceback
        _write_trace(settings)
        reason = str(error).strip().split("\n", 1)[0]
        progress.failed(UnforeseenError(type(error).__name__, reason))
        return 1
    return 0


class Launcher:
    """One run of one platform."""

    def __init__(
        self, settings: Settings, progress: Progress, start: StartPlatform, *, unseal: bool = False
    ) -> None:
        self._settings = settings
        self._progress = progress
        self._start = start
        self._unseal = unseal
        self._instance = secrets.token_hex(8)
        self._admin_token_file = settings.run_dir / "admin-token"

    def run(self) -> None:
        """Return after a stop that was asked for; raise what kept the platform from running."""
        self._progress.stage("data-directory", f"Opening {self._settings.data_dir}")
        api = self._settings.api
        with (
            DataDirectory(self._settings) as directory,
            reserve_port(api.host, api.port) as door,
            reserve_port(api.host, api.transit_port) as transit,
        ):
            if ensure_passphrase(self._settings):
                self._progress.stage(
                    "passphrase",
                    f"Made a passphrase for the HSM: {self._settings.passphrase_file}. "
                    "Back it up: without it nobody can open the keys.",
                )
            self._settings = msgspec.structs.replace(
                self._settings, api=msgspec.structs.replace(api, port=door.port, transit_port=transit.port)
            )
            with standard_streams_to(self._settings.log_dir / "launcher.log"):
                self._watched(directory)

    def _watched(self, directory: DataDirectory) -> None:
        """Everything that starts processes happens here, between watchdog and clean-up."""
        settings = self._settings
        temp_dir = make_temporary_directory()
        watchdog = Watchdog(self._instance, temp_dir, settings.log_dir / "ray", directory.lock)
        forced = False
        try:
            self._record(directory, temp_dir, None)
            limit_resources()
            prepare_environment(settings, self._instance)
            self._progress.stage("ray", "Starting Ray")
            import_ahead()
            with SignalRecord() as signals:

                def clean_up() -> None:
                    signals.check()
                    self._end_all(watchdog)

                boot_ray(settings, temp_dir, clean_up=clean_up)
                signals.check()
            asyncio.run(self._serve(directory, temp_dir))
        except ForcedStop:
            forced = True
        finally:
            _clean(lambda grace_s: self._end_all(watchdog, grace_s), forced=forced)
            clear_temporary(temp_dir, settings.log_dir / "ray")
            watchdog.dismiss()
        if forced:
            _leave_at_once(directory)

    def _end_all(self, watchdog: Watchdog, grace_s: float = 2.0) -> int:
        return end_all(self._instance, spare=(watchdog.pid, os.getpid()), grace_s=grace_s)

    async def _serve(self, directory: DataDirectory, temp_dir: Path) -> None:
        with StopEvents() as stop:
            starting = asyncio.ensure_future(self._start(self._settings, self._progress.stage))
            if not await stop.before(starting):
                starting.cancel()
                await asyncio.wait([starting], timeout=5)
                raise InterruptedStartError
            platform = starting.result()
            try:
                await self._first_admin_token(platform)
                self._record(directory, temp_dir, platform)
                self._progress.ready(platform.addresses, self._facts(temp_dir))
                await self._until_stopped(platform, stop)
            finally:
                self._progress.stage("stopping", "Stopping; a second Ctrl-C does not wait")
                await stop.unless_forced(platform.stop(), self._settings.supervision.stop_timeout_s * 2)
                self._admin_token_file.unlink(missing_ok=True)

    def _facts(self, temp_dir: Path) -> dict[str, Any]:
        facts: dict[str, Any] = {
            "pid": os.getpid(),
            "data_dir": str(self._settings.data_dir),
            "admin_token_file": str(self._admin_token_file),
        }
        if self._settings.ray.address == "local":
            facts["log_dir"] = str(temp_dir / "session_latest" / "logs")
        return facts

    async def _until_stopped(self, platform: Platform, stop: StopEvents) -> None:
        async def keep_token() -> NoReturn:
            while True:
                there = self._admin_token_file.exists()
                await asyncio.sleep(_RENEW_ADMIN_TOKEN_S if there else _LOOK_FOR_SEAL_S)
                with contextlib.suppress(AnyaError):  # the present one holds for hours still
                    await self._renew_admin_token(platform)

        renewing = asyncio.ensure_future(keep_token())
        failing = asyncio.ensure_future(platform.wait_failed())
        try:
            if await stop.before(failing):
                raise failing.result()
        finally:
            renewing.cancel()
            failing.cancel()

    async def _first_admin_token(self, platform: Platform) -> None:
        if self._unseal:
            await platform.unseal()
        try:
            await self._renew_admin_token(platform)
        except SealedError as error:  # and stays so: tokens made before still unseal it
            self._progress.stage("sealed", str(error))

    async def _renew_admin_token(self, platform: Platform) -> None:
        token = await platform.issue_token("admin", ADMIN_SCOPES, _ADMIN_TOKEN_TTL_S)
        write_private(self._admin_token_file, token.encode())

    def _record(self, directory: DataDirectory, temp_dir: Path, platform: Platform | None) -> None:
        own_ray = self._settings.ray.address == "local"
        directory.write(
            Record(
                instance=self._instance,
                pid=os.getpid(),
                started_unix_s=psutil.Process().create_time(),
                phase="ready" if platform else "starting",
                temp_dir=str(temp_dir),
                log_dir=str(self._settings.log_dir / "ray"),
                admin_token_file=str(self._admin_token_file),
                addresses=platform.addresses if platform else None,
                ray_address=ray_address() if platform else None,
                ray_token_file=str(ray_token_file(self._settings)) if own_ray else None,
            )
        )


def _clean(finish: Callable[[float], int], *, forced: bool) -> None:
    """Leave Ray, then end whatever is left. Another signal meanwhile skips the asking."""
    try:
        if not forced:
            stop_ray()
    except KeyboardInterrupt:
        forced = True
    ignore_signals()
    finish(0.0 if forced else 2.0)


def _leave_at_once(directory: DataDirectory) -> NoReturn:
    """Ray's own exit hooks would wait for processes that have just been killed."""
    directory.__exit__(None, None, None)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(FORCED)


def _write_trace(settings: Settings) -> None:
    with contextlib.suppress(OSError):
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        with (settings.log_dir / "launcher.log").open("a", encoding="utf-8") as log:
            traceback.print_exc(file=log)
