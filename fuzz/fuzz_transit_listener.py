"""The Transit listener over a whole HSM: no body, path or ciphertext makes it fail in any other words."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any

import atheris

with atheris.instrument_imports(include=["anya_actors.serve.transit", "anya_actors.services.hsm_session"]):
    from anya_actors.domain.machine import AnyaError
    from anya_actors.serve.app import build_door
    from anya_actors.serve.settings import DoorSettings
    from anya_actors.serve.transit.app import build_transit
    from anya_actors.serve.transit.words import parse_sealed, sealed
    from anya_actors.testing.local_hsm import LocalHsm

import httpx

from fuzz.engine import run

TYPES = ("aes256-gcm96", "ed25519", "ecdsa-p256", "ecdsa-secp256k1", "rsa-2048", "hmac", "x25519")
PATHS = (
    "encrypt",
    "decrypt",
    "rewrap",
    "sign",
    "verify",
    "hmac",
    "datakey/plaintext",
    "datakey/wrapped",
)
LOOP = asyncio.new_event_loop()


class Listener:
    """The application, called without a socket."""

    def __init__(self) -> None:
        self._client: Any = None

    async def start(self) -> None:
        """An HSM in this process, with one key of each type."""
        hsm = LocalHsm()
        service = await hsm.start()
        names = hsm.settings
        door = build_door(hsm.actors, hsm.clock, DoorSettings(audience=names.audience, issuer=names.issuer))
        token = await service.issue_token("alice", ("security",), 10**6, message_id="token")
        transport = httpx.ASGITransport(build_transit(door), raise_app_exceptions=True)
        headers = {"X-Vault-Token": token}
        self._client = httpx.AsyncClient(transport=transport, base_url="http://t/v1/transit", headers=headers)
        for name in TYPES:
            await self.post(f"keys/{name}", json.dumps({"type": name}).encode())

    async def post(self, path: str, body: bytes) -> Any:
        """What it answers; a failure of the server is a finding."""
        answer = await self._client.post(path, content=body)
        if answer.status_code >= 500:
            raise AssertionError(f"{path}: {answer.status_code} {answer.text}")
        if answer.status_code >= 400 and not {"errors", "data"} & set(answer.json()):
            raise AssertionError(answer.text)
        return answer


LISTENER = Listener()


def one_input(data: bytes) -> None:
    with contextlib.suppress(AnyaError):
        version, found = parse_sealed(data.decode("latin-1"), "ciphertext")
        if parse_sealed(sealed(found, version), "ciphertext") != (version, found):
            raise AssertionError(data)
    if len(data) >= 2:
        path = f"{PATHS[data[0] % len(PATHS)]}/{TYPES[data[1] % len(TYPES)]}"
        LOOP.run_until_complete(LISTENER.post(path, data[2:]))


def seeds() -> list[bytes]:
    """A valid body for each path."""
    text = base64.b64encode(b"a text").decode()
    bodies: list[dict[str, Any]] = [
        {"plaintext": text, "associated_data": text, "key_version": 1},
        {"ciphertext": f"vault:v1:{base64.b64encode(bytes(40)).decode()}"},
        {"batch_input": [{"plaintext": text, "reference": "a"}, {"input": text, "context": text}]},
        {"input": text, "hash_algorithm": "sha2-256", "prehashed": True, "marshaling_algorithm": "jws"},
        {"input": text, "signature": f"vault:v1:{text}", "hmac": f"vault:v1:{text}", "salt_length": "auto"},
        {"bits": 256, "context": text, "nonce": text, "partial_failure_response_code": 200},
    ]
    whole = [json.dumps(body).encode() for body in bodies]
    numbers = range(len(PATHS))
    return [bytes((number, kind)) + body for number in numbers for kind in (0, 1, 4) for body in whole]


if __name__ == "__main__":
    LOOP.run_until_complete(LISTENER.start())
    run(one_input, seeds())
