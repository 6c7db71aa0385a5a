"""A disk as crashes show it: unsynced writes are lost, kept, torn or full of holes."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from anya_actors.ports.state_store import StoreLockedError
from anya_actors.testing.simulation.process import Process, ProcessDied

if TYPE_CHECKING:
    from anya_actors.testing.simulation.world import World

_SECTOR = 64


class _Content:
    """One file: what a reader sees, and how much of it is surely on disk.

    ``dropped`` are ranges whose sync failed: the kernel has marked their pages clean without
    writing them, so a later sync that succeeds says nothing about them.
    """

    def __init__(self) -> None:
        self.seen = bytearray()
        self.synced = 0
        self.dropped: list[tuple[int, int]] = []
        self.locked_by: Process | None = None

    def evict(self) -> None:
        """Show zeros where the kernel believed pages written that never were."""
        for start, end in self.dropped:
            self.seen[start:end] = bytes(end - start)
        self.dropped = []

    def cut(self, size: int) -> None:
        del self.seen[size:]
        self.synced = min(self.synced, size)
        self.dropped = [(start, min(end, size)) for start, end in self.dropped if start < size]


class SimulatedDisk:
    """The files of one machine. They outlive its processes; `lose_power` takes what was not synced."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name
        self.files: dict[str, _Content] = {}

    def mounted(self, process: Process) -> MountedDisk:
        """This disk as ``process`` uses it."""
        return MountedDisk(self._world, self, process)

    def lose_power(self) -> None:
        """Of each file keep what was synced and, of the rest, whatever chance left."""
        chance = self._world.chance
        for content in self.files.values():
            content.evict()
            unsynced = len(content.seen) - content.synced
            if unsynced == 0:
                continue
            fate = chance.randrange(4)
            if fate == 0:
                del content.seen[content.synced :]
            elif fate == 1:
                del content.seen[content.synced + chance.randrange(unsynced + 1) :]
            elif fate == 2:
                self._punch_holes(content)
            content.synced = len(content.seen)

    def _punch_holes(self, content: _Content) -> None:
        """The kernel writes pages in any order: some arrived, some did not."""
        for start in range(content.synced, len(content.seen), _SECTOR):
            if self._world.chance.random() < 0.5:
                end = min(start + _SECTOR, len(content.seen))
                content.seen[start:end] = bytes(end - start)


class MountedDisk:
    """A `Disk` for one process; dead with it."""

    def __init__(self, world: World, disk: SimulatedDisk, process: Process) -> None:
        self._world = world
        self._disk = disk
        self._process = process

    def open(self, name: str) -> SimulatedFile:
        self._process.check_alive()
        content = self._disk.files.setdefault(name, _Content())
        if content.locked_by is not None and content.locked_by.alive:
            raise StoreLockedError(name, self._disk.name)
        content.locked_by = self._process
        file = SimulatedFile(self._world, f"{self._disk.name}:{name}", content, self._process)
        file.show_what_is_on_disk()
        return file

    def exists(self, name: str) -> bool:
        self._process.check_alive()
        return name in self._disk.files

    def remove(self, name: str) -> None:
        self._process.check_alive()
        self._disk.files.pop(name, None)

    def rename(self, name: str, to: str) -> None:
        self._process.check_alive()
        faults, chance = self._world.faults, self._world.chance
        crashes = faults.strikes(faults.crash_at_write)
        if not crashes or chance.random() < 0.5:
            self._disk.files[to] = self._disk.files.pop(name)
        if crashes:
            self._world.trace(f"{self._disk.name}:{to}: crash in a renaming")
            self._process.machine.crash(power=chance.random() < faults.power_share)
            raise ProcessDied(self._process.name)
        if faults.strikes(faults.sync_error):
            raise OSError(errno.EIO, os.strerror(errno.EIO))


class SimulatedFile:
    """A `File` whose machine may fail at every call that changes it."""

    def __init__(self, world: World, name: str, content: _Content, process: Process) -> None:
        self._world = world
        self._name = name
        self._content = content
        self._process = process

    def show_what_is_on_disk(self) -> None:
        """What opening does: sync, then forget what failed syncs left in memory."""
        self.sync()
        self._content.evict()

    def size(self) -> int:
        self._process.check_alive()
        return len(self._content.seen)

    def read(self, offset: int, size: int) -> bytes:
        self._process.check_alive()
        return bytes(self._content.seen[offset : offset + size])

    def append(self, data: bytes) -> None:
        self._crash_perhaps("before a write")
        faults = self._world.faults
        if faults.strikes(faults.disk_full):
            self._content.seen += data[: self._world.chance.randrange(len(data) + 1)]
            self._world.trace(f"{self._name} is full")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if faults.strikes(faults.crash_at_write):
            self._content.seen += data[: self._world.chance.randrange(len(data) + 1)]
            self._crash("in the middle of a write")
        self._content.seen += data
        self._crash_perhaps("after a write")

    def sync(self) -> None:
        self._crash_perhaps("before a sync")
        content, faults = self._content, self._world.faults
        if faults.strikes(faults.sync_error):
            content.dropped.append((content.synced, len(content.seen)))
            content.synced = len(content.seen)
            self._world.trace(f"{self._name} fails to sync")
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if not faults.lying_disk:
            content.synced = len(content.seen)
        self._crash_perhaps("after a sync")

    def truncate(self, size: int) -> None:
        self._crash_perhaps("before a cut")
        faults = self._world.faults
        if faults.strikes(faults.sync_error):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._content.cut(size)
        if not faults.lying_disk:
            self._content.synced = size
        self._crash_perhaps("after a cut")

    def close(self) -> None:
        if self._content.locked_by is self._process:
            self._content.locked_by = None

    def _crash_perhaps(self, when: str) -> None:
        self._process.check_alive()
        if self._world.faults.strikes(self._world.faults.crash_at_write):
            self._crash(when)

    def _crash(self, when: str) -> None:
        self._world.trace(f"{self._name}: crash {when}")
        self._process.machine.crash(power=self._world.chance.random() < self._world.faults.power_share)
        raise ProcessDied(self._process.name)
