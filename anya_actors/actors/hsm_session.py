"""``hsm-session/<id>``: one session in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anya_actors.actors.shell import DurableActor, served
from anya_actors.domain.keys.operations import Answer, KeyPath, MusigRound, Refusal, Request, SignRequest

if TYPE_CHECKING:
    from anya_actors.services.hsm_session import HsmSessionService

    Shell = DurableActor[HsmSessionService]
else:  # the coordinator names the shells of all kinds, and must not load what is behind them
    Shell = DurableActor


class HsmSessionActor(Shell):
    """A session on Ray. It keeps no state: what it held ends with its process."""

    @served
    async def public_key(self, key: str, path: KeyPath = (), version: int = 0, context: bytes = b"") -> bytes:
        return await self.service.public_key(key, path, version, context)

    @served
    async def extended_public_key(self, key: str, path: KeyPath, testnet: bool) -> str:
        return await self.service.extended_public_key(key, path, testnet)

    @served
    async def sign(self, key: str, message: bytes, algorithm: str) -> bytes:
        return await self.service.sign(key, message, algorithm)

    @served
    async def sign_batch(
        self, key: str, messages: tuple[bytes, ...], algorithm: str, version: int = 0
    ) -> tuple[bytes, ...]:
        return await self.service.sign_batch(key, messages, algorithm, version)

    @served
    async def verify_batch(
        self,
        key: str,
        messages: tuple[bytes, ...],
        signatures: tuple[bytes, ...],
        algorithm: str,
        version: int = 0,
    ) -> None:
        await self.service.verify_batch(key, messages, signatures, algorithm, version)

    @served
    async def mac_batch(
        self, key: str, messages: tuple[bytes, ...], algorithm: str, version: int = 0
    ) -> tuple[bytes, ...]:
        return await self.service.mac_batch(key, messages, algorithm, version)

    @served
    async def encrypt_batch(
        self,
        key: str,
        plaintexts: tuple[bytes, ...],
        algorithm: str,
        associated_data: bytes = b"",
        version: int = 0,
    ) -> tuple[int, tuple[bytes, ...]]:
        return await self.service.encrypt_batch(key, plaintexts, algorithm, associated_data, version)

    @served
    async def decrypt_batch(
        self,
        key: str,
        ciphertexts: tuple[bytes, ...],
        algorithm: str,
        associated_data: bytes = b"",
        version: int = 0,
    ) -> tuple[bytes, ...]:
        return await self.service.decrypt_batch(key, ciphertexts, algorithm, associated_data, version)

    @served
    async def verify(self, key: str, message: bytes, signature: bytes, algorithm: str) -> None:
        await self.service.verify(key, message, signature, algorithm)

    @served
    async def sign_many(self, requests: tuple[SignRequest, ...]) -> tuple[bytes, ...]:
        return await self.service.sign_many(requests)

    @served
    async def perform(self, requests: tuple[Request, ...]) -> tuple[Answer, ...]:
        return await self.service.perform(requests)

    @served
    async def perform_each(self, requests: tuple[Request, ...]) -> tuple[Answer | Refusal, ...]:
        return await self.service.perform_each(requests)

    @served
    async def forget_key(self, key: str) -> None:
        await self.service.forget_key(key)

    @served
    async def forget_keys(self) -> None:
        await self.service.forget_keys()

    @served
    async def end_session(self, reason: str) -> None:
        await self.service.end_session(reason)

    @served
    async def shared_point(self, key: str, public_key: bytes, path: KeyPath = ()) -> bytes:
        return await self.service.shared_point(key, public_key, path)

    @served
    async def shared_points(
        self, key: str, public_keys: tuple[bytes, ...], path: KeyPath = ()
    ) -> tuple[bytes, ...]:
        return await self.service.shared_points(key, public_keys, path)

    @served
    async def musig2_nonce(
        self, key: str, path: KeyPath = (), aggregate_key: bytes = b"", message: bytes | None = None
    ) -> bytes:
        return await self.service.musig2_nonce(key, path, aggregate_key, message)

    @served
    async def musig2_partial_sign(
        self, key: str, public_nonce: bytes, signing: MusigRound, path: KeyPath = ()
    ) -> bytes:
        return await self.service.musig2_partial_sign(key, public_nonce, signing, path)
