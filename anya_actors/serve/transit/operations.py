"""Transit's routes for data: encrypt, decrypt, rewrap, data keys, sign, verify, MACs, hashes, chance."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anya_actors.domain.hsm.errors import UnknownKeyError
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.operations import (
    Answer,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    Refusal,
    RewrapRequest,
    SignRequest,
    VerifyMacRequest,
    VerifyRequest,
)
from anya_actors.domain.keys.operations import Request as Operation
from anya_actors.domain.machine import AnyaError, InvalidInputError, NotSupportedError
from anya_actors.serve.auth import check_scope
from anya_actors.serve.transit.caller import TransitCaller, answer, caller_of, error_text, fields_of
from anya_actors.serve.transit.keys import make
from anya_actors.serve.transit.words import (
    CIPHERS,
    HASHES,
    Fields,
    decoded,
    given,
    mac_key,
    number,
    parse_sealed,
    sealed,
    signing_algorithm,
    text,
)

MAX_ITEMS: Final = 10_000

Prepare = Callable[[Fields], Operation]
Show = Callable[[Answer, Fields], dict[str, Any]]


async def encrypt(request: Request) -> Response:
    """Encrypt one text or a batch; a key that is not there is made, as Vault does."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    name = request.path_params["name"]
    try:
        view = await caller.key(name)
    except UnknownKeyError:
        check_scope(caller.claims, "security")
        # A key that is made for a context is derived, and convergent if that is asked for, as Vault has it.
        await make(caller, name, {**fields, "derived": bool(_first(fields).get("context"))})
        view = await caller.key(name)
    algorithm = _cipher(view)

    def prepare(item: Fields) -> Operation:
        _check_unserved(item)
        plaintext = decoded(item.get("plaintext"), "plaintext")
        version = number(item, "key_version", 0)
        extra = given(item, "associated_data")
        return EncryptRequest(name, plaintext, algorithm, extra, version, given(item, "context"))

    def show(found: Answer, _: Fields) -> dict[str, Any]:
        return {"ciphertext": sealed(found.data, found.version), "key_version": found.version}

    return await _done(caller, fields, prepare, show)


async def decrypt(request: Request) -> Response:
    """Decrypt one ciphertext or a batch."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    algorithm = _cipher(view)

    def prepare(item: Fields) -> Operation:
        _check_unserved(item)
        version, data = parse_sealed(item.get("ciphertext"), "ciphertext")
        extra = given(item, "associated_data")
        return DecryptRequest(view.name, data, algorithm, extra, version, given(item, "context"))

    def show(found: Answer, _: Fields) -> dict[str, Any]:
        return {"plaintext": base64.b64encode(found.data).decode()}

    return await _done(caller, fields, prepare, show)


async def rewrap(request: Request) -> Response:
    """Encrypt ciphertexts anew by the newest version, inside the session."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    algorithm = _cipher(view)

    def prepare(item: Fields) -> Operation:
        _check_unserved(item)
        version, data = parse_sealed(item.get("ciphertext"), "ciphertext")
        wanted, extra = number(item, "key_version", 0), given(item, "associated_data")
        return RewrapRequest(view.name, data, algorithm, extra, version, wanted, given(item, "context"))

    def show(found: Answer, _: Fields) -> dict[str, Any]:
        return {"ciphertext": sealed(found.data, found.version), "key_version": found.version}

    return await _done(caller, fields, prepare, show)


async def data_key(request: Request) -> Response:
    """A fresh key, encrypted by ours, and in the clear if asked for."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    view, kind = await caller.key(request.path_params["name"]), request.path_params["kind"]
    if kind not in ("plaintext", "wrapped"):
        raise InvalidInputError("type", "choose plaintext or wrapped")
    _check_unserved(fields)
    bits = number(fields, "bits", 256)
    if bits not in (128, 256, 512):
        raise InvalidInputError("bits", "choose 128, 256 or 512")
    key: bytes = await caller.read("random_bytes", caller.subject, bits // 8)
    context = given(fields, "context")
    found = await caller.one(EncryptRequest(view.name, key, _cipher(view), context=context))
    data = {"ciphertext": sealed(found.data, found.version), "key_version": found.version}
    if kind == "plaintext":
        data["plaintext"] = base64.b64encode(key).decode()
    return answer(data)


async def sign(request: Request) -> Response:
    """Sign one message or a batch."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    path_hash = request.path_params.get("hash", "")

    def prepare(item: Fields) -> Operation:
        algorithm = signing_algorithm(view.key_type, {**fields, **item}, path_hash)
        message = decoded(item.get("input"), "input")
        version, context = number(item, "key_version", 0), given(item, "context")
        return SignRequest(view.name, message, algorithm, version=version, context=context)

    def show(found: Answer, item: Fields) -> dict[str, Any]:
        return {"signature": _signature(found, {**fields, **item}), "key_version": found.version}

    return await _done(caller, fields, prepare, show)


