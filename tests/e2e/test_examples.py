"""Every program in `examples/` does what it says, run as a reader would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Launched

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
ANYA = ("-m", "anya_actors.cli.main")
Program = Callable[..., list[str]]


def run(*arguments: str, **environ: str) -> list[str]:
    """What the program prints, line by line; it must end well."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("ANYA_", "RAY_"))}
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=ROOT,
        env=clean | environ,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the one platform that the examples run against."""
    return tmp_path_factory.mktemp("examples") / "data"


@pytest.fixture(scope="module")
def program(data_dir: Path) -> Iterator[Program]:
    """Run an example against the platform, with a token of the scopes that the example asks for."""
    platform = Launched(data_dir, *ANYA, "up", "--json", "--port", "0", "--data-dir", str(data_dir))
    try:
        api = platform.wait_for("ready")["api"]

        def start(name: str, *arguments: str) -> list[str]:
            path = ROOT / "examples" / name
            # As the export line at the head of the example has it.
            scopes = path.read_text().partition("--scopes ")[2].partition(")")[0].strip('"')
            (token,) = run(*ANYA, "token", "create", "--scopes", scopes, "--data-dir", str(data_dir))
            return run(str(path), *arguments, API=api, TOKEN=token)

        yield start
    finally:
        platform.end()


def test_an_order_is_paid_once_however_often_the_program_runs(program: Program) -> None:
    first = program("pay_once.py", "order-1")
    assert program("pay_once.py", "order-1") == first
    assert first[-1] == "the shop has 25000 sat"
    assert program("pay_once.py", "order-2")[-1] == "the shop has 50000 sat"


def test_a_listener_goes_on_where_it_stopped(program: Program, tmp_path: Path) -> None:
    kept = tmp_path / "cursor"
    lines = program("listen.py", str(kept), "3") + program("listen.py", str(kept), "3")
    assert [int(line.split()[0]) for line in lines] == [1, 2, 3, 4, 5, 6]
    assert kept.read_text() == "6"


def test_a_program_signs_and_archives_by_keys_of_the_hsm(program: Program, data_dir: Path) -> None:
    for _ in range(2):  # the second time the keys are there
        lines = run("examples/sign_in_session.py", str(data_dir))
        assert lines[-3:-1] == [
            "the signature does not verify under ed25519. "
            "Check that message, key and algorithm are those of the signer.",
            "5000 invoices signed",
        ]
    assert lines[-1] == "5000 invoices archived by version 2 of the key"
    assert lines[:2] == ["invoices is there already", "archive is there already"]


def test_an_actor_of_ones_own_loses_nothing_when_it_is_killed() -> None:
    # Ray prints among its lines that a process was killed.
    answered, counted = (line for line in run("-m", "examples.own_actor") if "(raylet)" not in line)
    assert answered.startswith("30 visits answered")
    assert counted == "30 visits counted, 30 letters settled, 30 letters posted"
