"""`/api/v1/security`: many operations of one kind by one key in one request.

Bodies are read without a model for each item, which is what a batch is for. They are refused as
any other body is, but the first field that is wrong is the only one named.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Sequence
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.errors import InvalidFieldsError, MalformedJsonError
from anya_actors.serve.http.security import SESSION, check_session
from anya_actors.serve.schemas.security import SessionId
from anya_actors.serve.shapes import REFERENCE, shows_plain

router = APIRouter(
    prefix="/api/v1/security/sessions/{session_id}", tags=["security"], default_response_class=Response
)

User = Annotated[Caller, Depends(Requires("security:use"))]
B = TypeVar("B", bound="Batch")

# The pattern is shown, not asked: reading the hex finds the same faults.
HexText = Annotated[str, msgspec.Meta(extra_json_schema={"pattern": "^([0-9a-fA-F]{2})*$"})]
Many = Annotated[tuple[HexText, ...], msgspec.Meta(min_length=1, max_length=1024)]


class Batch(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """By which key, and how. Version 0 is the newest."""

    key: Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
    algorithm: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    version: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0


class MessageBatch(Batch, frozen=True):
    """Messages to sign or to authenticate, each in hex. ECDSA and BIP340 sign digests of 32 bytes."""

    messages_hex: Many


class SignatureBatch(MessageBatch, frozen=True):
    """Messages, and a signature of each."""

    signatures_hex: Many


class PlaintextBatch(Batch, frozen=True):
    """Plaintexts, each in hex, and the associated data of them all."""

    plaintexts_hex: Many
    associated_data_hex: HexText = ""


class CiphertextBatch(Batch, frozen=True):
    """Ciphertexts, each in hex, and the associated data of them all."""

    ciphertexts_hex: Many
    associated_data_hex: HexText = ""


VIEWS: Final = (MessageBatch, SignatureBatch, PlaintextBatch, CiphertextBatch)


def _takes(body: type[Batch]) -> dict[str, Any]:
    schema = {"$ref": REFERENCE.format(name=body.__name__)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _gives(name: str) -> dict[int | str, dict[str, Any]]:
    many = {"type": "array", "items": {"type": "string"}}
    properties = {name: many, "version": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": [name]}
    return shows_plain("One for each, in order.", schema)


_VALID: Final = {"type": "object", "properties": {"valid": {"const": True}}, "required": ["valid"]}


@router.post("/sign/batch", openapi_extra=_takes(MessageBatch), responses=_gives("signatures_hex"))
async def sign_batch(caller: User, session_id: SessionId, request: Request) -> Response:
    """Sign up to 1024 messages with one key; all or none. One entry of the audit log counts them."""
    body = await _read(request, MessageBatch)
    messages = _bytes_of("messages_hex", body.messages_hex)
    return await _answer(caller, session_id, "sign_batch", "signatures_hex", body, messages)


@router.post("/mac/batch", openapi_extra=_takes(MessageBatch), responses=_gives("macs_hex"))
async def mac_batch(caller: User, session_id: SessionId, request: Request) -> Response:
    """Authentication codes of up to 1024 messages; all or none."""
    body = await _read(request, MessageBatch)
    messages = _bytes_of("messages_hex", body.messages_hex)
    return await _answer(caller, session_id, "mac_batch", "macs_hex", body, messages)


@router.post(
    "/verify/batch", openapi_extra=_takes(SignatureBatch), responses=shows_plain("All are valid.", _VALID)
)
async def verify_batch(caller: User, session_id: SessionId, request: Request) -> Response:
    """Verify up to 1024 signatures; if any is invalid, the answer is a problem document."""
    body = await _read(request, SignatureBatch)
    messages = _bytes_of("messages_hex", body.messages_hex)
    signatures = _bytes_of("signatures_hex", body.signatures_hex)
    await _ask(caller, session_id, "verify_batch", body, messages, signatures)
    return caller.answer({"valid": True})


@router.post("/encrypt/batch", openapi_extra=_takes(PlaintextBatch), responses=_gives("ciphertexts_hex"))
async def encrypt_batch(caller: User, session_id: SessionId, request: Request) -> Response:
    """Encrypt up to 1024 plaintexts with one key; all or none, by the version that is answered."""
    body = await _read(request, PlaintextBatch)
    texts = _bytes_of("plaintexts_hex", body.plaintexts_hex)
    version, found = await _ask(caller, session_id, "encrypt_batch", body, texts)
    return caller.answer({"version": version, "ciphertexts_hex": list(map(bytes.hex, found))})


@router.post("/decrypt/batch", openapi_extra=_takes(CiphertextBatch), responses=_gives("plaintexts_hex"))
async def decrypt_batch(caller: User, session_id: SessionId, request: Request) -> Response:
    """Decrypt up to 1024 ciphertexts; if any was altered, the answer is a problem document."""
    body = await _read(request, CiphertextBatch)
    texts = _bytes_of("ciphertexts_hex", body.ciphertexts_hex)
    return await _answer(caller, session_id, "decrypt_batch", "plaintexts_hex", body, texts)


async def _answer(
    caller: Caller, session_id: str, method: str, name: str, body: Batch, *items: tuple[bytes, ...]
) -> Response:
    found: tuple[bytes, ...] = await _ask(caller, session_id, method, body, *items)
    return caller.answer({name: list(map(bytes.hex, found))})


async def _ask(caller: Caller, session_id: str, method: str, body: Batch, *items: tuple[bytes, ...]) -> Any:
    await check_session(caller, session_id)
    extra: tuple[bytes, ...] = ()
    if isinstance(body, PlaintextBatch | CiphertextBatch):
        extra = _bytes_of("associated_data_hex", (body.associated_data_hex,))
    arguments = (body.key, *items, body.algorithm, *extra, body.version)
    return await caller.read(f"{SESSION}/{session_id}", method, *arguments)


async def _read(request: Request, kind: type[B]) -> B:
    """The body as a struct; raise `InvalidFieldsError` or `MalformedJsonError`."""
    try:
        return msgspec.json.decode(await request.body(), type=kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).rstrip("`").partition(" - at `$")
        raise InvalidFieldsError.of([(f"body{place}", reason)]) from None
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise MalformedJsonError("it cannot be read") from None


def _bytes_of(field: str, texts: Sequence[str]) -> tuple[bytes, ...]:
    found: list[bytes] = []
    try:
        for text in texts:
            found.append(unhexlify(text))
    except ValueError:
        raise InvalidFieldsError.of([(f"body.{field}[{len(found)}]", "it is not hex")]) from None
    return tuple(found)
