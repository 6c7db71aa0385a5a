"""Unit tests run without Ray and without waiting: both are refused here, not only frowned upon."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

_OURS = ("anya_actors", "tests", "test_", "conftest")


def _called_by_us() -> bool:
    # Two frames up: this function, the refusing function, its caller. Libraries may sleep: only
    # our own code has a clock to be handed in.
    return str(sys._getframe(2).f_globals.get("__name__", "")).startswith(_OURS)


def _refuse_ray(*_: Any, **__: Any) -> NoReturn:
    raise AssertionError("a unit test started Ray: it belongs under tests/actors")


@pytest.fixture
def refuse_ray(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes ``ray.init`` away, if Ray has been imported."""

    def refuse() -> None:
        if "ray" in sys.modules:
            monkeypatch.setattr(sys.modules["ray"], "init", _refuse_ray)

    return refuse


@pytest.fixture(autouse=True)
def _no_ray(refuse_ray: Callable[[], None]) -> Iterator[None]:
    before = _ray_runs()  # the session's shared Ray, of tests that came before
    refuse_ray()
    yield
    if _ray_runs() and not before:
        raise AssertionError("this unit test started Ray: it belongs under tests/actors")


def _ray_runs() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep, sleep_async = time.sleep, asyncio.sleep

    def refuse(delay_s: float) -> None:
        if delay_s > 0 and _called_by_us():
            raise AssertionError(f"a unit test waits {delay_s} s: hand in a ManualClock")
        sleep(delay_s)

    def refuse_async(delay: float, result: Any = None) -> Any:
        if delay > 0 and _called_by_us():
            raise AssertionError(f"a unit test waits {delay} s: hand in a ManualClock")
        return sleep_async(delay, result)

    monkeypatch.setattr(time, "sleep", refuse)
    monkeypatch.setattr(asyncio, "sleep", refuse_async)
