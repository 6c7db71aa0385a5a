"""A Transit listener over a whole HSM, for clients of Vault's that block in threads."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import hvac
import uvicorn

from anya_actors.serve.app import build_door
from anya_actors.serve.server import uvicorn_config
from anya_actors.serve.settings import DoorSettings, Listen
from anya_actors.serve.transit.app import build_transit
from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm


@dataclass
class Listener:
    """A Transit listener in the test's own loop; what is called blocks in a thread."""

    url: str
    service: HsmService
    hsm: LocalHsm

    async def token(self, *scopes: str, subject: str = "alice") -> str:
        wanted = scopes or ("security",)
        return await self.service.issue_token(subject, wanted, 600, message_id=f"{subject}{wanted}")

    async def client(self, *scopes: str, subject: str = "alice") -> hvac.Client:
        return hvac.Client(url=self.url, token=await self.token(*scopes, subject=subject), timeout=120)


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    """A listener on a free port, and its HSM, while the block lasts."""
    hsm = LocalHsm()
    service = await hsm.start()
    names = hsm.settings
    door = build_door(hsm.actors, hsm.clock, DoorSettings(audience=names.audience, issuer=names.issuer))
    held = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn_config(build_transit(door), Listen("127.0.0.1", 0), any_method=True))
    serving = asyncio.create_task(server.serve(sockets=[held]))
    yield Listener(f"http://127.0.0.1:{held.getsockname()[1]}", service, hsm)
    server.should_exit = True
    await serving
    held.close()
    await door.drain()
    await hsm.close()


async def run(work: Callable[[], Any]) -> Any:
    """What blocking ``work`` returns, while the listener answers it."""
    return await asyncio.to_thread(work)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
