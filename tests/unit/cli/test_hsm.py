"""``anya hsm`` over the HTTP API of a whole HSM in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import Result

from anya_actors.adapters.memory.process_guard import RecordingGuard
from anya_actors.cli import api_client
from anya_actors.cli.doctor import _hardening
from anya_actors.cli.faults import RefusedError
from anya_actors.config import load_settings
from anya_actors.domain.keys.algorithms import MAC_ALGORITHMS
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hardening import NOT_LOCKED

Invoke = Callable[..., Result]
SECRET = bytes(range(32))


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


@pytest.mark.usefixtures("unlockable", "invoke")  # in this order
def test_the_list_of_sessions_and_the_doctor_tell_that_memory_could_not_be_locked(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(invoke("key", "create", "k"))
    session = record(invoke("session", "open", "k"))
    actor = session["actor"]
    sign = {"key": "k", "operation": "sign", "algorithm": "ed25519", "data_hex": "00"}
    with api_client.admin_client(load_settings(environ={})) as client:
        place = f"/api/v1/security/sessions/{session['session_id']}/operations"
        client.post(place, {"operations": [sign]})
    (shown,) = records(invoke("session", "list"))
    assert shown["hardening_refused"] == [NOT_LOCKED]
    finding = _hardening(load_settings(environ={}))
    assert finding == ("hardening", False, f"hsm/main: {NOT_LOCKED}; {actor}: {NOT_LOCKED}")


def test_the_doctor_is_content_with_a_hardened_platform_and_a_sealed_one(invoke: Invoke) -> None:
    record(invoke("key", "create", "k"))
    record(invoke("session", "open", "k"))
    assert _hardening(load_settings(environ={})).well
    assert invoke("seal").exit_code == 0
    assert _hardening(load_settings(environ={})).well


def test_the_doctor_tells_of_a_platform_that_does_not_answer(tmp_path: Path) -> None:
    finding = _hardening(load_settings(flags={"data_dir": str(tmp_path)}, environ={}))
    assert (finding.check, finding.well) == ("hardening", False)
    assert str(tmp_path) in finding.found


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
    line = invoke("encrypt", "c", "--associated-data", "row 7", stdin="plain").stdout
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
    sealed = record(invoke("encrypt", "c", "--base64", stdin="plain"))
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
    line = invoke("encrypt", "c", *here, stdin="plain").stdout
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
    view = record(invoke("key", "import-version", "twin", str(blob), "--hex", "--wrapped"))
    assert view["version"] == 2
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


def test_what_two_agree_on_and_what_is_stretched_goes_where_it_was_asked_for(
    invoke: Invoke, tmp_path: Path
) -> None:
    for name, key_type in (("x", "x25519"), ("y", "x25519"), ("s", "secret")):
        invoke("key", "create", name, "--type", key_type)
    x, y = (invoke("key", "public", name, "--form", "raw").stdout.strip() for name in "xy")
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    told = record(invoke("agree", "x", y, "--out", str(mine)))
    assert told == {"written_to": str(mine), "version": 1, "key": "x", "algorithm": "x25519"}
    pem = tmp_path / "x.pem"
    pem.write_text(invoke("key", "public", "x").stdout)
    record(invoke("agree", "y", "--file", str(pem), "--out", str(theirs)))
    assert mine.read_bytes() == theirs.read_bytes()
    assert mine.stat().st_mode & 0o777 == 0o600
    assert record(invoke("agree", "y", "--out", "-", stdin=x))["secret_hex"] == mine.read_bytes().hex()
    how = ("--length", "48", "--info", "for this", "--salt", "00ff")
    stretched = record(invoke("stretch", "s", "--out", "-", *how))["secret_hex"]
    assert len(bytes.fromhex(stretched)) == 48
    assert record(invoke("stretch", "s", "--out", "-", *how))["secret_hex"] == stretched
    assert invoke("agree", "x", y).exit_code == 2, "it does not say where to"


def test_a_secret_is_written_to_new_files_alone_and_leaves_none_where_it_was_refused(
    invoke: Invoke, tmp_path: Path
) -> None:
    invoke("key", "create", "c", "--type", "aes256-gcm")
    line = invoke("encrypt", "c", stdin="plain").stdout
    there = tmp_path / "there"
    assert record(invoke("decrypt", "c", "--out", str(there), stdin=line))["written_to"] == str(there)
    assert there.read_bytes() == b"plain"
    again = invoke("decrypt", "c", "--out", str(there), stdin=line)
    assert (again.exit_code, there.read_bytes()) == (2, b"plain")
    other = tmp_path / "other"
    assert refusal(invoke("decrypt", "c", "00", "--out", str(other))) == "invalid-ciphertext"
    assert not other.exists()
    record(invoke("random", "9", "--out", str(other)))
    assert len(other.read_bytes()) == 9


def test_a_plaintext_on_the_command_line_is_not_taken(invoke: Invoke) -> None:
    invoke("key", "create", "c", "--type", "aes256-gcm")
    refused = invoke("encrypt", "c", "a plaintext")
    assert refused.exit_code == 2
    assert "a plaintext" not in refused.output


def test_a_ciphertext_is_encrypted_anew_by_the_newest_version(invoke: Invoke) -> None:
    invoke("key", "create", "c", "--type", "aes256-gcm")
    line = invoke("encrypt", "c", "--associated-data", "row", stdin="plain").stdout
    invoke("key", "rotate", "c")
    anew = invoke("rewrap", "c", "--associated-data", "row", stdin=line).stdout
    assert (json.loads(line)["version"], json.loads(anew)["version"]) == (1, 2)
    assert invoke("decrypt", "c", "--raw", "--associated-data", "row", stdin=anew).stdout == "plain"
    back = invoke("rewrap", "c", "--associated-data", "row", "--to-version", "1", stdin=anew)
    assert (
        refusal(back) == "invalid-input"
    )  # encryption by the newest alone, unless it is configured otherwise


def test_approvers_approve_by_their_own_tokens_perhaps_one_message_alone(
    anya: Invoke, invoke: Invoke, tmp_path: Path
) -> None:
    guard = ("guarded=sign,configure", "approvers=alice,bob", "approvals_needed=2")
    invoke("key", "create", "g", *(word for bound in guard for word in ("--policy", bound)))
    invoke("key", "create", "free")
    tokens: dict[str, tuple[str, str]] = {}
    for name in ("alice", "bob"):
        file = tmp_path / name
        file.write_text(anya("token", "create", "--subject", name, "--role", "approver").stdout)
        tokens[name] = ("--token-file", str(file))
    first, second = records(invoke("approvals"))
    assert (first["operation"], first["missing"], second["missing"]) == ("sign", 2, 2)
    record(invoke("key", "approve", "g", "sign", "--uses", "2", *tokens["alice"]))
    message = tmp_path / "message"
    message.write_text("pay 5")
    record(invoke("key", "approve", "g", "sign", "--message-file", str(message), *tokens["bob"]))
    first, _ = records(invoke("approvals"))
    digest = sha256(b"pay 5").hexdigest()
    assert (first["missing"], first["given_by"]) == (1, ["alice", f"bob for {digest}"])
    given = records(invoke("key", "approvals", "g", *tokens["bob"]))
    assert {(each["approver"], each["digest"]) for each in given} == {("alice", ""), ("bob", digest)}
    assert refusal(invoke("sign", "g", "pay 50")) == "approval-needed"
    assert len(record(invoke("sign", "g", "pay 5"))["signature_hex"]) == 128
    assert [each["uses"] for each in records(invoke("key", "approvals", "g"))] == [1]
    both = invoke("key", "approve", "g", "sign", "--digest", digest, "--message-file", str(message))
    assert both.exit_code == 2


def test_a_bip32_key_shows_its_extended_public_key(invoke: Invoke) -> None:
    invoke("key", "create", "w", "--type", "bip32")
    assert record(invoke("key", "xpub", "w"))["extended_public_key"].startswith("xpub")
    below = record(invoke("key", "xpub", "w", "m/84h/1h/0h", "--testnet"))
    assert (below["extended_public_key"][:4], below["path"]) == ("tpub", "m/84h/1h/0h")
    assert records(invoke("session", "list")) == []


def test_a_session_is_opened_extended_and_closed(invoke: Invoke) -> None:
    for name in ("a", "b"):
        invoke("key", "create", name)
    session = record(invoke("session", "open", "a"))["session_id"]
    assert record(invoke("session", "extend", session, "b"))["keys"] == ["a", "b"]
    assert [each["session_id"] for each in records(invoke("session", "list"))] == [session]
    assert invoke("session", "close", session).exit_code == 0
    assert records(invoke("session", "list")) == []


def test_a_refusal_names_the_field_and_says_what_to_do(invoke: Invoke) -> None:
    answer = invoke("key", "create", "k", "--policy", "nonsense=1")
    text = str(answer.exception)
    assert "policy.nonsense" in text
    assert text.endswith("GET /openapi.json describes them.")


@pytest.mark.parametrize("key_type", ["x25519", "p256", "p384", "p521", "secp256k1", "bip32"])
def test_keys_of_every_curve_agree_where_nobody_says_how(invoke: Invoke, key_type: str) -> None:
    for name in ("a", "b"):
        record(invoke("key", "create", name, "--type", key_type, "--allow", "derive"))
    secrets = {
        record(invoke("agree", mine, "--out", "-", stdin=invoke("key", "public", theirs).stdout))[
            "secret_hex"
        ]
        for mine, theirs in (("a", "b"), ("b", "a"))
    }
    assert len(secrets) == 1
