"""``hsm-session/<id>``: one session in a process of its own."""

from __future__ import annotations

from anya_actors.actors.shell import DurableActor, served
from anya_actors.services.hsm_session import HsmSessionService


class HsmSessionActor(DurableActor[HsmSessionService]):
    """A session on Ray. It keeps no state: what it held ends with its process."""

    @served
    async def public_key(self, key: str) -> bytes:
        return await self.service.public_key(key)

    @served
    async def sign(self, key: str, message: bytes, algorithm: str) -> bytes:
        return await self.service.sign(key, message, algorithm)

    @served
    async def sign_batch(self, key: str, messages: tuple[bytes, ...], algorithm: str) -> tuple[bytes, ...]:
        return await self.service.sign_batch(key, messages, algorithm)

    @served
    async def verify(self, key: str, message: bytes, signature: bytes, algorithm: str) -> None:
        await self.service.verify(key, message, signature, algorithm)
