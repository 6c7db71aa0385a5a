"""``anya demo``: the tour from its first process to its last figure."""

from __future__ import annotations

import contextlib
import signal
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from anya_actors.cli.api_client import ApiClient
from anya_actors.cli.demo.guide import Guide
from anya_actors.cli.demo.hosted import HostedPlatform
from anya_actors.cli.demo.stops import STOPS
from anya_actors.cli.demo.visit import Visit
from anya_actors.cli.demo.witness import EventListener, Node
from anya_actors.cli.faults import exit_code
from anya_actors.cli.output import as_json, print_error, print_json
from anya_actors.domain.machine import AnyaError

_MIB = 1024 * 1024


def take_tour(*, as_json_lines: bool) -> int:
    """Take the whole tour; 0 if every promise was kept. Leaves no process and no file behind."""
    signal.signal(signal.SIGTERM, _interrupt)
    guide = Guide(as_json_lines=as_json_lines)
    try:
        _visit(guide)
    except AnyaError as error:
        if as_json_lines:
            print_json(**as_json(error))
        print_error(error)
        return exit_code(error)
    guide.finish()
    return 0


def _visit(guide: Guide) -> None:
    guide.stop(
        "boot",
        "One command starts everything",
        "This is 'anya up', run in a temporary directory: Ray, the supervision tree, a Bitcoin node, "
        "an HSM and the HTTP API.",
    )
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        platform = stack.enter_context(HostedPlatform(guide.note))
        guide.figures["boot, from command to ready"] = f"{time.monotonic() - began:.1f} s"
        ready = platform.ready
        guide.tell("The platform is ready.", api=ready["api"], bitcoin_rpc=ready["bitcoin_rpc"])
        api = ApiClient(ready["api"], platform.admin_token())
        stack.callback(api.close)
        node = Node(ready["bitcoin_rpc"], Path(ready["bitcoin_cookie"]))
        stack.callback(node.close)
        events = stack.enter_context(EventListener(ready["api"], platform.admin_token()))
        visit = Visit(guide, platform, api, node, events)
        for stop in STOPS:
            stop(visit)
        _measure(guide, platform)
        events.__exit__(None, None, None)
        _leave(guide, platform)


def _measure(guide: Guide, platform: HostedPlatform) -> None:
    processes = platform.processes()
    memory = sum(_proportional_bytes(process) for process in processes)
    guide.figures["memory of all its processes (PSS)"] = f"{memory // _MIB} MiB"
    guide.figures["processes"] = str(len(processes))


def _leave(guide: Guide, platform: HostedPlatform) -> None:
    guide.stop("stop", "Ctrl-C", "The platform stops in the reverse order of its start.")
    before = platform.processes()
    began = time.monotonic()
    code = platform.stop()
    guide.figures["stop, from Ctrl-C to the last process"] = f"{time.monotonic() - began:.1f} s"
    guide.promise("it ends with exit code 0", code == 0, code)
    left = [process for process in before if process.is_running()]
    guide.promise("no process is left", not left, left)


def _proportional_bytes(process: psutil.Process) -> int:
    """Memory of a process; what several share counts by its share (PSS, proc(5))."""
    try:
        return int(process.memory_full_info().pss)
    except (psutil.Error, AttributeError):
        return 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
