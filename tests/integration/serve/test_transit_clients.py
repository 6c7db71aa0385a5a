"""Transit under clients that are not ours, unchanged: securesystemslib's signer, node-vault."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signer, VaultSigner  # type: ignore[attr-defined]  # without an __all__

from tests.integration.serve.vault_listener import Listener, run

NODE_VAULT = Path(__file__).parent / "node_vault"


async def test_the_signer_of_securesystemslib_signs_by_the_newest_version(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await listener.client()
    monkeypatch.setenv("VAULT_ADDR", listener.url)
    monkeypatch.setenv("VAULT_TOKEN", client.token)

    def work() -> None:
        client.secrets.transit.create_key("metadata", key_type="ed25519")
        for _ in range(10):  # it takes the newest version, by number and not by text
            client.secrets.transit.rotate_key("metadata")
        uri, key = VaultSigner.import_("metadata")
        assert uri == "hv:metadata/11"
        signed = Signer.from_priv_key_uri(uri, key).sign(b"metadata of a release")
        key.verify_signature(signed, b"metadata of a release")
        with pytest.raises((UnverifiedSignatureError, VerificationError)):
            key.verify_signature(signed, b"of another one")

    await run(work)


async def test_node_vault_uses_transit_by_its_own_functions(listener: Listener) -> None:
    node = shutil.which("node")
    if node is None or not (NODE_VAULT / "node_modules" / "node-vault").is_dir():
        pytest.skip("node-vault is absent: npm ci in tests/integration/serve/node_vault")
    own = {"VAULT_ADDR": listener.url, "VAULT_TOKEN": await listener.token(), "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        node, str(NODE_VAULT / "client.js"), env=own, stdout=asyncio.subprocess.PIPE
    )
    written, _ = await process.communicate()
    assert process.returncode == 0
    told = json.loads(written)

    def data(name: str, field: str) -> object:
        return told[name]["data"][field]

    assert told["health"]["sealed"] is told["status"]["sealed"] is False
    assert told["initialized"]["initialized"] is True
    assert told["mounts"]["transit/"]["type"] == "transit"
    assert data("own token", "display_name") == "alice"
    assert told["none yet"]["refused"] == told["not there"]["refused"] == 404
    assert data("read", "type") == data("made", "type") == "aes256-gcm96"
    assert data("listed", "keys") == ["k"]
    assert str(data("sealed", "ciphertext")).startswith("vault:v1:")
    assert str(data("rewrapped", "ciphertext")).startswith("vault:v2:")
    assert base64.b64decode(str(data("opened", "plaintext"))) == b"a text"
    assert told["forged"]["refused"] == told["renewed"]["refused"] == 400
    assert told["kept"]["refused"] == 403
    assert "refused" not in told["gone"]
    assert data("holds", "valid") is True
