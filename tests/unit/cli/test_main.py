"""The command line: what it says without a platform, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from anya_actors import __version__
from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
from anya_actors.cli.doctor import findings
from anya_actors.cli.main import main
from anya_actors.config import load_settings


def anya(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of one command."""
    monkeypatch.setattr(sys, "argv", ["anya", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capsys.readouterr()
    return int(stopped.value.code or 0), printed.out, printed.err


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return str(tmp_path / "data")


def test_help_names_every_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = anya(capsys, monkeypatch, "--help")
    assert code == 0
    for command in ("up", "down", "status", "token", "demo", "doctor", "bitcoin"):
        assert f"\n  {command} " in out


def test_the_version_is_the_packages(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert anya(capsys, monkeypatch, "--version")[:2] == (0, f"{__version__}\n")


def test_the_command_line_does_not_load_ray_or_the_platform() -> None:
    program = (
        "import sys, anya_actors.cli.main as m; sys.argv = ['anya', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'ray', 'fastapi', 'httpx', 'rich.markdown', 'anya_actors.bootstrap'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("status",), 7, "no platform runs on"),
        (("down",), 7, "no platform runs on"),
        (("token", "create", "--scopes", "system:read"), 7, "no platform runs on"),
        (("up", "--port", "70000"), 3, "api.port is not a usable setting"),
        (("up", "--config", "nowhere.toml"), 3, "nowhere.toml"),
        (("up", "--nonsense"), 2, "No such option"),
        (("token", "create"), 2, "--scopes"),
        (("token", "create", "--scopes", "a", "--ttl", "0"), 2, "--ttl"),
    ],
)
def test_a_command_that_cannot_be_done_names_the_cause(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    data_dir: str,
    arguments: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    monkeypatch.setenv("ANYA_DATA_DIR", data_dir)
    found, out, err = anya(capsys, monkeypatch, *arguments)
    assert (found, out) == (code, "")
    assert text in err
    assert "Traceback" not in err


def test_a_doctor_prints_one_line_per_check_for_programs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data_dir: str
) -> None:
    monkeypatch.setenv("ANYA_API_PORT", "0")
    _, out, _ = anya(capsys, monkeypatch, "doctor", "--json", "--data-dir", data_dir)
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["check"] for line in lines} >= {"python", "memory", "data directory", "port", "passphrase"}
    assert not Path(data_dir).exists(), "a doctor changes nothing"


def test_a_doctor_tries_whether_memory_can_be_locked(monkeypatch: pytest.MonkeyPatch, data_dir: str) -> None:
    monkeypatch.setenv("ANYA_DATA_DIR", data_dir)
    monkeypatch.setenv("ANYA_API_PORT", "0")
    for allowed in (True, False):
        monkeypatch.setattr(LinuxProcessGuard, "lock", lambda _, __, allowed=allowed: allowed)
        (finding,) = [each for each in findings(load_settings()) if each.check == "locked memory"]
        assert finding.well is allowed
        assert ("may be swapped" in finding.found) is not allowed


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (KeyError("a secret"), "KeyError at test_main.py:"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "a secret"), "it is not text in UTF-8"),
    ],
)
def test_what_nobody_foresaw_ends_in_a_sentence_without_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: Exception, text: str
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("anya_actors.cli.main.app", fail)
    code, _, err = anya(capsys, monkeypatch)
    assert code == 1
    assert text in err
    assert "Traceback" not in err
    assert "a secret" not in err


def test_a_token_that_others_may_read_is_not_sent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text("a-token")
    file.chmod(0o644)
    command = ("hsm", "key", "approve", "k", "sign", "--token-file", str(file), "--api")
    assert anya(capsys, monkeypatch, *command, "http://127.0.0.1:9")[0] == 6
    file.chmod(0o600)
    code, _, err = anya(capsys, monkeypatch, *command, "127.0.0.1:9")
    assert (code, "begins with http" in err) == (1, True)
    assert anya(capsys, monkeypatch, *command[:5], "--api", "http://127.0.0.1:9")[0] == 2
