"""The whole platform as a user meets it: its commands, its errors, its end."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from anya_actors.cli.processes import of_instance
from tests.e2e.conftest import ANYA, Launch, Launched, anya, living, wait_gone

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(300)]


def up(data_dir: Path, *arguments: str) -> Launched:
    return Launched(data_dir, *ANYA, "up", "--json", "--port", "0", "--data-dir", str(data_dir), *arguments)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """One platform for the tests that leave it running."""
    launched = up(tmp_path_factory.mktemp("platform") / "data")
    try:
        launched.wait_for("ready")
        yield launched
    finally:
        launched.end()


def ready(platform: Launched) -> dict[str, str]:
    found: dict[str, str] = platform.lines[-1]
    return found


def test_up_prints_only_json_lines_and_ends_with_the_addresses(platform: Launched) -> None:
    assert [line["event"] for line in platform.lines[:-1]] == ["stage"] * (len(platform.lines) - 1)
    assert httpx.get(ready(platform)["api"] + "/readyz", timeout=60.0).json() == {"status": "ready"}
    user, _, password = Path(ready(platform)["bitcoin_cookie"]).read_text().strip().partition(":")
    answer = httpx.post(
        ready(platform)["bitcoin_rpc"], auth=(user, password), json={"id": 1, "method": "uptime"}
    )
    assert answer.json()["error"] is None
    assert httpx.get(ready(platform)["esplora"] + "/blocks/tip/height", timeout=60.0).text.isdigit()
    for name in ("electrum", "zmq_rawblock", "zmq_rawtx", "zmq_hashblock", "zmq_hashtx", "zmq_sequence"):
        place = urlsplit(ready(platform)[name])
        assert place.scheme == "tcp"
        socket.create_connection((str(place.hostname), place.port or 0), timeout=60).close()


def test_what_is_written_for_other_commands_is_private(platform: Launched) -> None:
    run = platform.data_dir / "run"
    for name in ("platform.json", "admin-token", "ray-token", "lock"):
        assert (run / name).stat().st_mode & 0o777 == 0o600, name
    assert (platform.data_dir / "hsm" / "passphrase").stat().st_mode & 0o777 == 0o600


def test_status_lists_the_actors_one_per_line_for_a_pipe(platform: Launched) -> None:
    code, out, err = anya("status", "--data-dir", str(platform.data_dir))
    assert (code, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines[0]["event"] == "platform"
    running = {line["name"] for line in lines[1:] if line["pid"]}
    assert {"bitcoin-node/main", "bitcoin/main", "hsm/main"} <= running


def test_token_create_prints_a_token_that_opens_what_it_names_and_no_more(platform: Launched) -> None:
    where = ("--data-dir", str(platform.data_dir))
    code, out, err = anya("token", "create", "--scopes", "system:read", "--ttl", "60", *where)
    assert (code, err, out.count("\n")) == (0, "", 1)
    headers = {"Authorization": f"Bearer {out.strip()}"}
    assert (
        httpx.get(ready(platform)["api"] + "/api/v1/system", headers=headers, timeout=60.0).status_code == 200
    )
    refused = httpx.get(ready(platform)["api"] + "/api/v1/bitcoin/tip", headers=headers, timeout=60.0)
    assert refused.status_code == 403


def test_an_unknown_scope_is_refused_with_the_platforms_own_words(platform: Launched) -> None:
    code, out, err = anya("token", "create", "--scopes", "moon", "--data-dir", str(platform.data_dir))
    assert (code, out) == (1, "")
    assert "system:read" in err


def test_a_second_platform_on_the_same_directory_is_refused(platform: Launched) -> None:
    code, out, err = anya("up", "--port", "0", "--data-dir", str(platform.data_dir))
    assert code == 4
    assert f"process id {platform.process.pid}" in err
    assert "Traceback" not in out + err


def test_a_second_platform_on_the_same_port_is_refused(platform: Launched, tmp_path: Path) -> None:
    port = ready(platform)["api"].rpartition(":")[2]
    code, _, err = anya("up", "--port", port, "--data-dir", str(tmp_path / "other"))
    assert code == 5
    assert "--port 0" in err


def test_settings_are_shown_without_secrets(platform: Launched) -> None:
    token = Path(ready(platform)["admin_token_file"]).read_text()
    answer = httpx.get(
        ready(platform)["api"] + "/api/v1/system", headers={"Authorization": f"Bearer {token}"}
    )
    assert answer.json()["settings"]["data_dir"] == str(platform.data_dir)
    passphrase = (platform.data_dir / "hsm" / "passphrase").read_text().strip()
    assert passphrase not in answer.text
    assert token not in answer.text


def test_a_platform_that_was_killed_whole_comes_back_with_everything(launch: Launch, tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    arguments = (*ANYA, "up", "--json", "--port", "0", "--data-dir", str(data_dir))
    first = launch(*arguments, data_dir=data_dir)
    told = first.wait_for("ready")
    headers = {"Authorization": f"Bearer {Path(told['admin_token_file']).read_text()}"}
    api = told["api"] + "/api/v1/bitcoin"
    made = httpx.post(f"{api}/wallets", json={"name": "kept"}, headers=headers, timeout=30)
    assert made.status_code == 201
    instance = first.instance()

    first.process.kill()
    assert first.wait_end() == -9
    wait_gone(instance)

    second = launch(*arguments, data_dir=data_dir)
    told = second.wait_for("ready")
    headers = {"Authorization": f"Bearer {Path(told['admin_token_file']).read_text()}"}
    found = httpx.get(f"{told['api']}/api/v1/bitcoin/wallets", headers=headers, timeout=30).json()["items"]
    assert [wallet["address"] for wallet in found] == [made.json()["address"]]

    instance = second.instance()
    assert anya("down", "--data-dir", str(data_dir)) == (0, "", "")
    assert second.wait_end() == 0
    assert living(of_instance(instance)) == []
    assert anya("down", "--data-dir", str(data_dir))[0] == 7

    passphrase = data_dir / "hsm" / "passphrase"
    passphrase.write_text("not the one it was sealed with\n")
    third = launch(*arguments, data_dir=data_dir)
    assert third.wait_for("error")["code"] == "wrong-passphrase"
    assert third.wait_end() == 6
    assert "Traceback" not in third.stderr()

    passphrase.unlink()
    assert anya("up", "--port", "0", "--data-dir", str(data_dir))[0] == 6


def test_the_demo_keeps_every_promise() -> None:
    code, out, err = anya("demo", "--json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 0, (lines[-3:], err)
    assert lines[-1]["event"] == "finished"
    assert all(line["kept"] for line in lines if line["event"] == "promise")
    stops = [line["stop"] for line in lines if line["event"] == "stop"]
    assert stops == ["boot", "tree", "mine", "hsm", "pay", "bump", "kill", "audit", "stop"]