async def verify(request: Request) -> Response:
    """Whether signatures, or MACs, hold."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    path_hash = request.path_params.get("hash", "")

    def prepare(item: Fields) -> Operation:
        message = decoded(item.get("input"), "input")
        if item.get("hmac"):
            version, mac = parse_sealed(item["hmac"], "hmac")
            name, _, algorithm = mac_key(view, {**fields, **item}, path_hash)
            return VerifyMacRequest(name, message, mac, algorithm, version)
        if item.get("cmac"):
            version, mac = parse_sealed(item["cmac"], "cmac")
            return VerifyMacRequest(view.name, message, mac, view.key_type, version)
        version, signature = parse_sealed(item.get("signature"), "signature")
        algorithm = signing_algorithm(view.key_type, {**fields, **item}, path_hash, verifying=True)
        context = given(item, "context")
        return VerifyRequest(view.name, message, signature, algorithm, version=version, context=context)

    def show(_: Answer, __: Fields) -> dict[str, Any]:
        return {"valid": True}

    return await _done(caller, fields, prepare, show, refused={"invalid-signature": {"valid": False}})


async def mac(request: Request) -> Response:
    """A MAC of one message or a batch, by the key itself or the one that stands beside it."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    name, key_type, algorithm = mac_key(view, fields, request.path_params.get("hash", ""))
    if name != view.name:
        try:
            await caller.key(name)
        except UnknownKeyError:
            policy = KeyPolicy(auto_rotate_s=view.policy.auto_rotate_s, every_version=True)
            await caller.write("create_key", name, key_type, caller.subject, ("sign", "verify"), policy)

    def prepare(item: Fields) -> Operation:
        message = decoded(item.get("input"), "input")
        return MacRequest(name, message, algorithm, number(item, "key_version", 0))

    def show(found: Answer, _: Fields) -> dict[str, Any]:
        return {"hmac": sealed(found.data, found.version)}

    return await _done(caller, fields, prepare, show)


