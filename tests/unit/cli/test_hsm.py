"""``anya hsm`` over the HTTP API of a whole HSM in this process."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner, Result

from anya_actors.adapters.memory.process_guard import RecordingGuard
from anya_actors.cli import api_client
from anya_actors.cli.api_client import ApiClient
from anya_actors.cli.faults import RefusedError
from anya_actors.cli.hsm import app
from anya_actors.domain.keys.algorithms import MAC_ALGORITHMS
from anya_actors.domain.machine import InvalidInputError
from anya_actors.serve.app import build_app
from anya_actors.serve.settings import DoorSettings
from anya_actors.services.hardening import NOT_LOCKED
from anya_actors.testing.local_hsm import LocalHsm

Invoke = Callable[..., Result]
SECRET = bytes(range(32))


class Through(httpx.BaseTransport):
    """A caller that waits, before an application in the loop of ``runner``."""

    def __init__(self, runner: asyncio.Runner, app: Any) -> None:
        self._runner = runner
        self._application = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._runner.run(self._ask(request))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        answer = await self._application.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Iterator[Invoke]:
    """Run a command against an HSM, as its administrator."""
    hsm = LocalHsm()
    names = hsm.settings
    door = build_app(hsm.actors, hsm.clock, DoorSettings(audience=names.audience, issuer=names.issuer))
    with asyncio.Runner() as runner:
        service = runner.run(hsm.start())
        token = runner.run(service.issue_token("admin", ("admin",), 600, message_id="token"))
        http = httpx.Client(
            base_url="http://anya.test",
            transport=Through(runner, door),
            headers={"Authorization": f"Bearer {token}"},
        )

        @contextlib.contextmanager
        def admin_client(_: object) -> Iterator[ApiClient]:
            client = ApiClient("http://anya.test", token)
            client._http = http
            yield client

        monkeypatch.setattr(api_client, "admin_client", admin_client)
        yield lambda *arguments, stdin=None: CliRunner().invoke(app, list(arguments), input=stdin)
        runner.run(door.state.door.drain())
        runner.run(hsm.close())


def record(answer: Result) -> dict[str, Any]:
    """The one line that a command printed."""
    assert answer.exit_code == 0, answer.output + repr(answer.exception)
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def records(answer: Result) -> list[dict[str, Any]]:
    assert answer.exit_code == 0, answer.output + repr(answer.exception)
    return [json.loads(line) for line in answer.stdout.splitlines()]


def refusal(answer: Result) -> str:
    """The code of the problem that the platform answered with."""
    assert isinstance(answer.exception, RefusedError), answer.output
    return answer.exception.problem


@pytest.fixture
def unlockable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses to lock memory."""
    monkeypatch.setattr(RecordingGuard, "refuses", True)


@pytest.mark.usefixtures("unlockable", "invoke")  # in this order
def test_the_status_tells_that_memory_could_not_be_locked(invoke: Invoke) -> None:
    found = record(invoke("status"))
    assert (found["sealed"], found["hardening_refused"]) == (False, [NOT_LOCKED])


def test_a_key_is_made_for_what_its_type_is_for(invoke: Invoke) -> None:
    assert record(invoke("key", "create", "k"))["operations"] == ["sign", "verify"]
    made = record(invoke("key", "create", "c", "--type", "aes256-gcm", "--owner", "alice"))
    assert (made["operations"], made["owner"]) == (["decrypt", "encrypt"], "alice")
    made = record(invoke("key", "create", "w", "--type", "bip32", "--allow", "sign", "--allow", "derive"))
    assert made["operations"] == ["derive", "sign"]
    assert [key["name"] for key in records(invoke("keys")) if key["owner"] != "hsm"] == ["c", "k", "w"]


@pytest.mark.parametrize(
    "key_type",
    ["ed25519", "secp256k1", "bip32", "p256", "p384", "p521", "rsa-2048", "hmac-sha256", "aes256-cmac"],
)
def test_what_a_key_signed_or_authenticated_is_verified_and_nothing_else(
    invoke: Invoke, key_type: str
) -> None:
    invoke("key", "create", "k", "--type", key_type)
    if key_type in MAC_ALGORITHMS:
        proof = record(invoke("mac", "k", "a message"))["mac_hex"]
    else:
        proof = record(invoke("sign", "k", "a message"))["signature_hex"]
    assert record(invoke("verify", "k", proof, "a message"))["valid"] is True
    assert refusal(invoke("verify", "k", proof, "another")) == "invalid-signature"
    assert records(invoke("session", "list")) == []


def test_a_message_comes_as_text_from_a_file_or_from_standard_input(invoke: Invoke, tmp_path: Path) -> None:
    invoke("key", "create", "k")
    file = tmp_path / "message"
    file.write_bytes(b"\xff\x00")
    signatures = {
        record(answer)["signature_hex"]
        for answer in (
            invoke("sign", "k", "--file", str(file)),
            invoke("sign", "k", stdin=b"\xff\x00"),
            invoke("sign", "k", "-", stdin=b"\xff\x00"),
            invoke("sign", "k", "ff00", "--hex"),
        )
    }
    assert len(signatures) == 1
    assert invoke("sign", "k", "no hex", "--hex").exit_code == 2


