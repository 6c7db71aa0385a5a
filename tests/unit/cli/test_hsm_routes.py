"""What `/api/v1/security` can do, `anya` can ask for and Python can call."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final, get_args

import pytest
from fastapi.routing import APIRoute
from typer.testing import Result

from anya_actors.serve.http import (
    security,
    security_access,
    security_batches,
    security_keys,
    security_metrics,
    security_seal,
)
from anya_actors.serve.schemas.security_keys import Operation
from anya_actors.services.key_session import KeySession
from anya_actors.services.owned_hsm import OwnedHsm

BASE: Final = "/api/v1/security"
KEY: Final = f"{BASE}/keys/{{name}}"
SESSION: Final = f"{BASE}/sessions/{{session_id}}"
CLIENT: Final = f"{BASE}/clients/{{client_id}}"

# In this order they are one story: what a line needs, a line before it has made.
COMMANDS: Final[tuple[tuple[str, str], ...]] = (
    (f"GET {BASE}/seal-status", "hsm status"),
    (f"GET {BASE}/metrics", "hsm metrics"),
    (f"POST {BASE}/random", "hsm random 8"),
    (f"POST {BASE}/keys", "hsm key create k --policy backup=true --policy deletion_wait_s=0"),
    (f"GET {BASE}/keys", "hsm keys"),
    (f"GET {KEY}", "hsm key show k"),
    (f"GET {KEY}/public", "hsm key public k"),
    (f"GET {BASE}/transport-key", "hsm key import i - --hex"),
    (f"POST {BASE}/keys/import", "hsm key import j - --hex"),
    (f"GET {BASE}/wrapping-key", "hsm wrapping-key"),
    (f"POST {KEY}/rotate", "hsm key rotate k"),
    (f"POST {KEY}/versions/import", "hsm key import-version k - --hex"),
    (f"POST {KEY}/configure", "hsm key configure k --minimum-version 2"),
    (f"POST {KEY}/trim", "hsm key trim k 2"),
    (f"POST {KEY}/backups/new", "hsm key back-up k"),
    (f"POST {KEY}/{{change}}", "hsm key delete k"),
    (f"POST {KEY}/{{change}}", "hsm key restore k"),
    (f"POST {KEY}/{{change}}", "hsm key enable k"),
    (f"POST {KEY}/{{change}}", "hsm key disable k"),
    (f"POST {KEY}/{{change}}", "hsm key delete k"),
    (f"POST {KEY}/{{change}}", "hsm key destroy k"),
    (f"POST {KEY}/backups/restored", "hsm key bring-back k {backup}"),
    (f"POST {BASE}/keys", "hsm key create e --policy exportable=true"),
    (f"POST {KEY}/export/wrapped", "hsm key export e {wrapping_key}"),
    (f"POST {BASE}/keys", "hsm key create g --policy guarded=sign,configure --policy approvers=admin "),
    (f"POST {KEY}/approvals/given", "hsm key approve g sign"),
    (f"GET {KEY}/approvals", "hsm key approvals g"),
    (f"GET {KEY}/approvals", "hsm approvals"),
    (f"POST {BASE}/keys", "hsm key create w --type bip32"),
    (f"POST {BASE}/sessions", "hsm session open w"),
    (f"GET {BASE}/sessions", "hsm session list"),
    (f"POST {SESSION}/keys", "hsm session extend {session} e"),
    (f"DELETE {SESSION}", "hsm session close {session}"),
    (f"GET {SESSION}/keys/{{name}}/extended-public-key", "hsm key xpub w m/84h/0h"),
    (f"POST {SESSION}/operations", "hsm sign e message"),
    (f"GET {BASE}/audit", "hsm audit list"),
    (f"GET {BASE}/audit/verify", "hsm audit verify"),
    (f"GET {BASE}/audit/checkpoint", "hsm audit checkpoint"),
    (f"GET {BASE}/audit/consistency", "hsm audit verify --since {checkpoint}"),
    (f"GET {BASE}/audit/{{sequence}}/proof", "hsm audit proof 1"),
    (f"POST {BASE}/tokens", "token create --role signer"),
    (f"POST {BASE}/tokens/revoke", "token revoke --id nobodys"),
    (f"POST {BASE}/tokens/rotate-key", "token rotate-key"),
    (f"POST {BASE}/clients", "hsm client create shop --role signer"),
    (f"GET {BASE}/clients", "hsm client list"),
    (f"POST {CLIENT}/rotate", "hsm client rotate shop"),
    (f"POST {CLIENT}/{{change}}", "hsm client disable shop"),
    (f"POST {CLIENT}/{{change}}", "hsm client enable shop"),
    (f"DELETE {CLIENT}", "hsm client delete shop"),
    (f"POST {BASE}/rekey", "hsm rekey"),
    (f"POST {BASE}/seal", "hsm seal"),
    (f"POST {BASE}/unseal", "hsm unseal"),
    (f"POST {BASE}/change-passphrase", "hsm change-passphrase"),
)
# A file of a line that was printed before; of a text that was.
KEPT: Final = {
    "hsm key back-up k": "backup",
    "hsm wrapping-key": "wrapping_key",
    "hsm audit checkpoint": "checkpoint",
}
OPERATIONS_SAY_THE_SAME: Final = "one of 'operations', which the commands ask for"
BATCHES: Final = "thousands of items a second are a program's business: HTTP, or `KeySession` in Python"
NO_COMMAND: Final = {
    f"POST {SESSION}/sign": OPERATIONS_SAY_THE_SAME,
    f"POST {SESSION}/verify": OPERATIONS_SAY_THE_SAME,
    **{f"POST {SESSION}/{name}/batch": BATCHES for name in ("sign", "mac", "verify", "encrypt", "decrypt")},
}


def routes() -> dict[str, APIRoute]:
    modules = (
        security,
        security_access,
        security_batches,
        security_keys,
        security_metrics,
        security_seal,
    )
    found = [route for module in modules for route in module.router.routes if isinstance(route, APIRoute)]
    return {
        f"{method} {route.path}": route
        for route in found
        for method in route.methods or ()
        if route.path.startswith(BASE)
    }


def route_of(method: str, path: str) -> str:
    """The route that takes a request: as the application finds it, the first that fits."""
    return next(
        name
        for name, route in routes().items()
        if name.startswith(f"{method} ") and route.path_regex.match(path)
    )


def test_every_route_has_a_command_or_a_reason_to_have_none() -> None:
    with_command = {route for route, _ in COMMANDS}
    assert with_command | set(NO_COMMAND) == set(routes())
    assert not with_command & set(NO_COMMAND)


def test_each_command_asks_its_route_and_is_answered(
    anya: Callable[..., Result],
    asked: list[tuple[str, str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANYA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr("anya_actors.cli.passphrase.prepare_passphrase", lambda *_: None)
    places: dict[str, str] = {}
    for route, line in COMMANDS:
        asked.clear()
        more = ("--policy", "approvals_needed=1") if "guarded" in line else ()
        arguments = [word.format(**places) for word in line.split()]
        answer = anya(*arguments, *more, stdin="00" * 31 + "07")
        assert route in {route_of(method, path) for method, path, _ in asked}, line
        if "change-passphrase" in line:
            continue  # an HSM in memory has no file from which it could read another
        assert answer.exit_code == 0, f"{line}: {answer.output}{answer.exception!r}"
        if line in KEPT:
            file = tmp_path / KEPT[line]
            file.write_text(answer.stdout)
            places[KEPT[line]] = str(file)
        if line.startswith("hsm session open"):
            places["session"] = json.loads(answer.stdout)["session_id"]


OPERATIONS: Final[dict[str, tuple[str, ...]]] = {
    "sign": ("sign", "k", "message"),
    "verify": ("verify", "k", "00", "message"),
    "encrypt": ("encrypt", "c"),
    "decrypt": ("decrypt", "c", "00"),
    "rewrap": ("rewrap", "c", "00"),
    "mac": ("mac", "h", "message"),
    "verify-mac": ("verify", "h", "00", "message"),
    "agree": ("agree", "x", "09" + "00" * 31, "--out", "-"),
    "stretch": ("stretch", "s", "--out", "-"),
}


def test_every_operation_has_a_command(
    invoke: Callable[..., Result], asked: list[tuple[str, str, bytes]]
) -> None:
    for name, key_type in {
        "k": "ed25519",
        "c": "aes256-gcm",
        "h": "hmac-sha256",
        "x": "x25519",
        "s": "secret",
    }.items():
        assert invoke("key", "create", name, "--type", key_type).exit_code == 0
    operations = set(get_args(Operation.model_fields["operation"].annotation))
    assert operations == set(OPERATIONS) | {"random"}  # that has a route of its own
    for operation, arguments in OPERATIONS.items():
        asked.clear()
        invoke(*arguments, stdin="text")
        bodies = [json.loads(body) for _, path, body in asked if path.endswith("/operations")]
        assert [each["operation"] for body in bodies for each in body["operations"]] == [operation]


# What `platform.hsm` and its sessions do in Python. They are one owner's: what is everybody's is not there.
ADMINISTRATION = "it is everybody's, and the administrator's: the command line and HTTP"
WHOLE_LOG = "proofs are of the whole log, whoever is in it: the command line and HTTP"
IN_PYTHON: Final[dict[str, object]] = {
    f"GET {BASE}/seal-status": OwnedHsm.seal_status,
    f"GET {BASE}/metrics": OwnedHsm.metrics,
    f"POST {BASE}/random": OwnedHsm.random,
    f"GET {BASE}/keys": OwnedHsm.keys,
    f"POST {BASE}/keys": OwnedHsm.create_key,
    f"GET {KEY}": OwnedHsm.key,
    f"GET {KEY}/public": OwnedHsm.public_key,
    f"GET {BASE}/transport-key": OwnedHsm.import_key,
    f"POST {BASE}/keys/import": OwnedHsm.import_wrapped_key,
    f"POST {KEY}/versions/import": OwnedHsm.import_version,
    f"GET {BASE}/wrapping-key": OwnedHsm.wrapping_key,
    f"POST {KEY}/rotate": OwnedHsm.rotate_key,
    f"POST {KEY}/configure": OwnedHsm.configure_key,
    f"POST {KEY}/trim": OwnedHsm.trim_key,
    f"POST {KEY}/backups/new": OwnedHsm.back_up_key,
    f"POST {KEY}/backups/restored": OwnedHsm.bring_back_key,
    f"POST {KEY}/{{change}}": OwnedHsm.delete_key,
    f"POST {KEY}/export/wrapped": OwnedHsm.export_key,
    f"POST {KEY}/approvals/given": OwnedHsm.approve_key,
    f"GET {KEY}/approvals": OwnedHsm.approvals,
    f"GET {BASE}/sessions": OwnedHsm.sessions,
    f"POST {BASE}/sessions": OwnedHsm.session,
    f"DELETE {SESSION}": OwnedHsm.close_session,
    f"POST {SESSION}/keys": KeySession.add_keys,
    f"GET {SESSION}/keys/{{name}}/extended-public-key": KeySession.extended_public_key,
    f"POST {SESSION}/operations": KeySession.perform_each,
    f"POST {SESSION}/sign": KeySession.sign,
    f"POST {SESSION}/verify": KeySession.verify,
    f"POST {SESSION}/sign/batch": KeySession.sign_batch,
    f"POST {SESSION}/verify/batch": KeySession.verify_batch,
    f"POST {SESSION}/mac/batch": KeySession.mac_batch,
    f"POST {SESSION}/encrypt/batch": KeySession.encrypt_batch,
    f"POST {SESSION}/decrypt/batch": KeySession.decrypt_batch,
    f"GET {BASE}/audit": OwnedHsm.audit,
    **{
        f"GET {BASE}/audit/{name}": WHOLE_LOG
        for name in ("verify", "checkpoint", "consistency", "{sequence}/proof")
    },
    **{f"POST {BASE}/{name}": ADMINISTRATION for name in ("seal", "unseal", "rekey", "change-passphrase")},
    **{f"POST {BASE}/tokens{name}": ADMINISTRATION for name in ("", "/revoke", "/rotate-key")},
    f"GET {BASE}/clients": ADMINISTRATION,
    f"POST {BASE}/clients": ADMINISTRATION,
    f"POST {CLIENT}/rotate": ADMINISTRATION,
    f"POST {CLIENT}/{{change}}": ADMINISTRATION,
    f"DELETE {CLIENT}": ADMINISTRATION,
}


def test_every_route_has_a_method_in_python_or_a_reason_to_have_none() -> None:
    assert set(IN_PYTHON) == set(routes())
