"""The ways by which a storm's callers reach the HSM: over Ray, and over HTTP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import httpx
import msgspec

from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import KeyView, SessionView
from anya_actors.domain.keys.operations import (
    OPERATION_OF,
    Answer,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    Request,
    SignRequest,
)
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import Actors

HSM: Final = "hsm/main"
TIMEOUT_S: Final = 60.0
ALL: Final = ("decrypt", "derive", "encrypt", "sign", "verify")


class HttpRefusalError(AnyaError):
    """A problem document, or no answer at all, from the HTTP door."""

    code = "http-refusal"
    message = "the door answered {}"
    remedy = "None: the storm goes on."

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.code = problem  # type: ignore[misc]  # counted under the door's own code


class Door(Protocol):
    """What every way offers. Whoever gives the same ``message_id`` again gets the same answer."""

    async def create(self, name: str, key_type: str, policy: KeyPolicy, message_id: str) -> KeyView: ...

    async def rotate(self, name: str, message_id: str) -> KeyView: ...

    async def open(self, keys: Sequence[str], message_id: str) -> str: ...

    async def close(self, session_id: str, message_id: str) -> None: ...

    async def perform(self, session_id: str, requests: Sequence[Request]) -> list[Answer]: ...


class RayDoor:
    """Calls the actors themselves, in the name of ``owner``."""

    def __init__(self, actors: Actors, owner: str) -> None:
        self.actors = actors
        self._owner = owner

    async def create(self, name: str, key_type: str, policy: KeyPolicy, message_id: str) -> KeyView:
        facts = (name, key_type, self._owner, ALL, policy)
        view: KeyView = await self._write("create_key", *facts, message_id=message_id)
        return view

    async def rotate(self, name: str, message_id: str) -> KeyView:
        view: KeyView = await self._write("rotate_key", name, self._owner, message_id=message_id)
        return view

    async def open(self, keys: Sequence[str], message_id: str) -> str:
        view: SessionView = await self._write("open_session", self._owner, tuple(keys), message_id=message_id)
        return view.session_id

    async def close(self, session_id: str, message_id: str) -> None:
        await self._write("close_session", session_id, message_id=message_id)

    async def perform(self, session_id: str, requests: Sequence[Request]) -> list[Answer]:
        return list(await self.in_session(session_id, "perform", tuple(requests)))

    async def in_session(self, session_id: str, method: str, *arguments: Any) -> Any:
        """What the session's actor answers."""
        return await self.actors.call(f"hsm-session/{session_id}", method, *arguments, timeout_s=TIMEOUT_S)

    async def token(self, message_id: str) -> str:
        """An access token of the owner."""
        return str(await self._write("issue_token", self._owner, ("security",), 3600, message_id=message_id))

    async def _write(self, method: str, *arguments: Any, message_id: str) -> Any:
        return await self.actors.call(HSM, method, *arguments, message_id=message_id, timeout_s=TIMEOUT_S)


class HttpDoor:
    """Calls `/api/v1/security` with a token of the owner."""

    def __init__(self, client: httpx.AsyncClient, token: str) -> None:
        self._client = client
        self._token = token

    async def create(self, name: str, key_type: str, policy: KeyPolicy, message_id: str) -> KeyView:
        bounds = {"counter_nonces": policy.counter_nonces}
        body = {"name": name, "key_type": key_type, "operations": ALL, "policy": bounds}
        return msgspec.convert(await self._post("keys", body, message_id), KeyView)

    async def rotate(self, name: str, message_id: str) -> KeyView:
        return msgspec.convert(await self._post(f"keys/{name}/rotate", {}, message_id), KeyView)

    async def open(self, keys: Sequence[str], message_id: str) -> str:
        return str((await self._post("sessions", {"keys": list(keys)}, message_id))["session_id"])

    async def close(self, session_id: str, message_id: str) -> None:
        await self._send("DELETE", f"sessions/{session_id}", None, message_id)

    async def perform(self, session_id: str, requests: Sequence[Request]) -> list[Answer]:
        body = {"operations": [_written(request) for request in requests]}
        found = await self._post(f"sessions/{session_id}/operations", body)
        return [Answer(bytes.fromhex(each["data_hex"]), each["version"]) for each in found["results"]]

    async def _post(self, path: str, body: Mapping[str, Any], message_id: str = "") -> Any:
        return await self._send("POST", path, body, message_id)

    async def _send(self, method: str, path: str, body: Mapping[str, Any] | None, message_id: str) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        if message_id:
            headers["Idempotency-Key"] = message_id
        try:
            answer = await self._client.request(
                method, f"/api/v1/security/{path}", json=body, headers=headers
            )
            found = answer.json() if answer.content else {}
        except (httpx.HTTPError, ValueError) as error:
            raise HttpRefusalError(type(error).__name__) from None
        if answer.is_success:
            return found
        raise HttpRefusalError(found.get("code", str(answer.status_code)))


def _written(request: Request) -> dict[str, Any]:
    """The operation as the HTTP door takes it."""
    facts: dict[str, Any] = {
        "operation": OPERATION_OF[type(request)],
        "key": request.key,
        "algorithm": request.algorithm,
        "version": request.version,
    }
    match request:
        case SignRequest() | MacRequest():
            data = request.message
        case EncryptRequest():
            data = request.plaintext
            facts["associated_data_hex"] = request.associated_data.hex()
        case DecryptRequest():
            data = request.ciphertext
            facts["associated_data_hex"] = request.associated_data.hex()
        case _:
            raise TypeError(f"a storm sends no {facts['operation']}")
    return {**facts, "data_hex": data.hex()}
