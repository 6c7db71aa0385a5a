"""What `conftest.py` refuses of every unit test, refused once on purpose."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest


def test_a_unit_test_may_not_wait() -> None:
    with pytest.raises(AssertionError, match="ManualClock"):
        time.sleep(0.001)


async def test_an_async_unit_test_may_not_wait_but_may_give_way() -> None:
    await asyncio.sleep(0)
    with pytest.raises(AssertionError, match="ManualClock"):
        await asyncio.sleep(0.001)


def test_a_library_may_wait() -> None:
    subprocess.run([sys.executable, "-c", "pass"], check=True, timeout=30)


def test_a_unit_test_may_not_start_ray(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    class Ray:
        @staticmethod
        def init() -> None:
            raise RuntimeError("not refused")

        @staticmethod
        def is_initialized() -> bool:
            return False

    monkeypatch.setitem(sys.modules, "ray", Ray)
    refuse = request.getfixturevalue("refuse_ray")
    refuse()
    with pytest.raises(AssertionError, match="tests/actors"):
        Ray.init()
