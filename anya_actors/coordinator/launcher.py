"""Starts processes, each written to the journal first."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec import structs

from anya_actors.coordinator.journal import Entry, Journal
from anya_actors.coordinator.processes import Identity, Process, Processes
from anya_actors.ports.state_store import FencedError

_log = structlog.get_logger(__name__)

LONGEST_REAPING_S = 10.0


@dataclass(frozen=True, slots=True)
class Found:
    """What is left of an actor that a dead supervisor kept; ``identity`` is None unless it serves."""

    entry: Entry
    process: Process | None
    identity: Identity | None
    standby: Process | None


class Launcher:
    """No process comes up that a restarted supervisor would not find, and none that nobody wants.

    ``superseded`` is set once the journal belongs to a newer supervisor: ours may act no more.
    """

    def __init__(self, processes: Processes, journal: Journal) -> None:
        self._processes = processes
        self._journal = journal
        self._reaping: set[asyncio.Task[None]] = set()
        self.superseded = False

    async def find_living(self, timeout_s: float) -> list[Found]:
        """Read the journal, find the processes that it names, kill those that it does not."""
        entries = [entry for entry in await self._journal.open() if entry.active]
        labels = {entry.label for entry in entries} | {e.standby for e in entries if e.standby}
        await self._processes.kill_strays(labels)
        return await asyncio.gather(*(self._find(entry, timeout_s) for entry in entries))

    async def _find(self, entry: Entry, timeout_s: float) -> Found:
        standby = None if entry.standby is None else await self._processes.find(entry.actor, entry.standby)
        process = await self._processes.find(entry.actor, entry.label) if entry.label else None
        identity = None
        if process is not None:
            try:
                async with asyncio.timeout(timeout_s):
                    identity = await process.identity()
            except Exception as error:  # noqa: BLE001 - one that cannot say who it is, is not adopted
                _log.warning("not adopted", label=process.label, error=reason(error))
        return Found(entry, process, identity, standby)

    async def launch(
        self, actor: str, supervisor: str, *, dynamic: bool, restarts: int, as_standby: bool = False
    ) -> Process:
        """Start a process for ``actor``, as the one that is to serve or as its standby.

        One whose launch is broken off is killed as soon as it is up.
        """
        entry = self._journal.entry(actor) or Entry(actor, "", supervisor, dynamic, 0, active=False)
        label = f"{actor}#{entry.launches + 1}"
        changes: dict[str, Any] = {"standby": label} if as_standby else {"label": label, "active": True}
        changes |= {"launches": entry.launches + 1, "restarts": restarts, "supervisor": supervisor}
        await self._write(structs.replace(entry, **changes))
        launching = asyncio.ensure_future(self._processes.launch(actor, label))
        try:
            return await asyncio.shield(launching)
        except asyncio.CancelledError:
            reaper = asyncio.create_task(self._reap(launching))
            self._reaping.add(reaper)
            reaper.add_done_callback(self._reaping.discard)
            raise

    async def promote(self, actor: str, standby: Process, *, restarts: int) -> None:
        """The standby is to serve from now on; it is killed when that cannot be written down."""
        entry = self._journal.entry(actor)
        try:
            if entry is not None:
                changed = structs.replace(
                    entry, label=standby.label, standby=None, active=True, restarts=restarts
                )
                await self._write(changed)
        except BaseException:
            await end(standby)
            raise

    async def forget(self, actor: str) -> None:
        """The actor was stopped for good; after a crash it is not looked for."""
        entry = self._journal.entry(actor)
        if entry is not None and entry.active:
            await self._write(structs.replace(entry, active=False))

    async def close(self) -> None:
        """Return when every launch that was broken off is dealt with, or takes too long."""
        if self._reaping:
            await asyncio.wait(self._reaping, timeout=LONGEST_REAPING_S)

    async def _reap(self, launching: asyncio.Future[Process]) -> None:
        try:
            process = await launching
        except Exception as error:  # noqa: BLE001 - it did not come up: that is well
            _log.info("a launch that was broken off failed", error=reason(error))
        else:
            await end(process)

    async def _write(self, entry: Entry) -> None:
        try:
            await self._journal.write(entry)
        except FencedError:
            self.superseded = True
            raise


async def end(process: Process) -> None:
    """Kill ``process``; fencing answers for one that cannot be killed."""
    try:
        await process.kill()
    except Exception as error:  # noqa: BLE001 - whoever wanted it dead must go on
        _log.error("could not be killed", label=process.label, error=reason(error))


async def stop_or_end(process: Process, timeout_s: float) -> None:
    """Let ``process`` finish in good order, or kill it when it does not."""
    try:
        async with asyncio.timeout(timeout_s):
            await process.stop()
    except Exception as error:  # noqa: BLE001 - a child that cannot stop is killed
        _log.warning("stop failed", label=process.label, error=reason(error))
    await end(process)


def reason(error: BaseException) -> str:
    """What ``error`` says, or at least what it is."""
    return str(error) or type(error).__name__