def test_a_digest_is_signed_at_a_path(invoke: Invoke) -> None:
    invoke("key", "create", "w", "--type", "bip32")
    how = ("--hex", "--algorithm", "schnorr-bip340", "--path", "m/86h/0h/0h/0/1")
    proof = record(invoke("sign", "w", SECRET.hex(), *how))["signature_hex"]
    assert len(proof) == 128
    assert record(invoke("verify", "w", proof, SECRET.hex(), *how))["valid"] is True
    assert refusal(invoke("sign", "w", "short", "--algorithm", "schnorr-bip340")) == "invalid-input"


def test_what_was_encrypted_opens_after_a_rotation_by_the_line_that_was_printed(invoke: Invoke) -> None:
    invoke("key", "create", "c", "--type", "aes256-gcm")
    line = invoke("encrypt", "c", "plain", "--associated-data", "row 7").stdout
    assert record(invoke("key", "rotate", "c"))["version"] == 2
    opened = record(invoke("decrypt", "c", "--associated-data", "row 7", stdin=line))
    assert (bytes.fromhex(opened["plaintext_hex"]), opened["version"]) == (b"plain", 1)
    raw = invoke("decrypt", "c", "--raw", "--associated-data", "row 7", stdin=line)
    assert raw.stdout_bytes == b"plain"
    sealed = json.loads(line)["ciphertext_hex"]
    assert refusal(invoke("decrypt", "c", sealed, "--associated-data", "row 7")) == "invalid-ciphertext"
    assert refusal(invoke("decrypt", "c", sealed, "--version", "1")) == "invalid-ciphertext"
    assert invoke("decrypt", "c", stdin='{"ciphertext_hex": 7}').exit_code == 2


def test_binary_is_base64_where_that_is_asked_for(invoke: Invoke) -> None:
    invoke("key", "create", "c", "--type", "rsa-2048", "--allow", "encrypt", "--allow", "decrypt")
    sealed = record(invoke("encrypt", "c", "plain", "--base64"))
    again = record(invoke("decrypt", "c", sealed["ciphertext_base64"], "--base64"))
    assert again["plaintext_base64"] == "cGxhaW4="
    assert record(invoke("decrypt", "c", stdin=json.dumps(sealed)))["plaintext_hex"] == b"plain".hex()
    assert invoke("decrypt", "c", "not base64!", "--base64").exit_code == 2


def test_a_code_is_made_and_verified_by_another_hash_than_the_usual(invoke: Invoke) -> None:
    invoke("key", "create", "h", "--type", "hmac-sha256")
    code = record(invoke("mac", "h", "message", "--algorithm", "hmac-sha224"))["mac_hex"]
    assert record(invoke("verify", "h", code, "message", "--algorithm", "hmac-sha224"))["valid"] is True
    other = invoke("verify", "h", code, "another", "--algorithm", "hmac-sha224")
    assert refusal(other) == "invalid-signature"


def test_a_derived_key_acts_by_its_context(invoke: Invoke) -> None:
    policy = ("--policy", "derived=true")
    invoke("key", "create", "k", *policy)
    invoke("key", "create", "c", "--type", "aes256-gcm", *policy)
    here = ("--context", "here")
    proof = record(invoke("sign", "k", "message", *here))["signature_hex"]
    assert record(invoke("verify", "k", proof, "message", *here))["valid"] is True
    assert refusal(invoke("verify", "k", proof, "message", "--context", "there")) == "invalid-signature"
    line = invoke("encrypt", "c", "plain", *here).stdout
    assert invoke("decrypt", "c", "--raw", *here, stdin=line).stdout == "plain"


def test_random_bytes_need_no_key(invoke: Invoke) -> None:
    assert len(bytes.fromhex(record(invoke("random", "9"))["random_hex"])) == 9
    assert invoke("random", "0").exit_code == 2


def test_an_operation_that_a_type_does_not_serve_says_which_it_does(invoke: Invoke) -> None:
    invoke("key", "create", "x", "--type", "x25519")
    answer = invoke("sign", "x", "message")
    assert isinstance(answer.exception, InvalidInputError)
    assert "cannot sign" in str(answer.exception)
    assert refusal(invoke("sign", "nothing", "message")) == "unknown-key"


def test_a_session_is_closed_also_when_its_operation_is_refused(invoke: Invoke) -> None:
    invoke("key", "create", "k", "--allow", "verify")
    assert refusal(invoke("sign", "k", "message")) == "operation-refused"
    assert records(invoke("session", "list")) == []


