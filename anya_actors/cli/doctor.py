"""``anya doctor``: can this machine run a platform, and keep its keys to itself? Changes nothing."""

from __future__ import annotations

import os
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import psutil
from rich.console import Console
from rich.text import Text

from anya_actors.adapters.files.secret_file import read_secret_file
from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
from anya_actors.cli.instance import read_record
from anya_actors.cli.output import print_json
from anya_actors.config import Settings
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.process_guard import ProcessGuard
from anya_actors.serve.port import reserve_port

_MIB: Final = 1024 * 1024
_NEEDED_MEMORY: Final = 1_536 * _MIB
_NEEDED_DISK: Final = 1_024 * _MIB
_NEEDED_FILES: Final = 4_096
_LOCKED_MEMORY: Final = 256 * 1024


class Finding(NamedTuple):
    """One check: what was looked at, whether it is well, and what was found."""

    check: str
    well: bool
    found: str


def examine(settings: Settings, *, as_json_lines: bool) -> int:
    """Print every finding; 0 if all is well, else 1."""
    well = True
    console = Console(highlight=False)
    for finding in findings(settings):
        well = well and finding.well
        if as_json_lines:
            print_json(event="check", **finding._asdict())
        else:
            mark = ("ok  ", "green") if finding.well else ("bad ", "bold red")
            line = Text.assemble(mark, f"{finding.check:<16} {finding.found}")
            console.print(line, soft_wrap=True)
    return 0 if well else 1


def findings(settings: Settings) -> Iterator[Finding]:
    """Every check, the cheap ones first."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", (3, 11) <= sys.version_info[:2] < (3, 13), version)
    memory = psutil.virtual_memory().available
    yield Finding("memory", memory >= _NEEDED_MEMORY, f"{memory // _MIB} MiB free, 1536 needed")
    yield _open_files()
    yield _locked_memory(LinuxProcessGuard())
    for check, path in (("data directory", settings.data_dir), ("temporary files", Path("/tmp"))):  # noqa: S108
        yield _disk(check, path)
    yield _passphrase(settings)
    if settings.hsm.backend == "pkcs11":
        yield _attempt("token", "the PKCS#11 token opens", lambda: _open_token(settings))
    record = read_record(settings.data_dir)
    if record is not None and record.launcher() is not None:
        yield Finding("platform", True, f"runs, process id {record.pid}")
        yield _hardening(settings)
    else:
        api = settings.api
        yield _attempt("port", f"{api.host}:{api.port} is free", lambda: _try_port(api.host, api.port))


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = hard == resource.RLIM_INFINITY or hard >= _NEEDED_FILES
    return Finding("open files", enough, f"limit {soft}, can be raised to {hard}; {_NEEDED_FILES} needed")


def _locked_memory(guard: ProcessGuard) -> Finding:
    soft = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    limit = "no limit" if soft == resource.RLIM_INFINITY else f"limit {soft // 1024} KiB"
    if guard.lock(bytearray(_LOCKED_MEMORY)):
        return Finding("locked memory", True, f"{limit}; keys stay out of swap")
    found = f"{limit}; a platform runs, but its keys may be swapped to disk: raise ulimit -l"
    return Finding("locked memory", False, found)


def _hardening(settings: Settings) -> Finding:
    """What the system refuses the processes with keys of the platform that runs."""
    from anya_actors.cli import api_client
    from anya_actors.cli.show import every_item

    refused: list[str] = []
    try:
        with api_client.admin_client(settings) as client:
            seal = client.get("/api/v1/security/seal-status")
            refused += [f"hsm/main: {each}" for each in seal["hardening_refused"]]
            for session in [] if seal["sealed"] else every_item(client, "/api/v1/security/sessions"):
                refused += [f"{session['actor']}: {each}" for each in session["hardening_refused"]]
    except AnyaError as error:
        return Finding("hardening", False, str(error))
    return Finding(
        "hardening", not refused, "; ".join(refused) or "nothing is refused to the HSM and sessions"
    )


def _disk(check: str, path: Path) -> Finding:
    there = next(p for p in (path, *path.parents) if p.exists())
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    found = f"{path}: {free // _MIB} MiB free, 1024 needed" if writable else f"{there} is not writable"
    return Finding(check, writable and free >= _NEEDED_DISK, found)


def _passphrase(settings: Settings) -> Finding:
    shares = settings.hsm.share_directory
    if shares is not None:
        return Finding("passphrase", shares.is_dir(), f"joined from the shares in {shares}")
    path = settings.passphrase_file
    if not path.exists():
        sealed = settings.state_dir.exists()
        return Finding("passphrase", not sealed, f"{path} {'is missing' if sealed else 'will be made'}")
    return _attempt("passphrase", str(path), lambda: read_secret_file(path))


def _open_token(settings: Settings) -> None:
    from anya_actors.adapters.system.randomness import SystemRandomness
    from anya_actors.bootstrap.keys import open_keys

    open_keys(settings.hsm, SystemRandomness(), writing=False)


def _attempt(check: str, found: str, attempt: Callable[[], object]) -> Finding:
    try:
        attempt()
    except AnyaError as error:
        return Finding(check, False, str(error))
    return Finding(check, True, found)


def _try_port(host: str, port: int) -> None:
    with reserve_port(host, port):
        pass
