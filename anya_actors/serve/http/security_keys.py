"""`/api/v1/security`: a key's life after its creation, keys from outside, and operations in batches."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from anya_actors.domain.hsm.views import ApprovalView, KeyView, SessionView
from anya_actors.domain.keys import operations as asked
from anya_actors.domain.keys.key_origin import parse_key_path
from anya_actors.domain.keys.operations import Answer
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.actors import HSM
from anya_actors.serve.caller import Caller, Requires
from anya_actors.serve.direct_route import DirectRoute
from anya_actors.serve.http.security import SESSION, check_session
from anya_actors.serve.schemas.security import KeyName, SessionId
from anya_actors.serve.schemas.security_keys import (
    KeyApproval,
    KeyBackup,
    KeyConfiguration,
    KeyExport,
    KeyImport,
    KeyTrim,
    MoreKeys,
    Operation,
    Operations,
    RandomBytes,
    VersionImport,
    policy_of,
)
from anya_actors.serve.shapes import shows, shows_page, shows_plain

router = APIRouter(
    prefix="/api/v1/security", tags=["security"], default_response_class=Response, route_class=DirectRoute
)

Reader = Annotated[Caller, Depends(Requires("security:read"))]
User = Annotated[Caller, Depends(Requires("security:use"))]
Approver = Annotated[Caller, Depends(Requires("security:approve"))]
Writer = Annotated[Caller, Depends(Requires("security"))]
PublicForm = Annotated[Literal["pem", "jwk", "sec1", "spki", "raw"], Query(description="Form of the key")]
Version = Annotated[int, Query(ge=0, le=1_000_000, description="0 is the newest")]
KeyPathText = Annotated[str, Query(max_length=128, description="Like m/84h/0h/0h")]

RSA_TIMEOUT_S: Final = 60.0
_TEXT: Final[dict[str, Any]] = {"type": "string"}


def _object(*names: str) -> dict[str, Any]:
    return {"type": "object", "properties": dict.fromkeys(names, _TEXT), "required": list(names)}


_RESULTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "data_hex": _TEXT,
                    "version": {"type": "integer"},
                    "code": _TEXT,
                    "message": _TEXT,
                },
            },
        }
    },
    "required": ["results"],
}


@router.get("/transport-key", responses=shows_plain("The key.", _object("public_key_hex")))
async def transport_key(caller: Reader) -> Response:
    """The X25519 key that imports are sealed to (libsodium's sealed boxes); a restart draws another."""
    key: bytes = await caller.read(HSM, "transport_key")
    return caller.answer({"public_key_hex": key.hex()})


@router.get("/wrapping-key", responses=shows_plain("The key.", _object("public_key_pem")))
async def wrapping_key(caller: Writer) -> Response:
    """The RSA-4096 key that imports are wrapped to; it stays the same."""
    key: bytes = await caller.read(HSM, "wrapping_key")
    return caller.answer({"public_key_pem": key.decode()})


@router.post("/random", responses=shows_plain("The bytes.", _object("data_hex")))
async def random(caller: User, body: RandomBytes) -> Response:
    """Unpredictable bytes; no key has part in them."""
    drawn: bytes = await caller.read(HSM, "random_bytes", caller.subject, body.length)
    return caller.answer({"data_hex": drawn.hex()}, 200, **{"Cache-Control": "no-store"})


@router.post("/keys/import", status_code=201, responses=shows(KeyView, "The key.", 201))
async def import_key(caller: Writer, body: KeyImport) -> Response:
    """Take in a key from outside, sealed or wrapped, never in the clear."""
    owner = body.owner or caller.subject
    caller.check_owner(owner, "a key of that owner")
    sealed, blob = _sealed_or_wrapped(body)
    facts, bounds = (body.name, body.key_type, owner), (tuple(body.operations), policy_of(body.policy))
    if sealed:
        key = await caller.write(HSM, "import_key", *facts, blob, *bounds)
    else:
        key = await caller.write(HSM, "import_wrapped_key", *facts, blob, body.form, *bounds, body.digest)
    return caller.answer(key, 201)


@router.get("/keys/{name}/public", responses=shows_plain("The public key.", _object("public_key")))
async def public_key(
    caller: Reader, name: KeyName, form: PublicForm = "pem", version: Version = 0
) -> Response:
    """A public key as PEM or JWK; SEC1, SubjectPublicKeyInfo and raw bytes are in hex."""
    await _own(caller, name)
    return caller.answer({"public_key": await caller.read(HSM, "public_key_as", name, form, version)})


@router.post("/keys/{name}/rotate", responses=shows(KeyView, "The key."))
async def rotate(caller: Writer, name: KeyName) -> Response:
    """Draw a new version, which signs and encrypts from the next operation on."""
    return caller.answer(await caller.write(HSM, "rotate_key", name, await _own(caller, name)))


@router.post("/keys/{name}/versions/import", responses=shows(KeyView, "The key."))
async def import_version(caller: Writer, name: KeyName, body: VersionImport) -> Response:
    """Take in a new version from outside; it signs and encrypts from the next operation on."""
    owner, (sealed, blob) = await _own(caller, name), _sealed_or_wrapped(body)
    if sealed:
        return caller.answer(await caller.write(HSM, "import_version", name, owner, blob))
    facts = (name, owner, blob, body.form, body.digest)
    return caller.answer(await caller.write(HSM, "import_wrapped_version", *facts))


@router.post("/keys/{name}/configure", responses=shows(KeyView, "The key."))
async def configure(caller: Writer, name: KeyName, body: KeyConfiguration) -> Response:
    """Set minimum versions and the policy."""
    owner = await _own(caller, name)
    facts = (body.minimum_version, body.minimum_encryption_version, policy_of(body.policy))
    return caller.answer(await caller.write(HSM, "configure_key", name, owner, *facts))


@router.post("/keys/{name}/trim", responses=shows(KeyView, "The key."))
async def trim(caller: Writer, name: KeyName, body: KeyTrim) -> Response:
    """Forget for ever the versions before the first that is kept."""
    return caller.answer(await caller.write(HSM, "trim_key", name, await _own(caller, name), body.first))


@router.post("/keys/{name}/backups/new", responses=shows_plain("The backup.", _object("backup_hex")))
async def back_up(caller: Writer, name: KeyName) -> Response:
    """The whole key, sealed so that only this HSM opens it; its policy must allow that."""
    blob: bytes = await caller.write(HSM, "back_up_key", name, await _own(caller, name))
    return caller.answer({"backup_hex": blob.hex()})


@router.post("/keys/{name}/backups/restored", responses=shows(KeyView, "The key."))
async def bring_back(caller: Writer, name: KeyName, body: KeyBackup) -> Response:
    """Bring a deleted or destroyed key of the caller's back out of its backup; it is then disabled."""
    blob = bytes.fromhex(body.backup_hex)
    return caller.answer(await caller.write(HSM, "bring_back_key", name, caller.subject, blob))


@router.post("/keys/{name}/{change}", responses=shows(KeyView, "The key."))
async def change(
    caller: Writer,
    name: KeyName,
    change: Literal["delete", "restore", "destroy", "disable", "enable"],
) -> Response:
    """Delete a key (for its waiting period it can be restored), destroy it, disable or enable it."""
    return caller.answer(await caller.write(HSM, f"{change}_key", name, await _own(caller, name)))


@router.post("/keys/{name}/export/wrapped", responses=shows_plain("The key.", _object("wrapped_hex")))
async def export(caller: Writer, name: KeyName, body: KeyExport) -> Response:
    """An exportable key, wrapped to an RSA key: RSA-OAEP of an AES-256 key, and AES-KWP."""
    facts = (body.recipient_pem.encode(), body.version, body.digest)
    blob: bytes = await caller.write(HSM, "export_key", name, await _own(caller, name), *facts)
    return caller.answer({"wrapped_hex": blob.hex()})


@router.post("/keys/{name}/approvals/given", responses=shows(KeyView, "The key."))
async def approve(caller: Approver, name: KeyName, body: KeyApproval) -> Response:
    """The caller, one of the key's approvers, approves a guarded operation.

    By default it holds for an hour and one time; with a digest, for that message alone.
    """
    facts = (body.operation, caller.subject, body.digest_hex, body.uses, body.ttl_s)
    return caller.answer(await caller.write(HSM, "approve_key", name, *facts))


@router.get("/keys/{name}/approvals", responses=shows_page(ApprovalView, "The approvals."))
async def approvals(caller: Reader, name: KeyName) -> Response:
    """What was approved of a key and not used yet; for its owner and its approvers."""
    who = "" if caller.is_admin else caller.subject
    found: list[ApprovalView] = await caller.read(HSM, "approvals", name, who)
    return caller.answer({"items": found, "next_cursor": None})


@router.post("/sessions/{session_id}/keys", responses=shows(SessionView, "The session."))
async def extend(caller: User, session_id: SessionId, body: MoreKeys) -> Response:
    """Have an open session hold more keys of its owner."""
    await check_session(caller, session_id)
    return caller.answer(await caller.write(HSM, "extend_session", session_id, tuple(body.keys)))


@router.get(
    "/sessions/{session_id}/keys/{name}/extended-public-key",
    responses=shows_plain("The key.", _object("extended_public_key")),
)
async def extended_public_key(
    caller: User, session_id: SessionId, name: KeyName, path: KeyPathText = "", testnet: bool = False
) -> Response:
    """The BIP32 extended public key of a bip32 key at a path."""
    await check_session(caller, session_id)
    actor = f"{SESSION}/{session_id}"
    text: str = await caller.read(actor, "extended_public_key", name, parse_key_path(path), testnet)
    return caller.answer({"extended_public_key": text})


@router.post(
    "/sessions/{session_id}/operations", responses=shows_plain("What each operation gave.", _RESULTS)
)
async def operate(caller: User, session_id: SessionId, body: Operations) -> Response:
    """Up to 1024 operations of any kind by keys of the session, in order."""
    await check_session(caller, session_id)
    requests = tuple(request_of(operation) for operation in body.operations)
    method = "perform_each" if body.each else "perform"
    found = await caller.read(f"{SESSION}/{session_id}", method, requests)
    results = [
        {"data_hex": each.data.hex(), "version": each.version}
        if isinstance(each, Answer)
        else {"code": each.code, "message": each.message}
        for each in found
    ]
    return caller.answer({"results": results})


def request_of(body: Operation) -> asked.Request:
    """The operation as a session takes it."""
    data, key, algorithm, version = bytes.fromhex(body.data_hex), body.key, body.algorithm, body.version
    path, extra = parse_key_path(body.path), bytes.fromhex(body.associated_data_hex)
    proof, context = bytes.fromhex(body.signature_hex), bytes.fromhex(body.context_hex)
    match body.operation:
        case "sign":
            named = body.taproot_merkle_root_hex
            root = None if named is None else bytes.fromhex(named)
            return asked.SignRequest(key, data, algorithm, path, root, version, context=context)
        case "verify":
            return asked.VerifyRequest(key, data, proof, algorithm, path, version, context)
        case "encrypt":
            return asked.EncryptRequest(key, data, algorithm, extra, version, context)
        case "decrypt":
            return asked.DecryptRequest(key, data, algorithm, extra, version, context)
        case "rewrap":
            return asked.RewrapRequest(key, data, algorithm, extra, version, body.to_version, context)
        case "mac":
            return asked.MacRequest(key, data, algorithm, version)
        case "verify-mac":
            return asked.VerifyMacRequest(key, data, proof, algorithm, version)
        case "agree":
            return asked.AgreeRequest(key, _public_key(body.public_key), algorithm, path, version)
        case "stretch":
            salt, info = bytes.fromhex(body.salt_hex), bytes.fromhex(body.info_hex)
            cost = (body.iterations, body.memory_kib, body.lanes)
            return asked.StretchRequest(key, algorithm, body.length, salt, info, *cost, version)
        case "random":
            return asked.RandomRequest(body.length)


def _sealed_or_wrapped(body: VersionImport) -> tuple[bool, bytes]:
    """Whether what comes from outside is in a sealed box, and its bytes."""
    if (body.box_hex is None) == (body.wrapped_hex is None):
        raise InvalidInputError("box_hex", "send either box_hex or wrapped_hex")
    return body.box_hex is not None, bytes.fromhex(body.box_hex or body.wrapped_hex or "")


def _public_key(text: str) -> bytes:
    if text.lstrip().startswith(("-----", "{")):
        return text.encode()
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise InvalidInputError("public_key", "it is neither PEM nor JWK nor hex") from None


async def _own(caller: Caller, name: str) -> str:
    """The owner of a key that is the caller's, or anyone's for an admin."""
    return (await caller.key(name)).owner
