"""Being asked to stop, once and twice, and while somebody else handles the signal."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from anya_actors.cli.signals import STOPPING, ForcedStop, SignalRecord, StopEvents


@pytest.fixture(autouse=True)
def _handlers_are_put_back() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOPPING}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_that_another_handler_swallowed_is_still_known() -> None:
    with SignalRecord() as signals:
        signals.check()
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        send(signal.SIGTERM)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signals.check()


def test_a_signal_interrupts_what_runs() -> None:
    with SignalRecord() as signals:
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signals.check()


async def test_waiting_ends_with_the_first_signal() -> None:
    never = asyncio.get_running_loop().create_future()
    with StopEvents() as stop:
        send(signal.SIGINT)
        assert not await stop.before(never)


async def test_what_is_done_first_wins() -> None:
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    with StopEvents() as stop:
        assert await stop.before(done)


async def test_a_second_signal_does_not_wait_for_the_stop() -> None:
    async def stop_for_ever() -> None:
        send(signal.SIGTERM)
        await asyncio.Event().wait()

    with StopEvents() as stop, pytest.raises(ForcedStop):
        await stop.unless_forced(stop_for_ever(), 60.0)


async def test_a_stop_that_takes_too_long_is_left() -> None:
    with StopEvents() as stop:
        await stop.unless_forced(asyncio.Event().wait(), 0.001)  # type: ignore[arg-type]  # its bool is unused


async def test_a_stop_that_fails_says_why() -> None:
    async def fail() -> None:
        raise RuntimeError("cannot stop")

    with StopEvents() as stop, pytest.raises(RuntimeError, match="cannot stop"):
        await stop.unless_forced(fail(), 60.0)
