"""An HSM session as a Python program uses it: every operation with its types, and batches of any size."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from types import TracebackType
from typing import Any, Self

from anya_actors.domain.hsm.errors import SessionClosedError, UnknownKeyError
from anya_actors.domain.keys.operations import (
    AgreeRequest,
    Answer,
    DecryptRequest,
    EncryptRequest,
    KeyPath,
    MacRequest,
    MusigRound,
    RandomRequest,
    Refusal,
    Request,
    RewrapRequest,
    SignRequest,
    StretchRequest,
    VerifyMacRequest,
    VerifyRequest,
)
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.actors import CallTimeoutError
from anya_actors.services.hsm_client import SessionClient
from anya_actors.services.pipelining import pipelined


class KeySession:
    """Acts with named keys in a process of its own; ``async with`` opens it and closes it.

    A call that returns is in the audit log. A session that is over, or whose process died, is replaced
    by a new one and asked again; only MuSig2 nonces do not outlive it. Every method raises
    `UnknownKeyError` for a key that the session was not opened for, `OperationRefusedError` for what
    the key's policy forbids, and `InvalidInputError`, `AuditUnavailableError` or `CallTimeoutError`.

    ``version`` 0 is the newest version of a key; ``context`` names the key that acts, of a derived one.
    A batch may be of any size; it goes in calls of up to 1024, each of which is all or none, several on
    their way at once. Where one fails, the batch raises its error, and others may have been done.
    """

    def __init__(self, client: SessionClient, keys: Sequence[str]) -> None:
        self._client = client
        self._keys = dict.fromkeys(keys)
        self._over = False

    async def __aenter__(self) -> Self:
        await self._client.open(self.keys)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the keys that it was opened for."""
        return tuple(self._keys)

    async def add_keys(self, *names: str) -> None:
        """Open the session for more keys of its owner."""
        self._check_open()
        await self._client.open(names)
        self._keys.update(dict.fromkeys(names))

    async def close(self) -> None:
        """Close the session; its process forgets the keys. One that cannot be told so ends by its time."""
        self._over = True
        with contextlib.suppress(UnavailableError, CallTimeoutError):
            await self._client.close()

    # -- signatures ---------------------------------------------------------------------------

    async def sign(
        self,
        key: str,
        message: bytes,
        algorithm: str,
        *,
        path: KeyPath = (),
        taproot_merkle_root: bytes | None = None,
        tweak: bytes | None = None,
        version: int = 0,
        context: bytes = b"",
    ) -> bytes:
        """A signature of a message, or of a 32-byte digest where ``algorithm`` signs one.

        See `SignRequest` for ``path`` (bip32), ``taproot_merkle_root`` (BIP341) and ``tweak`` (BIP352).
        """
        request = SignRequest(key, message, algorithm, path, taproot_merkle_root, version, tweak, context)
        return (await self._one(request)).data

    async def sign_batch(
        self,
        key: str,
        messages: Sequence[bytes],
        algorithm: str,
        *,
        path: KeyPath = (),
        version: int = 0,
        context: bytes = b"",
    ) -> list[bytes]:
        """A signature of each message, in order."""
        if path or context:
            facts = (algorithm, path, None, version, None, context)
            asked = [SignRequest(key, each, *facts) for each in messages]
            return [answer.data for answer in await self.perform(asked)]
        return await self._batch("sign_batch", key, messages, algorithm, version)

    async def verify(
        self,
        key: str,
        message: bytes,
        signature: bytes,
        algorithm: str,
        *,
        path: KeyPath = (),
        version: int = 0,
        context: bytes = b"",
    ) -> None:
        """Return if the signature is one of the message by the key; raise `InvalidSignatureError`."""
        await self._one(VerifyRequest(key, message, signature, algorithm, path, version, context))

    async def verify_batch(
        self,
        key: str,
        messages: Sequence[bytes],
        signatures: Sequence[bytes],
        algorithm: str,
        *,
        version: int = 0,
    ) -> None:
        """Return if each signature is one of its message; raise `InvalidSignatureError`."""

        async def ask(some: Sequence[tuple[bytes, bytes]]) -> Sequence[Any]:
            await self._ask((key,), "verify_batch", key, *zip(*some, strict=True), algorithm, version)
            return ()

        if len(messages) != len(signatures):
            raise InvalidInputError("signatures", "send one for each message")
        pairs = list(zip(messages, signatures, strict=True))
        await pipelined(pairs, ask, lambda pair: len(pair[0]))

    # -- encryption ---------------------------------------------------------------------------

    async def encrypt(
        self,
        key: str,
        plaintext: bytes,
        algorithm: str,
        *,
        associated_data: bytes = b"",
        version: int = 0,
        context: bytes = b"",
    ) -> Answer:
        """The ciphertext, with the version of the key that opens it: keep both.

        Raises `KeyExhaustedError` once a version has encrypted as often as it may.
        """
        return await self._one(EncryptRequest(key, plaintext, algorithm, associated_data, version, context))

    async def encrypt_batch(
        self,
        key: str,
        plaintexts: Sequence[bytes],
        algorithm: str,
        *,
        associated_data: bytes = b"",
        version: int = 0,
        context: bytes = b"",
    ) -> list[Answer]:
        """Each plaintext encrypted, in order, with the version of the key that opens it."""
        if context:
            facts = (algorithm, associated_data, version, context)
            return await self.perform([EncryptRequest(key, each, *facts) for each in plaintexts])

        async def ask(some: Sequence[bytes]) -> list[Answer]:
            arguments = (key, tuple(some), algorithm, associated_data, version)
            used, ciphertexts = await self._ask((key,), "encrypt_batch", *arguments)
            return [Answer(each, used) for each in ciphertexts]

        return await pipelined(plaintexts, ask, len)

    async def decrypt(
        self,
        key: str,
        sealed: Answer,
        algorithm: str,
        *,
        associated_data: bytes = b"",
        context: bytes = b"",
    ) -> bytes:
        """What `encrypt` was given; a ciphertext from elsewhere is ``Answer(ciphertext, version)``.

        Raises `InvalidCiphertextError`, which does not tell what is wrong.
        """
        request = DecryptRequest(key, sealed.data, algorithm, associated_data, sealed.version, context)
        return (await self._one(request)).data

    async def decrypt_batch(
        self,
        key: str,
        sealed: Sequence[Answer],
        algorithm: str,
        *,
        associated_data: bytes = b"",
        context: bytes = b"",
    ) -> list[bytes]:
        """What `encrypt_batch` was given, in order."""
        if context:
            asked = [
                DecryptRequest(key, each.data, algorithm, associated_data, each.version, context)
                for each in sealed
            ]
            return [answer.data for answer in await self.perform(asked)]
        found: list[bytes] = []
        for version, those in groupby(sealed, attrgetter("version")):
            data = [each.data for each in those]
            found += await self._batch("decrypt_batch", key, data, algorithm, associated_data, version)
        return found

    async def rewrap(
        self,
        key: str,
        sealed: Answer,
        algorithm: str,
        *,
        associated_data: bytes = b"",
        to_version: int = 0,
        context: bytes = b"",
    ) -> Answer:
        """The same plaintext encrypted anew, by the newest version; nobody sees it meanwhile."""
        facts = (associated_data, sealed.version, to_version, context)
        return await self._one(RewrapRequest(key, sealed.data, algorithm, *facts))

    # -- authentication codes and secrets -----------------------------------------------------

    async def mac(self, key: str, message: bytes, algorithm: str, *, version: int = 0) -> bytes:
        """The message authentication code (HMAC) of a message."""
        return (await self._one(MacRequest(key, message, algorithm, version))).data

    async def mac_batch(
        self, key: str, messages: Sequence[bytes], algorithm: str, *, version: int = 0
    ) -> list[bytes]:
        """The code of each message, in order."""
        return await self._batch("mac_batch", key, messages, algorithm, version)

    async def verify_mac(
        self, key: str, message: bytes, mac: bytes, algorithm: str, *, version: int = 0
    ) -> None:
        """Return if it is the whole code of the message; raise `InvalidSignatureError`."""
        await self._one(VerifyMacRequest(key, message, mac, algorithm, version))

    async def agree(
        self, key: str, public_key: bytes, algorithm: str, *, path: KeyPath = (), version: int = 0
    ) -> bytes:
        """A secret shared with the holder of ``public_key`` (PEM, JWK, SEC1 or raw bytes)."""
        return (await self._one(AgreeRequest(key, public_key, algorithm, path, version))).data

    async def stretch(
        self,
        key: str,
        algorithm: str,
        length: int,
        *,
        salt: bytes = b"",
        info: bytes = b"",
        iterations: int = 0,
        memory_kib: int = 0,
        lanes: int = 1,
        version: int = 0,
    ) -> bytes:
        """``length`` bytes derived by HKDF (``info``), PBKDF2 (``iterations``) or Argon2id (all costs)."""
        costs = (iterations, memory_kib, lanes, version)
        return (await self._one(StretchRequest(key, algorithm, length, salt, info, *costs))).data

    async def random(self, length: int) -> bytes:
        """Unpredictable bytes, at most 64 KiB."""
        return (await self._one(RandomRequest(length))).data

    # -- bitcoin ------------------------------------------------------------------------------

    async def public_key(self, key: str, *, path: KeyPath = ()) -> bytes:
        """The public key: 33 bytes (SEC1 compressed), or what the key's type has."""
        return bytes(await self._ask((key,), "public_key", key, path))

    async def extended_public_key(self, key: str, path: KeyPath = (), *, testnet: bool = False) -> str:
        """The BIP32 extended public key of a bip32 key at a path, as text."""
        return str(await self._ask((key,), "extended_public_key", key, path, testnet))

    async def shared_point(self, key: str, public_key: bytes, *, path: KeyPath = ()) -> bytes:
        """The public key times the private key, 33 bytes (secp256k1, bip32)."""
        return bytes(await self._ask((key,), "shared_point", key, public_key, path))

    async def musig2_nonce(
        self, key: str, *, path: KeyPath = (), aggregate_key: bytes = b"", message: bytes | None = None
    ) -> bytes:
        """A fresh MuSig2 public nonce (66 bytes, BIP327), for one signature by the present process."""
        return bytes(await self._ask((key,), "musig2_nonce", key, path, aggregate_key, message))

    async def musig2_partial_sign(
        self, key: str, public_nonce: bytes, signing: MusigRound, *, path: KeyPath = ()
    ) -> bytes:
        """This key's part (32 bytes) of a MuSig2 signature; it uses the nonce up.

        Raises `NonceLostError` where the nonce's process is no more, and `NonceReusedError`.
        """
        return bytes(await self._ask((key,), "musig2_partial_sign", key, public_nonce, signing, path))

    # -- many operations ----------------------------------------------------------------------

    async def perform(self, requests: Sequence[Request]) -> list[Answer]:
        """Operations of any kind and any keys, in order."""
        return await pipelined(requests, lambda some: self._perform("perform", some), _size)

    async def perform_each(self, requests: Sequence[Request]) -> list[Answer | Refusal]:
        """As `perform`, but what is refused does not stop the others."""
        return await pipelined(requests, lambda some: self._perform("perform_each", some), _size)

    # -- inside -------------------------------------------------------------------------------

    async def _one(self, request: Request) -> Answer:
        answer: Answer = (await self._perform("perform", (request,)))[0]
        return answer

    async def _perform(self, method: str, requests: Sequence[Request]) -> Any:
        keys = tuple(dict.fromkeys(request.key for request in requests if request.key))
        return await self._ask(keys, method, tuple(requests))

    async def _batch(self, method: str, key: str, data: Sequence[bytes], *arguments: Any) -> list[bytes]:
        async def ask(some: Sequence[bytes]) -> Sequence[bytes]:
            answer: tuple[bytes, ...] = await self._ask((key,), method, key, tuple(some), *arguments)
            return answer

        return await pipelined(data, ask, len)

    async def _ask(self, keys: Sequence[str], method: str, *arguments: Any) -> Any:
        self._check_open()
        for key in keys:
            if key not in self._keys:
                raise UnknownKeyError(key)
        return await self._client.ask(keys, method, *arguments)

    def _check_open(self) -> None:
        if self._over:
            raise SessionClosedError("of " + ", ".join(self._keys), "its block has ended")


def _size(request: Request) -> int:
    match request:
        case EncryptRequest():
            return len(request.plaintext)
        case DecryptRequest() | RewrapRequest():
            return len(request.ciphertext)
        case SignRequest() | VerifyRequest() | MacRequest() | VerifyMacRequest():
            return len(request.message)
    return 0
