"""A session's operations: each one permitted by its key's policy, and audited before its answer."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Final

import msgspec

from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.hsm.errors import SessionClosedError
from anya_actors.domain.hsm.nonces import OpenNonces, commitment, session_of
from anya_actors.domain.keys.operations import (
    MAX_RANDOM_BYTES,
    OPERATION_OF,
    PERMISSION_OF,
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
    VerifyRequest,
)
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.clock import Clock
from anya_actors.ports.key_algorithms import Bip32Tree, KeyAlgorithms, KeyTree
from anya_actors.ports.process_guard import ProcessGuard
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import SealedBoxes
from anya_actors.services.hardening import Hardening
from anya_actors.services.hsm_session.allotments import Allotments
from anya_actors.services.hsm_session.batches import Batches, Turn, check_count
from anya_actors.services.hsm_session.holding import HeldKey, SessionKeys
from anya_actors.services.hsm_session.performing import (
    needs_nonce,
    perform,
    public_key_under,
)
from anya_actors.services.hsm_session.recording import (
    REFUSALS,
    SessionRecords,
    counted,
    digest_of,
    records_of,
    with_outcome,
)

CLOSING_TIMEOUT_S: Final = 2.0


class HsmSessionService:
    """Acts with the session's keys, in the order of the calls, each operation audited before its answer.

    The HSM refuses the audit entries of a session that is closed, so a session that was revoked
    answers nothing more, whatever it still holds. A process that comes to life for a session whose
    keys went to an earlier process gets none: it answers `SessionClosedError` to everything.
    MuSig2 nonces are in the memory of this process alone, so none outlives it.
    """

    def __init__(
        self,
        *,
        session_id: str,
        actors: Actors,
        algorithms: KeyAlgorithms,
        boxes: SealedBoxes,
        guard: ProcessGuard,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._session_id = session_id
        self._actors = actors
        self._clock = clock
        self._algorithms = algorithms
        self._hardening = Hardening(guard)
        self._randomness = randomness
        self._allotments = Allotments(session_id, actors, randomness)
        self._nonces = OpenNonces()
        self._nonces_drawn = 0
        self._keys = SessionKeys(
            session_id,
            actors=actors,
            algorithms=algorithms,
            boxes=boxes,
            hardening=self._hardening,
            clock=clock,
        )
        self._records = SessionRecords(
            session_id, self._keys, self._end, actors=actors, clock=clock, randomness=randomness
        )
        self._batches = Batches(self._keys, self._records, self._allotments, algorithms, clock)

    @property
    def held_keys(self) -> tuple[HeldKey, ...]:
        """The keys in this process."""
        return self._keys.held

    async def resume(self) -> None:
        """Ask the HSM for the keys, sealed to a key pair that only this process has."""
        self._hardening.harden()
        try:
            await self._keys.begin()
        except SessionClosedError as error:
            # Not a fault of this process: stay, and tell every caller.
            self._end(str(error.args[1]))

    async def check_health(self) -> None:
        """A session is healthy also when it is over: it answers so."""

    async def close(self) -> None:
        """Forget the keys, and tell the HSM that the session is over: no other process may revive it."""
        was_open = self._keys.is_open
        self._end("its process was stopped")
        if was_open:
            with contextlib.suppress(AnyaError):  # the HSM may be gone already; then time ends it
                await self._actors.call(
                    HSM,
                    "close_session",
                    self._session_id,
                    message_id=self._records.fresh_id(),
                    timeout_s=CLOSING_TIMEOUT_S,
                )

    async def public_key(self, key: str, path: KeyPath = (), version: int = 0, context: bytes = b"") -> bytes:
        """SEC1 compressed (33 bytes, secp256k1 and bip32) or 32 bytes (Ed25519).

        That of a ``path`` of a BIP32 key, or of a ``context`` of a derived one.
        """
        async with self._records.audited(OperationRecord("public-key", key)):
            held = await self._keys.permitted(key, None, path, version)
            if context:
                return public_key_under(held.facts, held.private, context)
            if not path:
                return held.facts.public_key
            with _tree(held).at(path) as private:
                return private.public_key

    async def extended_public_key(self, key: str, path: KeyPath, testnet: bool) -> str:
        """The BIP32 extended public key at a path, as text."""
        async with self._records.audited(OperationRecord("extended-public-key", key)):
            private = (await self._keys.permitted(key, None, path)).private
            if not isinstance(private, Bip32Tree):
                raise InvalidInputError("key", "only a bip32 key is extended")
            return private.extended_public_key(path, testnet=testnet)

    async def sign(self, key: str, message: bytes, algorithm: str) -> bytes:
        """Sign a message, or a 32-byte digest (``ecdsa-secp256k1``, ``schnorr-bip340``).

        Raises `SessionClosedError`, `UnknownKeyError`, `OperationRefusedError`, `InvalidInputError`,
        `AuditUnavailableError`.
        """
        return (await self.sign_many((SignRequest(key, message, algorithm),)))[0]

    async def sign_batch(
        self, key: str, messages: tuple[bytes, ...], algorithm: str, version: int = 0
    ) -> tuple[bytes, ...]:
        """Sign up to 1024 messages by one version of a key; all or none. One audit entry counts them."""
        return tuple(await self._batches.sign(key, messages, algorithm, version))

    async def verify_batch(
        self,
        key: str,
        messages: tuple[bytes, ...],
        signatures: tuple[bytes, ...],
        algorithm: str,
        version: int = 0,
    ) -> None:
        """Return if every signature holds; raise `InvalidSignatureError`. Otherwise as `sign_batch`."""
        await self._batches.verify(key, messages, signatures, algorithm, version)

    async def mac_batch(
        self, key: str, messages: tuple[bytes, ...], algorithm: str, version: int = 0
    ) -> tuple[bytes, ...]:
        """Message authentication codes, as `sign_batch` signs."""
        return tuple(await self._batches.mac(key, messages, algorithm, version))

    async def encrypt_batch(
        self,
        key: str,
        plaintexts: tuple[bytes, ...],
        algorithm: str,
        associated_data: bytes = b"",
        version: int = 0,
    ) -> tuple[int, tuple[bytes, ...]]:
        """Encrypt, all with the same associated data, as `sign_batch` signs; by this version of the key."""
        used, found = await self._batches.encrypt(key, plaintexts, algorithm, associated_data, version)
        return used, tuple(found)

    async def decrypt_batch(
        self,
        key: str,
        ciphertexts: tuple[bytes, ...],
        algorithm: str,
        associated_data: bytes = b"",
        version: int = 0,
    ) -> tuple[bytes, ...]:
        """Decrypt; raise `InvalidCiphertextError` if any was altered. Otherwise as `sign_batch`."""
        return tuple(await self._batches.decrypt(key, ciphertexts, algorithm, associated_data, version))

    async def sign_many(self, requests: tuple[SignRequest, ...]) -> tuple[bytes, ...]:
        """Sign up to 1024 requests, of any keys and paths; all or none. Audited once for each key."""
        return tuple([answer.data for answer in await self.perform(requests)])

    async def verify(self, key: str, message: bytes, signature: bytes, algorithm: str) -> None:
        """Return if ``signature`` is one of ``message`` by ``key``; raise `InvalidSignatureError`."""
        await self.perform((VerifyRequest(key, message, signature, algorithm),))

    async def perform(self, requests: tuple[Request, ...]) -> tuple[Answer, ...]:
        """Do up to 1024 operations of any kind and any keys; all or none, in order.

        Each key, algorithm and operation leaves one audit entry, that counts. Besides what `sign`
        raises: `InvalidSignatureError`, `InvalidCiphertextError`, `KeyExhaustedError`, `KeyRateError`.
        """
        self._keys.check_open()
        began_s = self._clock.monotonic_s()
        try:
            check_count("messages", len(requests))
            turn, answers = Turn(self._clock), []
            async with self._records.order:
                for request in requests:
                    answers.append(await self._perform(request, alone=len(requests) == 1))
                    await turn.pause_if_long()
        except REFUSALS as error:
            await self._records.refuse(error, *records_of(requests))
            raise
        seconds = self._clock.monotonic_s() - began_s
        records = records_of(requests, answers)
        if len(records) == 1 and self._keys.is_guarded(records[0].key):
            records = [msgspec.structs.replace(records[0], digest=digest_of(requests[0]))]
        await self._records.add(*records, seconds=seconds)
        return tuple(answers)

    async def perform_each(self, requests: tuple[Request, ...]) -> tuple[Answer | Refusal, ...]:
        """As `perform`, but what is refused does not stop the others."""
        self._keys.check_open()
        check_count("messages", len(requests))
        began_s = self._clock.monotonic_s()
        found: list[Answer | Refusal] = []
        records: list[OperationRecord] = []
        async with self._records.order:
            for request in requests:
                try:
                    answer = await self._perform(request)
                    found.append(answer)
                    records += records_of((request,), [answer])
                except REFUSALS as error:
                    found.append(Refusal(error.code, str(error)))
                    records += with_outcome(error, records_of((request,)))
        await self._records.add(*counted(records), seconds=self._clock.monotonic_s() - began_s)
        return tuple(found)

    async def forget_key(self, key: str) -> None:
        """For the HSM: a key was rotated, configured or trimmed; the next use fetches it again."""
        self._keys.forget(key)
        self._allotments.forget(key)

    async def forget_keys(self) -> None:
        """For the HSM: it came to life again, and any key may have changed meanwhile; as `forget_key`."""
        for key in {held.facts.name for held in self._keys.held}:
            await self.forget_key(key)

    async def end_session(self, reason: str) -> None:
        """For the HSM: it is sealed; forget everything now."""
        self._end(reason)

    async def shared_point(self, key: str, public_key: bytes, path: KeyPath = ()) -> bytes:
        """The public key times the key at ``path``, 33 bytes (secp256k1, bip32)."""
        async with self._records.audited(OperationRecord("derive", key, algorithm="ecdh-secp256k1")):
            held = await self._keys.permitted(key, "derive", path)
            with _tree(held).at(path) as private:
                return private.shared_point(public_key)

    async def shared_points(
        self, key: str, public_keys: tuple[bytes, ...], path: KeyPath = ()
    ) -> tuple[bytes, ...]:
        """Up to 1024 public keys times the key at ``path``; all or none. One audit entry counts them."""
        record = OperationRecord("derive", key, algorithm="ecdh-secp256k1", count=len(public_keys))
        async with self._records.audited(record):
            check_count("public_keys", len(public_keys))
            held = await self._keys.permitted(key, "derive", path)
            with _tree(held).at(path) as private:
                return tuple([private.shared_point(public_key) for public_key in public_keys])

    async def musig2_nonce(
        self, key: str, path: KeyPath = (), aggregate_key: bytes = b"", message: bytes | None = None
    ) -> bytes:
        """A fresh MuSig2 public nonce (66 bytes), for one signature by this process.

        Nothing of it is stored: after a crash it is lost, and never drawn again. The audit log
        names it by the SHA-256 of its public half before anyone gets to see it.
        """
        record = OperationRecord("musig2-nonce", key, algorithm="musig2-bip327")
        began_s = self._clock.monotonic_s()
        try:
            async with self._records.order:
                held = await self._keys.permitted(key, "sign", path)
                self._nonces_drawn += 1
                unique = f"{self._session_id}/{self._nonces_drawn}".encode()
                with _tree(held).at(path) as private:
                    nonce = private.musig2_nonce(
                        self._randomness.token_bytes(32),
                        aggregate_key=aggregate_key,
                        message=message,
                        extra_input=unique,
                    )
        except REFUSALS as error:
            await self._records.refuse(error, record)
            raise
        seconds = self._clock.monotonic_s() - began_s
        record = msgspec.structs.replace(record, detail=commitment(nonce.public_nonce))
        await self._records.add(record, seconds=seconds)
        self._nonces.add(nonce, key, path, aggregate_key, message)
        return nonce.public_nonce

    async def musig2_partial_sign(
        self, key: str, public_nonce: bytes, signing: MusigRound, path: KeyPath = ()
    ) -> bytes:
        """This key's part (32 bytes) of a MuSig2 signature; the nonce is used up, whatever comes of it.

        Raises `NonceReusedError`, `NonceLostError`, `InvalidContributionError`, `InvalidInputError`.
        """
        record = OperationRecord(
            "musig2-sign", key, algorithm="musig2-bip327", detail=commitment(public_nonce)
        )
        async with self._records.audited(record):
            held = await self._keys.permitted(key, "sign", path)
            with self._nonces.take(public_nonce, key, path, signing) as nonce:
                session = session_of(signing)
                with _tree(held).at(path) as private:
                    return private.musig2_partial_sign(nonce, session)

    # -- inside -------------------------------------------------------------------------------

    async def _perform(self, request: Request, *, alone: bool = False) -> Answer:
        if isinstance(request, RandomRequest):
            if not 1 <= request.length <= MAX_RANDOM_BYTES:
                raise InvalidInputError("length", f"choose 1 to {MAX_RANDOM_BYTES} bytes")
            return Answer(self._randomness.token_bytes(request.length))
        if isinstance(request, RewrapRequest):
            return await self._rewrap(request, alone=alone)
        needed = PERMISSION_OF[OPERATION_OF[type(request)]]
        path = request.path if isinstance(request, SignRequest | VerifyRequest | AgreeRequest) else ()
        held = await self._keys.permitted(request.key, needed, path, request.version, alone=alone)
        nonce = b""
        if needs_nonce(held.facts, request):
            nonce = await self._allotments.nonce(held.facts)
            while not self._keys.holds(held):  # rotated or configured while we waited
                held = await self._keys.permitted(request.key, needed, path, request.version, alone=alone)
                nonce = await self._allotments.nonce(held.facts)
        if not held.facts.encrypts and isinstance(request, SignRequest | EncryptRequest | MacRequest):
            raise InvalidInputError("version", "this version only decrypts and verifies")
        arguments = (self._algorithms, held.facts, held.private, request, nonce)
        if isinstance(request, StretchRequest):  # costly on purpose: health checks go on meanwhile
            data = await asyncio.to_thread(perform, *arguments)
        else:
            data = perform(*arguments)
        return Answer(data, held.facts.version)

    async def _rewrap(self, request: RewrapRequest, *, alone: bool) -> Answer:
        key, facts = request.key, (request.algorithm, request.associated_data)
        ciphertext, context = request.ciphertext, request.context
        opening = DecryptRequest(key, ciphertext, *facts, request.version, context)
        opened = await self._perform(opening, alone=True)  # nobody sees what it opens
        closing = EncryptRequest(key, opened.data, *facts, request.to_version, context)
        return await self._perform(closing, alone=alone)

    def _end(self, reason: str) -> None:
        self._keys.end(reason)
        self._nonces.wipe()


def _tree(held: HeldKey) -> KeyTree:
    if not isinstance(held.private, KeyTree):
        raise InvalidInputError("key", f"a {held.facts.key_type} key has no part in this operation")
    return held.private