async def cmac(request: Request) -> Response:
    """An AES-CMAC of one message or a batch."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    length = {"mac_length": request.path_params.get("length", fields.get("mac_length"))}
    if number(length, "mac_length", 16) not in (0, 16):
        raise NotSupportedError("a truncated CMAC", "it has 16 bytes")

    def prepare(item: Fields) -> Operation:
        message = decoded(item.get("input"), "input")
        return MacRequest(view.name, message, view.key_type, number(item, "key_version", 0))

    def show(found: Answer, _: Fields) -> dict[str, Any]:
        return {"cmac": sealed(found.data, found.version)}

    return await _done(caller, fields, prepare, show)


async def random(request: Request) -> Response:
    """Unpredictable bytes."""
    caller, fields = await caller_of(request, "security:use"), await fields_of(request)
    if request.path_params.get("source", "platform") not in ("platform", "all"):
        raise NotSupportedError("another source of chance", "the operating system is the one there is")
    asked = request.path_params.get("bytes")
    length = number({"bytes": asked} if asked else fields, "bytes", 32)
    found: bytes = await caller.read("random_bytes", caller.subject, length)
    return answer({"random_bytes": _formatted(found, text(fields, "format", "base64"))})


async def hash_(request: Request) -> Response:
    """A hash; no key has part in it."""
    _, fields = await caller_of(request, "security:read"), await fields_of(request)
    algorithm = request.path_params.get("hash") or text(fields, "algorithm", "sha2-256")
    if algorithm not in HASHES:
        raise InvalidInputError("algorithm", f"choose one of {', '.join(HASHES)}")
    name = HASHES[algorithm].replace("-", "_")  # hashlib's
    digest = hashlib.new(name, decoded(fields.get("input"), "input")).digest()
    return answer({"sum": _formatted(digest, text(fields, "format", "hex"))})


async def _done(
    caller: TransitCaller,
    fields: Fields,
    prepare: Prepare,
    show: Show,
    refused: dict[str, dict[str, Any]] | None = None,
) -> Response:
    """One operation, or each of a batch: refusals of a batch stand beside what was done."""
    items = fields.get("batch_input")
    if items is None:
        found = (await caller.each([prepare(fields)]))[0]
        if isinstance(found, Refusal):
            if refused and found.code in refused:
                return answer(refused[found.code])
            raise RefusedRequestError("request", found.message)
        return answer(show(found, fields))
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidInputError("batch_input", f"send a list of 1 to {MAX_ITEMS} items")
    results: list[dict[str, Any]] = [{} for _ in items]
    operations: list[Operation] = []
    places: list[int] = []
    for place, item in enumerate(items):
        try:
            if not isinstance(item, dict):
                raise InvalidInputError("batch_input", "an item is not an object")
            operations.append(prepare(item))
            places.append(place)
        except AnyaError as error:
            results[place] = {"error": error_text(error)}
    for place, found in zip(places, await caller.each(operations), strict=True):
        if isinstance(found, Answer):
            results[place] = show(found, items[place])
        else:
            results[place] = (refused or {}).get(found.code) or {"error": found.message}
    for item, result in zip(items, results, strict=True):
        if isinstance(item, dict) and item.get("reference") is not None:
            result["reference"] = item["reference"]
    failures = sum("error" in result for result in results)
    return answer({"batch_results": results}, _batch_status(fields, failures, len(results)))


def _batch_status(fields: Fields, failures: int, of: int) -> int:
    """200; 400 where all failed; where some did, what the client asked for."""
    wanted = number(fields, "partial_failure_response_code", 400) or 400
    if not 200 <= wanted <= 599:
        raise InvalidInputError("partial_failure_response_code", "choose 200 to 599")
    return 200 if not failures else wanted if failures < of else 400


class RefusedRequestError(InvalidInputError):
    """What a session refused, told again in its words."""

    code = "request-refused"
    message = "{1}"


def _first(fields: Fields) -> Fields:
    """The first item of a batch, or the request itself."""
    items = fields.get("batch_input")
    return items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else fields


def _cipher(view: KeyView) -> str:
    if view.key_type not in CIPHERS:
        raise InvalidInputError("key", "a key of this type does not encrypt")
    return CIPHERS[view.key_type]


def _check_unserved(fields: Fields) -> None:
    if fields.get("nonce"):
        raise NotSupportedError("a nonce of the caller's", "nonces are the HSM's own")
    if text(fields, "padding_scheme", "oaep") != "oaep":
        raise NotSupportedError(
            "RSA encryption with another padding than OAEP", "it tells attackers too much"
        )


def _signature(found: Answer, fields: Fields) -> str:
    if text(fields, "marshaling_algorithm", "asn1") == "jws":
        return f"vault:v{found.version}:{base64.urlsafe_b64encode(found.data).rstrip(b'=').decode()}"
    return sealed(found.data, found.version)


def _formatted(data: bytes, form: str) -> str:
    if form not in ("hex", "base64"):
        raise InvalidInputError("format", "choose hex or base64")
    return data.hex() if form == "hex" else base64.b64encode(data).decode()


_CHANGING: Final = ["POST", "PUT"]
ROUTES: Final = (
    Route("/encrypt/{name}", encrypt, methods=_CHANGING),
    Route("/decrypt/{name}", decrypt, methods=_CHANGING),
    Route("/rewrap/{name}", rewrap, methods=_CHANGING),
    Route("/datakey/{kind}/{name}", data_key, methods=_CHANGING),
    Route("/sign/{name}", sign, methods=_CHANGING),
    Route("/sign/{name}/{hash}", sign, methods=_CHANGING),
    Route("/verify/{name}", verify, methods=_CHANGING),
    Route("/verify/{name}/{hash}", verify, methods=_CHANGING),
    Route("/hmac/{name}", mac, methods=_CHANGING),
    Route("/hmac/{name}/{hash}", mac, methods=_CHANGING),
    Route("/cmac/{name}", cmac, methods=_CHANGING),
    Route("/cmac/{name}/{length}", cmac, methods=_CHANGING),
    Route("/random", random, methods=_CHANGING),
    *(Route(f"/random/{name}", random, methods=_CHANGING) for name in ("platform", "all")),
    Route("/random/{bytes}", random, methods=_CHANGING),
    Route("/random/{source}/{bytes}", random, methods=_CHANGING),
    Route("/hash", hash_, methods=_CHANGING),
    Route("/hash/{hash}", hash_, methods=_CHANGING),
)
