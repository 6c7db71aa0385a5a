"""`anya_actors.platform.connect` without a platform: it says what is missing, at once."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from anya_actors.cli.faults import NotRunningError, StillStartingError
from anya_actors.cli.instance import DataDirectory, Record
from anya_actors.config import load_settings
from anya_actors.platform import RayUnreachableError, connect


async def test_where_no_platform_runs_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="no platform runs on"):
        await connect(tmp_path / "nowhere").__aenter__()


async def test_a_platform_that_is_not_ready_is_waited_for_by_the_caller(tmp_path: Path) -> None:
    record = Record(
        instance="i",
        pid=os.getpid(),
        started_unix_s=psutil.Process().create_time(),
        phase="starting",
        temp_dir="",
        log_dir="",
        admin_token_file="",
    )
    with DataDirectory(load_settings(flags={"data_dir": tmp_path})) as directory:
        directory.write(record)
        with pytest.raises(StillStartingError):
            await connect(tmp_path).__aenter__()


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no test before had left this process connected to Ray."""
    monkeypatch.setattr("anya_actors.platform._connected", lambda: False)


@pytest.mark.usefixtures("apart")
@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1:x"])
async def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(RayUnreachableError, match=address):
        await connect(ray_address=address).__aenter__()


@pytest.mark.usefixtures("apart")
async def test_an_address_where_nobody_listens_is_refused_without_asking_ray() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(RayUnreachableError, match="Connect call failed"):
            await connect(ray_address=address).__aenter__()


def test_ray_is_imported_when_it_is_joined_and_not_before() -> None:
    program = "import sys, anya_actors.platform; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
