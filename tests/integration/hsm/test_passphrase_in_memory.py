"""What is left of a passphrase in the memory of a process that has unsealed with it: nothing."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.memory_scan import Needles, chunks_of

# OpenSSL's Argon2id left it in a freed block of the thread that had derived.
UNSEALING = """
import asyncio, sys
from pathlib import Path
from anya_actors.adapters.sealing.argon2 import Argon2Kdf
from anya_actors.adapters.sealing.passphrase_file import PassphraseFile
from anya_actors.domain.hsm.root import KdfParameters

async def unseal(path):
    with await PassphraseFile(path).read() as passphrase:
        return await Argon2Kdf().derive(passphrase, bytes(16), KdfParameters(1024, 1, 1))

key = asyncio.run(unseal(Path(sys.argv[1])))
held = key.buffer
print(key.reveal().hex(), flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_process_that_has_derived_from_a_passphrase_holds_it_no_longer(tmp_path: Path) -> None:
    passphrase, file = secrets.token_urlsafe(32).encode(), tmp_path / "passphrase"
    file.touch(mode=0o600)
    file.write_bytes(passphrase + b"\n")
    command = [sys.executable, "-c", UNSEALING, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        key = bytes.fromhex(process.stdout.readline())
        needles = Needles(passphrase[:9], {"passphrase": passphrase, "key": key})
        try:
            found = {name for chunk in chunks_of(process.pid) for name in needles.found_in(chunk)}
        except PermissionError:
            pytest.skip("the memory of a child may not be read here")
        finally:
            process.communicate("\n")
    assert found == {"key"}
