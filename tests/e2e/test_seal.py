"""The HSM of a whole platform, unsealed by people's shares, and sealed by hand and for want of use."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from tests.e2e.conftest import ANYA, Launch, Launched, anya

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(600)]

IDLE_S = 20
PATIENCE_S = 240.0
UP = (*ANYA, "up", "--json", "--config")


class Places(NamedTuple):
    """Where the settings, the shares and those at home are."""

    config: str
    shares: Path
    home: Path


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Settings of a platform whose passphrase is in three shares, of which two are needed."""
    places = Places(str(tmp_path / "anya.toml"), tmp_path / "shares", tmp_path / "home")
    hsm = f'share_directory = "{places.shares}"\nargon2_memory_kib = 19456\n'
    Path(places.config).write_text(f'data_dir = "{tmp_path}/data"\n[api]\nport = 0\n[hsm]\n{hsm}')
    passphrase = tmp_path / "data" / "hsm" / "passphrase"
    passphrase.parent.mkdir(parents=True, mode=0o700)
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(32))
    split = ("hsm", "split-passphrase", str(places.shares), "--threshold", "2", "--shares", "3")
    code, _, err = anya(*split, "--config", places.config)
    assert code == 0, err
    passphrase.unlink()
    places.home.mkdir()
    return places


class Alice:
    """Who keeps a token of her own, and two keys."""

    def __init__(self) -> None:
        self.http = httpx.Client(timeout=60.0)

    def goes_to(self, platform: Launched) -> None:
        """Ask this platform from now on."""
        self.http.base_url = httpx.URL(f"{platform.lines[-1]['api']}/api/v1/security/")

    def takes(self, token: str) -> None:
        self.http.headers["authorization"] = f"Bearer {token}"

    def post(self, path: str, body: object = None) -> Any:
        answer = self.http.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def status(self) -> Any:
        return self.http.get("seal-status").raise_for_status().json()

    def uses(self, *operations: dict[str, Any]) -> list[Any]:
        """Operations in a session of their own, which is closed then."""
        session = f"sessions/{self.post('sessions', {'keys': ['signing', 'secrecy']})['session_id']}"
        answers = self.post(f"{session}/operations", {"operations": operations})
        self.http.delete(session).raise_for_status()
        return list(answers["results"])

    def refused(self) -> tuple[int, str, str]:
        problem = self.http.post("sessions", json={"keys": ["signing"]})
        return problem.status_code, problem.json()["code"], problem.json()["remedy"]


SIGN = {"key": "signing", "operation": "sign", "algorithm": "ed25519", "data_hex": "5a"}
ENCRYPT = {"key": "secrecy", "operation": "encrypt", "algorithm": "aes256-gcm", "data_hex": "5a5a"}


def wait_until(condition: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.5)


def cli(*arguments: str) -> dict[str, Any]:
    """What a command that must succeed prints, which is one line."""
    code, out, err = anya(*arguments, "--json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


@pytest.fixture
def alice() -> Iterator[Alice]:
    alice = Alice()
    yield alice
    alice.http.close()


def test_shares_unseal_what_was_sealed_by_hand_and_for_want_of_use(
    launch: Launch, places: Places, alice: Alice
) -> None:
    where = ("--config", places.config)
    first = launch(*UP, places.config)
    first.wait_for("ready")
    alice.takes(anya("token", "create", "--scopes", "admin", "--subject", "alice", *where)[1].strip())
    alice.goes_to(first)
    signing = alice.post("keys", {"name": "signing", "key_type": "ed25519"})
    alice.post("keys", {"name": "secrecy", "key_type": "aes256-gcm", "operations": ["decrypt", "encrypt"]})
    signature, ciphertext = (each["data_hex"] for each in alice.uses(SIGN, ENCRYPT))
    decrypt = ENCRYPT | {"operation": "decrypt", "data_hex": ciphertext}
    assert cli("hsm", "seal", *where)["sealed"]
    first.process.terminate()
    assert first.wait_end() == 0

    for number in (1, 3):
        (places.shares / f"{number}.share").rename(places.home / f"{number}.share")
    with Path(places.config).open("a") as settings:
        settings.write(f"auto_seal_after_s = {IDLE_S}\n")
    second = launch(*UP, places.config)
    assert "sealed" in [line.get("stage") for line in [second.wait_for("ready"), *second.lines]]
    alice.goes_to(second)
    assert (alice.status()["sealed"], alice.status()["reason"]) == (True, "by admin")
    too_few = alice.http.post("unseal").json()
    assert too_few["code"] == "passphrase-source"
    assert "it holds 1 shares, and 2 are needed" in too_few["detail"]
    (places.home / "3.share").rename(places.shares / "3.share")
    assert not alice.post("unseal")["sealed"]
    signed, decrypted = alice.uses(SIGN, decrypt)
    assert (signed["data_hex"], decrypted["data_hex"]) == (signature, "5a5a")

    wait_until(lambda: bool(alice.status()["sealed"]))
    assert alice.status()["reason"] == f"idle for {IDLE_S} s"
    status, code, remedy = alice.refused()
    assert (status, code) == (503, "sealed")
    assert "anya hsm unseal" in remedy
    exit_code, out, err = anya("hsm", "keys", *where)
    assert (exit_code, out) == (1, "")
    assert f"the HSM is sealed: idle for {IDLE_S} s" in err
    assert not cli("hsm", "unseal", *where)["sealed"]
    signed, decrypted = alice.uses(SIGN, decrypt)
    assert (signed["data_hex"], decrypted["data_hex"]) == (signature, "5a5a")
    public_key, message = bytes.fromhex(signing["public_key"]), b"\x5a"
    algorithms = LibraryKeyAlgorithms(SystemRandomness())
    algorithms.verify("ed25519", public_key, message, bytes.fromhex(signature), "ed25519")

    entries = [json.loads(line) for line in anya("hsm", "audit", "list", "--json", *where)[1].splitlines()]
    seals = [(each["operation"], each["owner"], each["outcome"]) for each in entries]
    assert [each for each in seals if each[0] in ("seal", "unseal")] == [
        ("unseal", "hsm", "ok"),
        ("seal", "admin", "ok"),
        ("unseal", "alice", "refused: passphrase-source"),
        ("unseal", "alice", "ok"),
        ("seal", "hsm", "ok"),
        ("unseal", "admin", "ok"),
    ]
    assert cli("hsm", "audit", "verify", *where)["entries"] >= len(entries)
