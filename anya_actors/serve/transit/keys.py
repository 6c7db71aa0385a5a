"""Transit's routes for keys: create, read, list, configure, rotate, trim, delete, import, public keys."""

from __future__ import annotations

import base64
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from anya_actors.domain.hsm.errors import KeyExistsError, UnknownKeyError
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.algorithms import HMACS, SYMMETRIC
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.serve.transit.caller import (
    TransitCaller,
    answer,
    caller_of,
    fields_of,
    nothing,
    plain,
)
from anya_actors.serve.transit.words import (
    OPERATIONS,
    TRANSIT_TYPES,
    Fields,
    companion,
    decoded,
    flag,
    given,
    is_companion,
    key_data,
    key_type_of,
    number,
    seconds,
    text,
)

_DEFAULT_OPERATIONS: Final = ("sign", "verify")
_HASHES: Final = {"SHA1": "sha1", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}


async def create(request: Request) -> Response:
    """Make a key; one that exists stays as it is."""
    caller, fields = await caller_of(request, "security"), await fields_of(request)
    name = request.path_params["name"]
    await make(caller, name, fields)
    return answer(await _shown(caller, await caller.key(name)))


async def make(caller: TransitCaller, name: str, fields: Fields) -> None:
    """Make a key as the fields say, unless the caller has it already."""
    key_type = key_type_of(fields)
    if is_companion(name):
        raise InvalidInputError("name", "names that end in :hmac-sha… stand beside other keys")
    policy = _policy_of(fields)
    operations = OPERATIONS.get(key_type, _DEFAULT_OPERATIONS)
    try:
        await caller.write("create_key", name, key_type, caller.subject, operations, policy)
    except KeyExistsError:
        await caller.key(name)  # an error, if it is another's


def _policy_of(fields: Fields) -> KeyPolicy:
    return KeyPolicy(
        exportable=flag(fields, "exportable", False),
        deletion_allowed=False,
        derived=flag(fields, "derived", False),
        convergent=flag(fields, "convergent_encryption", False),
        auto_rotate_s=seconds(fields, "auto_rotate_period", 0),
        backup=flag(fields, "allow_plaintext_backup", False),
        every_version=True,
    )


async def read(request: Request) -> Response:
    """One key with its versions."""
    caller = await caller_of(request, "security:read")
    context = given(request.query_params, "context")
    return answer(await _shown(caller, await caller.key(request.path_params["name"]), context))


async def list_(request: Request) -> Response:
    """The names of the caller's keys (``LIST``, or ``GET`` with ``list=true``)."""
    if request.method == "GET" and request.query_params.get("list") != "true":
        return plain({"errors": ["unsupported operation"]}, 405)
    caller = await caller_of(request, "security:read")
    views: list[KeyView] = await caller.read("keys", caller.subject)
    names = [
        view.name
        for view in views
        if view.key_type in TRANSIT_TYPES
        and view.state in ("enabled", "disabled")
        and not is_companion(view.name)
    ]
    return answer({"keys": names}) if names else plain({"errors": []}, 404)


