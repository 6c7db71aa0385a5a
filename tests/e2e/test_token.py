"""A platform whose users' keys are in a SoftHSM2 token, as a user starts it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from tests.e2e.conftest import Launch
from tests.integration.hsm.softhsm import LABEL, PIN, token_in

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(300)]

SECURITY = "/api/v1/security"
CHEAP = "argon2_memory_kib = 19456\nargon2_passes = 1\n"


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text(PIN)
    path = tmp_path / "anya.toml"
    with token_in(tmp_path) as module:
        uri = f"pkcs11:token={LABEL}?module-path={module}&pin-source=file:{pin}"
        hsm = f'[hsm]\nbackend = "pkcs11"\npkcs11_uri = "{uri}"\n{CHEAP}'
        path.write_text(f'data_dir = "{tmp_path}/data"\n[api]\nport = 0\n{hsm}')
        yield path


def test_keys_in_a_token_sign_also_after_the_hsm_was_killed(launch: Launch, config: Path) -> None:
    platform = launch("-m", "anya_actors.cli.main", "up", "--config", str(config), "--json")
    ready = platform.wait_for("ready")
    token = Path(ready["admin_token_file"]).read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=ready["api"], headers=headers, timeout=60) as client:
        refused = client.post(f"{SECURITY}/keys", json={"name": "tree", "key_type": "bip32"})
        assert (refused.status_code, refused.json()["code"]) == (501, "not-supported")
        key = client.post(f"{SECURITY}/keys", json={"name": "k", "key_type": "ed25519"}).json()
        first = sign(client)
        pid = client.get("/api/v1/system/actors/hsm/main").json()["pid"]
        os.kill(pid, signal.SIGKILL)
        assert sign(client) == first
    public_key = bytes.fromhex(key["public_key"])
    LibraryKeyAlgorithms(SystemRandomness()).verify("ed25519", public_key, b"\x5a", first, "ed25519")


def sign(client: httpx.Client) -> bytes:
    """A signature in a session of its own."""
    opened = client.post(f"{SECURITY}/sessions", json={"keys": ["k"]})
    body = {"key": "k", "algorithm": "ed25519", "message_hex": "5a"}
    answer = client.post(f"{opened.headers['location']}/sign", json=body)
    assert answer.status_code == 200, answer.text
    return bytes.fromhex(answer.json()["signature_hex"])