@pytest.mark.parametrize("form", ["raw", "mnemonic"])
def test_a_secret_is_imported_from_a_file_or_standard_input_sealed_on_its_way(
    invoke: Invoke, tmp_path: Path, form: str
) -> None:
    words = "abandon " * 11 + "about\n"
    content, key_type = {"raw": (SECRET.hex(), "ed25519"), "mnemonic": (words, "bip32")}[form]
    flags = ("--type", key_type, "--form", form, *(("--hex",) if form == "raw" else ()))
    file = tmp_path / "secret"
    file.write_text(content)
    first = record(invoke("key", "import", "a", str(file), *flags))
    second = record(invoke("key", "import", "b", "-", *flags, stdin=content))
    assert first["public_key"] == second["public_key"]
    if form == "mnemonic":
        passphrase = tmp_path / "passphrase"
        passphrase.write_text("TREZOR\n")
        other = record(invoke("key", "import", "c", str(file), *flags, "--passphrase-file", str(passphrase)))
        assert other["public_key"] != first["public_key"]
    refused = invoke("key", "import", "d", content.strip(), *flags)  # not on the command line
    assert refused.exit_code == 2
    assert content.strip() not in refused.output


def test_an_exportable_key_leaves_wrapped_and_comes_back(invoke: Invoke, tmp_path: Path) -> None:
    invoke("key", "create", "k", "--type", "hmac-sha256", "--policy", "exportable=true")
    pem, blob = tmp_path / "wrapping.pem", tmp_path / "blob"
    pem.write_text(invoke("wrapping-key").stdout)
    blob.write_text(record(invoke("key", "export", "k", str(pem)))["wrapped_hex"])
    record(invoke("key", "import", "twin", str(blob), "--hex", "--wrapped", "--type", "hmac-sha256"))
    codes = [record(invoke("mac", name, "message"))["mac_hex"] for name in ("k", "twin")]
    assert codes[0] == codes[1]

    invoke("key", "create", "stays")
    stranger = rsa.generate_private_key(65537, 2048).public_key()
    pem.write_bytes(stranger.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert refusal(invoke("key", "export", "stays", str(pem))) == "operation-refused"


def test_a_key_goes_its_whole_life(invoke: Invoke) -> None:
    made = record(invoke("key", "create", "k", "--type", "bip32", "--policy", "paths=m/84h/0h/0h"))
    assert made["paths"] == ["m/84h/0h/0h"]
    invoke("key", "rotate", "k")
    changed = record(invoke("key", "configure", "k", "--minimum-version", "2"))
    assert (changed["minimum_version"], changed["paths"]) == (2, ["m/84h/0h/0h"])
    changed = record(invoke("key", "configure", "k", "--policy", "rate_per_s=5"))
    assert (changed["minimum_version"], changed["paths"]) == (2, ["m/84h/0h/0h"])
    assert changed["policy"]["rate_per_s"] == 5
    assert [version["version"] for version in record(invoke("key", "trim", "k", "2"))["versions"]] == [2]
    for command, state in (
        ("disable", "disabled"),
        ("enable", "enabled"),
        ("delete", "deleted"),
        ("restore", "disabled"),
        ("delete", "deleted"),
    ):
        assert record(invoke("key", command, "k"))["state"] == state
    assert refusal(invoke("key", "destroy", "k")) == "waiting-period"
    assert record(invoke("key", "show", "k"))["state"] == "deleted"
    assert invoke("key", "public", "k").stdout.startswith("-----BEGIN PUBLIC KEY-----\n")
    assert len(bytes.fromhex(invoke("key", "public", "k", "--form", "sec1").stdout)) in (33, 65)


def test_a_key_comes_back_out_of_its_backup(invoke: Invoke, tmp_path: Path) -> None:
    bounds = ("backup=true", "deletion_wait_s=0")
    made = record(invoke("key", "create", "k", *(word for bound in bounds for word in ("--policy", bound))))
    line = invoke("key", "back-up", "k").stdout
    assert refusal(invoke("key", "bring-back", "k", "-", stdin=line)) == "key-exists"
    for command in ("delete", "destroy"):
        record(invoke("key", command, "k"))
    file = tmp_path / "backup"
    file.write_text(json.loads(line)["backup_hex"])
    back = record(invoke("key", "bring-back", "k", str(file)))
    assert (back["state"], back["public_key"]) == ("disabled", made["public_key"])
    assert invoke("key", "bring-back", "k", "-", stdin='{"other": 1}').exit_code == 2


def test_a_policy_that_cannot_be_read_is_no_request(invoke: Invoke) -> None:
    for bound in ("exportable", "rate_per_s=many"):
        assert invoke("key", "create", "k", "--policy", bound).exit_code == 2
    assert refusal(invoke("key", "create", "k", "--policy", "nonsense=1")) == "invalid-fields"


def test_a_guarded_operation_takes_an_approval(invoke: Invoke) -> None:
    guard = ("guarded=rotate", "approvers=admin", "approvals_needed=1")
    invoke("key", "create", "k", *(word for bound in guard for word in ("--policy", bound)))
    assert refusal(invoke("key", "rotate", "k")) == "approval-needed"
    record(invoke("key", "approve", "k", "rotate"))
    assert record(invoke("key", "rotate", "k"))["version"] == 2


def test_a_session_is_closed_by_its_id(invoke: Invoke) -> None:
    assert refusal(invoke("session", "close", "nobodys")) == "unknown-actor"
