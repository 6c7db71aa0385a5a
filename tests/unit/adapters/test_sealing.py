"""Argon2id, AES-256-GCM, sealed boxes, the passphrase's file, and the process guard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.adapters.sealing import argon2
from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
from anya_actors.adapters.sealing.passphrase_file import PassphraseFile
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.passphrase import PassphraseSourceError
from anya_actors.ports.sealing import UnopenableError

VECTORS = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[3] / ".." / "shared" / "vectors"))
CIPHER = AesGcmCipher(SystemRandomness())
KEY = Secret(bytes(range(32)))


def test_argon2id_gives_what_libsodium_gives() -> None:
    from nacl.pwhash import argon2id

    parameters = KdfParameters(memory_kib=64, iterations=2, lanes=1)
    expected = argon2id.kdf(32, b"passphrase", b"s" * 16, opslimit=2, memlimit=64 * 1024)
    assert argon2.derive(Secret(b"passphrase"), b"s" * 16, parameters).reveal() == expected


@given(st.binary(max_size=200), st.binary(max_size=40))
def test_what_was_sealed_opens_with_its_key_and_context_alone(plaintext: bytes, context: bytes) -> None:
    sealed = CIPHER.seal(KEY, plaintext, context)
    assert CIPHER.open(KEY, sealed, context).reveal() == plaintext
    with pytest.raises(UnopenableError):
        CIPHER.open(Secret(bytes(32)), sealed, context)
    with pytest.raises(UnopenableError):
        CIPHER.open(KEY, sealed, context + b"x")


@given(st.binary(max_size=80))
def test_bytes_that_were_never_sealed_do_not_open(data: bytes) -> None:
    with pytest.raises(UnopenableError):
        CIPHER.open(KEY, data, b"")


def test_every_altered_bit_is_found() -> None:
    sealed = CIPHER.seal(KEY, b"secret", b"context")
    for index in range(len(sealed) * 8):
        altered = bytearray(sealed)
        altered[index // 8] ^= 1 << index % 8
        with pytest.raises(UnopenableError):
            CIPHER.open(KEY, bytes(altered), b"context")


def test_wycheproof_aes_256_gcm_is_handled_as_its_results_say() -> None:
    path = VECTORS / "wycheproof" / "aes_gcm_test.json"
    if not path.exists():
        pytest.skip("no vectors wycheproof/aes_gcm_test.json; set ANYA_VECTORS")
    handled = 0
    for group in json.loads(path.read_text())["testGroups"]:
        if (group["keySize"], group["ivSize"], group["tagSize"]) != (256, 96, 128):
            continue
        for case in group["tests"]:
            part = {name: bytes.fromhex(case[name]) for name in ("key", "iv", "aad", "msg", "ct", "tag")}
            sealed = part["iv"] + part["ct"] + part["tag"]
            if case["result"] == "valid":
                assert CIPHER.open(Secret(part["key"]), sealed, part["aad"]).reveal() == part["msg"]
            else:
                with pytest.raises(UnopenableError):
                    CIPHER.open(Secret(part["key"]), sealed, part["aad"])
            handled += 1
    assert handled > 20


def test_a_box_opens_for_its_recipient_alone_and_not_after_wiping() -> None:
    boxes = NaclSealedBoxes()
    recipient, other = boxes.recipient(), boxes.recipient()
    box = boxes.seal(Secret(b"keys"), recipient.public_key)
    assert recipient.open(box).reveal() == b"keys"
    for wrong in (box[:-1], b"", box[:-1] + bytes([box[-1] ^ 1])):
        with pytest.raises(UnopenableError):
            recipient.open(wrong)
    with pytest.raises(UnopenableError):
        other.open(box)
    recipient.wipe()
    with pytest.raises(UnopenableError):
        recipient.open(box)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "passphrase"
    file.write_bytes(b"correct horse\n")
    file.chmod(0o600)
    return file


async def test_the_passphrase_is_the_file_without_its_last_newline(path: Path) -> None:
    assert (await PassphraseFile(path).read()).reveal() == b"correct horse"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
async def test_a_file_that_others_may_touch_is_refused(path: Path, mode: int) -> None:
    os.chmod(path, mode)
    with pytest.raises(PassphraseSourceError, match="0600") as refusal:
        await PassphraseFile(path).read()
    assert "correct horse" not in str(refusal.value)


async def test_what_is_no_plain_small_file_is_refused(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, data in (("empty", b""), ("newline", b"\n"), ("long", b"x" * 4097)):
        (tmp_path / name).write_bytes(data)
        (tmp_path / name).chmod(0o600)
    for name in ("link", "pipe", "missing", "empty", "newline", "long", "."):
        with pytest.raises(PassphraseSourceError):
            await PassphraseFile(tmp_path / name).read()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux only")
def test_a_hardened_process_dumps_no_core_and_cannot_be_read() -> None:
    # In a process of its own: it cannot be undone.
    code = """
import ctypes, resource
from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
guard = LinuxProcessGuard()
print(guard.harden(), resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
buffer = bytearray(b"secret" * 10)
print(guard.lock(buffer) in (True, False), guard.lock(bytearray()))
buffer.extend(b"and no export keeps it from growing")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["() 0 0", "True False"]


async def test_the_next_passphrase_waits_beside_the_file_and_takes_its_place(tmp_path: Path) -> None:
    path, following = tmp_path / "passphrase", tmp_path / "passphrase.new"
    for file, text in ((path, b"now\n"), (following, b"then\n")):
        file.touch(mode=0o600)
        file.write_bytes(text)
    source = PassphraseFile(path)
    with await source.read_next() as passphrase:
        assert passphrase.reveal() == b"then"
    await source.adopt_next()
    with await source.read() as passphrase:
        assert passphrase.reveal() == b"then"
    for attempt in (source.read_next, source.adopt_next):
        with pytest.raises(PassphraseSourceError, match=r"passphrase\.new"):
            await attempt()
