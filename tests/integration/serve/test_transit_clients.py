"""Transit under clients that are not ours, unchanged: securesystemslib's signer, hv4gha, node-vault."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from pathlib import Path

import pytest
import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hv4gha.vault import VaultTransit
from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signer, VaultSigner  # type: ignore[attr-defined]  # without an __all__

from tests.integration.serve.vault_listener import Listener, run

NODE_VAULT = Path(__file__).parent / "node_vault"


async def test_the_signer_of_securesystemslib_signs_by_the_version_that_it_took(
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
        client.secrets.transit.rotate_key("metadata")  # who has a version by its number keeps it
        signed = Signer.from_priv_key_uri(uri, key).sign(b"metadata of a release")
        key.verify_signature(signed, b"metadata of a release")
        with pytest.raises((UnverifiedSignatureError, VerificationError)):
            key.verify_signature(signed, b"of another one")

    await run(work)


async def test_hv4gha_imports_the_key_of_an_app_and_its_next_one_and_signs_by_both(
    listener: Listener,
) -> None:
    client = await listener.client()
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]
    vault = VaultTransit(vault_addr=listener.url, vault_token=client.token, transit_backend="transit")

    def work() -> None:
        # It waits 10 s for each answer: have the RSA-4096 key drawn before.
        requests.get(
            f"{listener.url}/v1/transit/wrapping_key", headers={"X-Vault-Token": client.token}, timeout=100
        ).raise_for_status()
        for number, key in enumerate(keys, 1):
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
            assert vault.import_key(key_name="app", pem_app_key=pem) == {"key_version": number}
        for number, key in enumerate(keys, 1):
            signed = vault.sign_jwt(
                key_name="app", key_version=number, app_client_id="app", retry_total=0, retry_backoff=0
            )
            head, _, signature = signed.rpartition(".")
            decoded = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
            key.public_key().verify(decoded, head.encode(), padding.PKCS1v15(), hashes.SHA256())

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
