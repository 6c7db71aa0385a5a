"""What a log line shows, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from anya_actors.actors.logs import configure_logs


@pytest.fixture(autouse=True)
def _logging_is_put_back() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def log_a_failure() -> None:
    passphrase = "".join(("correct", "horse"))
    try:
        raise ValueError(f"no such key, {len(passphrase)} bytes")
    except ValueError:
        structlog.get_logger().exception("it failed", actor="hsm/main")


@pytest.mark.parametrize("format", ["text", "json"])
def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str], format: str) -> None:
    configure_logs("info", format)
    log_a_failure()
    shown = capsys.readouterr().out
    assert "no such key, 12 bytes" in shown
    assert "correcthorse" not in shown


def test_json_is_one_object_a_line_from_the_level_upwards(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning", "json")
    structlog.get_logger().info("not shown")
    structlog.get_logger().warning("shown", actor="hsm/main")
    log_a_failure()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["level"], line["event"], line["actor"]) for line in lines] == [
        ("warning", "shown", "hsm/main"),
        ("error", "it failed", "hsm/main"),
    ]
