"""The launcher leaves nothing behind, however it ends. Around three plain actors, for speed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from anya_actors.cli.processes import MARKER, end_all, of_instance
from tests.e2e.conftest import Launch, Launched, living, wait_gone

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(240)]

PROGRAM = str(Path(__file__).with_name("small_platform.py"))


def children_of(launched: Launched) -> list[psutil.Process]:
    return [psutil.Process(int(pid)) for pid in (launched.data_dir / "pids").read_text().split()]


def test_a_killed_launcher_leaves_no_process_and_its_directory_can_be_used_again(
    launch: Launch, tmp_path: Path
) -> None:
    data_dir = tmp_path / ("deep" * 20) / "data"  # longer than a socket's name may be
    first = launch(PROGRAM, str(data_dir), data_dir=data_dir)
    first.wait_for("ready")
    instance, temp_dir, children = first.instance(), Path(first.record()["temp_dir"]), children_of(first)
    assert len(living(children)) == 4

    locked = launch(PROGRAM, str(data_dir), data_dir=data_dir)
    assert locked.wait_for("error")["code"] == "data-directory-locked"
    assert str(first.process.pid) in locked.lines[-1]["message"]
    assert locked.wait_end() == 4

    first.process.kill()
    assert first.wait_end() == -9
    second = launch(PROGRAM, str(data_dir), data_dir=data_dir)
    wait_gone(instance, children)
    second.wait_for("ready")
    assert not temp_dir.exists()
    assert (data_dir / "log").is_dir()

    instance, temp_dir, children = second.instance(), Path(second.record()["temp_dir"]), children_of(second)
    second.interrupt()
    assert second.wait_end() == 0
    assert living(children) == []
    assert living(of_instance(instance)) == []
    assert not temp_dir.exists()
    assert sorted(path.name for path in (data_dir / "run").iterdir()) == ["lock", "ray-token"]


def test_a_second_ctrl_c_does_not_wait_for_a_platform_that_cannot_stop(
    launch: Launch, tmp_path: Path
) -> None:
    stuck = launch(PROGRAM, str(tmp_path / "data"), "hang-at-stop")
    stuck.wait_for("ready")
    instance, children = stuck.instance(), children_of(stuck)
    stuck.interrupt()
    while stuck.wait_for("stage")["stage"] != "stopping":
        pass
    stuck.interrupt()
    assert stuck.wait_end() == 130
    assert living(children) == []
    wait_gone(instance)


def test_a_stop_during_the_start_leaves_nothing(launch: Launch, tmp_path: Path) -> None:
    early = launch(PROGRAM, str(tmp_path / "data"))
    while early.wait_for("stage")["stage"] != "ray":
        pass
    instance = early.instance()
    early.process.terminate()
    assert early.wait_end() == 130
    assert "Traceback" not in early.stderr()
    wait_gone(instance)


def test_processes_of_an_instance_are_ended_with_their_children() -> None:
    mark = f"test-{os.getpid()}"
    # The child forgets the mark, as one with a cleaned environment does.
    program = (
        "import subprocess, sys; subprocess.Popen(['sleep', '60'], env={}); print('up', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        env={MARKER: mark, "PATH": os.environ["PATH"]},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        found = of_instance(mark)
        assert {process.name() for process in found} >= {"sleep"}
        assert end_all(mark, grace_s=0.5) == 2
    assert of_instance(mark) == set()
    assert not any(process.is_running() and process.status() != "zombie" for process in found)