async def configure(request: Request) -> Response:
    """Minimum versions and what may happen to the key."""
    caller, fields = await caller_of(request, "security"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    policy = msgspec.structs.replace(
        view.policy,
        deletion_allowed=flag(fields, "deletion_allowed", view.policy.deletion_allowed),
        exportable=flag(fields, "exportable", view.policy.exportable),
        auto_rotate_s=seconds(fields, "auto_rotate_period", view.policy.auto_rotate_s),
        backup=flag(fields, "allow_plaintext_backup", view.policy.backup),
    )
    minimum = number(fields, "min_decryption_version", view.minimum_version) or 1
    encrypting = number(fields, "min_encryption_version", view.minimum_encryption_version)
    changed = await caller.write("configure_key", view.name, caller.subject, minimum, encrypting, policy)
    return answer(await _shown(caller, changed))


async def rotate(request: Request) -> Response:
    """A new version, also of the keys that make MACs beside it."""
    caller = await caller_of(request, "security")
    view = await caller.key(request.path_params["name"])
    changed = await caller.write("rotate_key", view.name, caller.subject)
    await _rotate_companions(caller, view)
    return answer(await _shown(caller, changed))


async def _rotate_companions(caller: TransitCaller, view: KeyView) -> None:
    for algorithm in HMACS:
        try:
            await caller.write("rotate_key", companion(view.name, algorithm), caller.subject)
        except UnknownKeyError:
            continue


async def trim(request: Request) -> Response:
    """Forget versions for ever."""
    caller, fields = await caller_of(request, "security"), await fields_of(request)
    first = number(fields, "min_available_version", 0)
    changed = await caller.write("trim_key", request.path_params["name"], caller.subject, first)
    return answer(await _shown(caller, changed))


async def delete(request: Request) -> Response:
    """Delete a key; our HSM can restore it for a while."""
    caller = await caller_of(request, "security")
    view = await caller.key(request.path_params["name"])
    await caller.write("delete_key", view.name, caller.subject)
    return nothing()


async def restore_deleted(request: Request) -> Response:
    """Take a deletion back (OpenBao's ``soft-delete-restore``); the key can be used again."""
    caller = await caller_of(request, "security")
    name = request.path_params["name"]
    view: KeyView = await caller.read("key", name, caller.subject)
    if view.state != "deleted":
        raise UnknownKeyError(name)
    await caller.write("restore_key", name, caller.subject)
    await caller.write("enable_key", name, caller.subject)
    return nothing()


async def back_up(request: Request) -> Response:
    """A key for this HSM alone: Vault's is in the clear, ours is sealed. Both come back by `restore`."""
    caller = await caller_of(request, "security")
    view = await caller.key(request.path_params["name"])
    blob: bytes = await caller.write("back_up_key", view.name, caller.subject)
    return answer({"backup": base64.b64encode(blob).decode()})


async def restore(request: Request) -> Response:
    """Bring a deleted or destroyed key back under its own name."""
    caller, fields = await caller_of(request, "security"), await fields_of(request)
    name = request.path_params.get("name", "")
    blob = decoded(fields.get("backup"), "backup")
    view: KeyView = await caller.write("bring_back_key", name, caller.subject, blob)
    await caller.write("enable_key", view.name, caller.subject)
    return nothing()


async def cache(request: Request) -> Response:
    """How many keys are cached: as many as a session holds, which nobody needs to choose."""
    await caller_of(request, "security")
    if request.method == "GET":
        return answer({"size": 0})
    if number(await fields_of(request), "size", 0):
        raise NotSupportedError("a cache of another size", "sessions hold the keys that they use")
    return nothing()


async def engine(request: Request) -> Response:
    """Whether encrypting makes the keys that it lacks: it does, as in Vault."""
    await caller_of(request, "security")
    if request.method != "GET" and flag(await fields_of(request), "disable_upsert", False):
        raise NotSupportedError("encrypting without making keys", "create the key before")
    return answer({"disable_upsert": False})


async def unserved(request: Request) -> Response:
    """What Vault has and we have not."""
    await caller_of(request, "security")
    raise NotSupportedError("certificates of keys", "README tells what there is")


async def wrapping_key(request: Request) -> Response:
    """The RSA-4096 key that imported keys are wrapped with."""
    caller = await caller_of(request, "security:read")
    return answer({"public_key": (await caller.read("wrapping_key")).decode()})


async def import_(request: Request) -> Response:
    """Take in a wrapped key."""
    caller, fields = await caller_of(request, "security"), await fields_of(request)
    name, key_type = request.path_params["name"], key_type_of(fields)
    blob, digest = _wrapped(fields)
    facts = (blob, _form(key_type), OPERATIONS.get(key_type, _DEFAULT_OPERATIONS), _policy_of(fields), digest)
    try:
        await caller.write("import_wrapped_key", name, key_type, caller.subject, *facts)
    except KeyExistsError:
        await caller.key(name)  # an error, if it is another's
        raise InvalidInputError("name", f"{name} is a key already: use import-version to rotate it") from None
    return nothing()


async def import_version(request: Request) -> Response:
    """Take in a new version of a key; as in Vault, it signs and encrypts from now on."""
    caller, fields = await caller_of(request, "security"), await fields_of(request)
    view = await caller.key(request.path_params["name"])
    if number(fields, "version", 0):
        raise NotSupportedError("adding to a version that there is", "send a whole one without its number")
    blob, digest = _wrapped(fields)
    facts = (blob, _form(view.key_type), digest)
    await caller.write("import_wrapped_version", view.name, caller.subject, *facts)
    await _rotate_companions(caller, view)
    return nothing()


def _wrapped(fields: Fields) -> tuple[bytes, str]:
    """The wrapped key of a request, and the hash that its wrapping is with."""
    if fields.get("public_key"):
        raise NotSupportedError("importing a public key alone", "the HSM keeps private ones")
    digest = _HASHES.get(text(fields, "hash_function", "SHA256").upper().replace("-", ""))
    if digest is None:
        raise NotSupportedError("this hash function", f"choose one of {', '.join(_HASHES)}")
    return decoded(fields.get("ciphertext"), "ciphertext"), digest


def _form(key_type: str) -> str:
    return "raw" if key_type in SYMMETRIC else "pkcs8"


async def export(request: Request) -> Response:
    """Public keys; private ones leave wrapped alone, through ``byok-export`` with an RSA key."""
    caller = await caller_of(request, "security")
    if request.path_params["kind"] != "public-key":
        raise NotSupportedError("export in the clear", "keys leave wrapped: byok-export, or the security API")
    view = await caller.key(request.path_params["name"])
    wanted = request.path_params.get("version", "")
    versions = [
        each.version
        for each in view.versions
        if not wanted or wanted == str(each.version) or (wanted == "latest" and each.version == view.version)
    ]
    keys = {str(n): await _public(caller, view, n) for n in versions}
    return answer({"name": view.name, "type": TRANSIT_TYPES.get(view.key_type, view.key_type), "keys": keys})


async def byok_export(request: Request) -> Response:
    """A key of ours wrapped to an RSA key of the caller's that is here too."""
    caller = await caller_of(request, "security")
    destination = await caller.key(request.path_params["destination"])
    view = await caller.key(request.path_params["name"])
    recipient = (await caller.read("public_key_as", destination.name, "pem", 0)).encode()
    wanted = request.path_params.get("version", "latest")
    version = 0 if wanted == "latest" else number({"version": wanted}, "version", 0)
    blob: bytes = await caller.write("export_key", view.name, caller.subject, recipient, version)
    keys = {str(version or view.version): base64.b64encode(blob).decode()}
    return answer({"name": view.name, "type": TRANSIT_TYPES.get(view.key_type, view.key_type), "keys": keys})


async def _shown(caller: TransitCaller, view: KeyView, context: bytes = b"") -> dict[str, object]:
    if view.key_type in SYMMETRIC:
        return key_data(view, {})
    usable = [each.version for each in view.versions if each.version >= view.minimum_version]
    return key_data(view, {n: await _public(caller, view, n, context) for n in usable})


async def _public(caller: TransitCaller, view: KeyView, version: int, context: bytes = b"") -> str:
    """A public key as Vault shows it: PEM, or base64 of an Ed25519 key, which may be derived."""
    if view.key_type != "ed25519":
        return str(await caller.read("public_key_as", view.name, "pem", version))
    if not view.policy.derived:
        raw = bytes.fromhex(await caller.read("public_key_as", view.name, "raw", version))
    else:
        raw = await caller.public_key(view.name, version, context) if context else b""
    return base64.b64encode(raw).decode()


_CHANGING: Final = ["POST", "PUT"]
ROUTES: Final = (
    Route("/cache-config", cache, methods=["GET", *_CHANGING]),
    Route("/keys/{name}/soft-delete", delete, methods=["DELETE"]),
    Route("/keys/{name}/soft-delete-restore", restore_deleted, methods=_CHANGING),
    Route("/keys/{name}/import_version", import_version, methods=_CHANGING),
    Route("/keys/{name}/csr", unserved, methods=_CHANGING),
    Route("/keys/{name}/set-certificate", unserved, methods=_CHANGING),
    Route("/config/keys", engine, methods=["GET", *_CHANGING]),
    Route("/backup/{name}", back_up, methods=["GET"]),
    Route("/restore", restore, methods=_CHANGING),
    Route("/restore/{name}", restore, methods=_CHANGING),
    Route("/keys", list_, methods=["LIST", "GET"]),
    Route("/keys/", list_, methods=["LIST", "GET"]),
    Route("/keys/{name}", create, methods=["POST", "PUT"]),
    Route("/keys/{name}", read, methods=["GET"]),
    Route("/keys/{name}", delete, methods=["DELETE"]),
    Route("/keys/{name}/config", configure, methods=["POST", "PUT"]),
    Route("/keys/{name}/rotate", rotate, methods=["POST", "PUT"]),
    Route("/keys/{name}/trim", trim, methods=["POST", "PUT"]),
    Route("/keys/{name}/import", import_, methods=["POST", "PUT"]),
    Route("/wrapping_key", wrapping_key, methods=["GET"]),
    Route("/export/{kind}/{name}", export, methods=["GET"]),
    Route("/export/{kind}/{name}/{version}", export, methods=["GET"]),
    Route("/byok-export/{destination}/{name}", byok_export, methods=["GET"]),
    Route("/byok-export/{destination}/{name}/{version}", byok_export, methods=["GET"]),
)
