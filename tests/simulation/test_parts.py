"""The parts of the simulation by themselves: its time, its disk, its processes."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.testing.simulation.disk import MountedDisk
from anya_actors.testing.simulation.loop import StuckError
from anya_actors.testing.simulation.process import Machine, Process, ProcessDied
from anya_actors.testing.simulation.world import World

SEEDS = range(60)


def run(seed: int, program: Callable[[World, Machine], Coroutine[Any, Any, Any]]) -> Any:
    """Run ``program`` in a world without faults and with one machine that does nothing."""
    world = World(seed)
    world.faults.heal()

    async def idle(_: Process) -> None:
        """Nothing to do."""

    machine = world.add_machine("machine", idle)

    async def main() -> Any:
        machine.boot()
        return await program(world, machine)

    return world.run(main())


def mounted(machine: Machine) -> MountedDisk:
    assert machine.process is not None
    return machine.disk.mounted(machine.process)


def test_a_year_passes_at_once() -> None:
    async def program(world: World, _: Machine) -> float:
        await asyncio.sleep(365 * 86400)
        return world.now_s

    assert run(0, program) == 365 * 86400


def test_waiting_for_what_never_comes_is_told_at_once() -> None:
    async def program(_: World, __: Machine) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(StuckError):
        run(0, program)


def test_tasks_that_are_ready_together_run_in_every_order() -> None:
    async def program(_: World, __: Machine) -> str:
        order: list[str] = []

        async def note(name: str) -> None:
            order.append(name)

        await asyncio.gather(*(note(name) for name in "abc"))
        return "".join(order)

    assert len({run(seed, program) for seed in SEEDS}) == 6


def after_a_crash(seed: int, *, power: bool) -> bytes:
    async def program(_: World, machine: Machine) -> bytes:
        file = mounted(machine).open("f")
        file.append(b"synced|")
        file.sync()
        file.append(b"u" * 200)
        machine.crash(power=power)
        with pytest.raises(ProcessDied):
            file.append(b"from the grave")
        await asyncio.sleep(10)
        file = mounted(machine).open("f")
        return file.read(0, file.size())

    found: bytes = run(seed, program)
    return found


def test_a_killed_process_leaves_what_it_wrote() -> None:
    assert {after_a_crash(seed, power=False) for seed in SEEDS} == {b"synced|" + b"u" * 200}


def test_a_power_cut_keeps_what_was_synced_and_anything_of_the_rest() -> None:
    left = {after_a_crash(seed, power=True) for seed in SEEDS}
    assert all(content.startswith(b"synced|") for content in left)
    rests = {content.removeprefix(b"synced|") for content in left}
    assert b"" in rests
    assert b"u" * 200 in rests
    assert any(0 < len(rest) < 200 for rest in rests), "torn"
    assert any(b"\0" in rest for rest in rests), "holes"


def test_what_a_failed_sync_left_in_memory_is_not_there_when_the_file_is_opened_again() -> None:
    async def program(world: World, machine: Machine) -> bytes:
        file = mounted(machine).open("f")
        file.append(b"lost")
        world.faults.sync_error = 1.0
        with pytest.raises(OSError, match="Input/output") as told:
            file.sync()
        assert told.value.errno == errno.EIO
        world.faults.heal()
        file.sync()
        assert file.read(0, 4) == b"lost"
        machine.crash(power=False)
        await asyncio.sleep(10)
        return mounted(machine).open("f").read(0, 4)

    assert run(0, program) == bytes(4)


def after_rewriting(seed: int) -> tuple[bytes, ...]:
    """What a log holds after its machine may have crashed at any step of a rewriting."""

    async def program(world: World, machine: Machine) -> tuple[bytes, ...]:
        log = await FileAppendLog.open(mounted(machine), "log", world.randomness())
        await log.append(b"one", b"secret")
        await log.append(b"three")
        world.faults.crash_at_write = 0.1
        change = log.rewrite(lambda record: record.replace(b"secret", b"hidden"), b"more")
        # A call of a dead process never returns.
        with suppress(TimeoutError):
            await asyncio.wait_for(change, 10)
        world.faults.heal()
        machine.crash(power=True)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(10)
        again = await FileAppendLog.open(mounted(machine), "log", world.randomness())
        assert machine.disk.files.keys() == {"log"}
        return tuple(await again.read(0, 9))

    found: tuple[bytes, ...] = run(seed, program)
    return found


def test_a_log_that_is_rewritten_amid_crashes_is_the_old_or_the_new_one() -> None:
    old, new = (b"one", b"secret", b"three"), (b"one", b"hidden", b"three", b"more")
    assert {after_rewriting(seed) for seed in SEEDS} == {old, new}


def test_a_dead_process_does_nothing_any_more() -> None:
    async def program(_: World, machine: Machine) -> list[str]:
        done: list[str] = []

        async def work(name: str) -> None:
            await asyncio.sleep(1)
            done.append(name)

        assert machine.process is not None
        machine.process.spawn(work("first life"))
        machine.crash(power=False)
        await asyncio.sleep(10)
        machine.process.spawn(work("second life"))
        await asyncio.sleep(2)
        return done

    assert run(0, program) == ["second life"]
