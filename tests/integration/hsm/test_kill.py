"""The HSM on a real disk: killed in mid-work, its log torn and tampered with, its passphrase dear."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.domain.hsm.errors import AuditBrokenError, WrongPassphraseError
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.append_log import DamagedLogError
from anya_actors.services.hsm import HsmSettings
from anya_actors.testing.local_hsm import LocalHsm

KILLS = 6
SEED = 20261123


async def bench_at(folder: Path, settings: HsmSettings | None = None) -> LocalHsm:
    log = await FileAppendLog.open(SystemDisk(folder), "audit.log")
    return LocalHsm(stores=RocksdbStateStores(folder / "state"), log=log, settings=settings)


async def opened(folder: Path) -> None:
    bench = await bench_at(folder)
    try:
        await bench.start()
    finally:
        await bench.close()


def killed_life(folder: Path, life: int, answers: int) -> list[list[str]]:
    """Start the worker, kill it after so many answers; everything that it had answered."""
    worker = Path(__file__).with_name("worker.py")
    with subprocess.Popen(
        [sys.executable, str(worker), str(folder), str(life)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(answers)]
        process.send_signal(signal.SIGKILL)
        lines += process.stdout.readlines()
    return [line.split() for line in lines if line.endswith("\n")]


def files_without(folder: Path, secrets: tuple[bytes, ...]) -> list[Path]:
    """Every file below; none of them holds any of the secrets, in bytes or in hex."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for file in files:
        data = file.read_bytes()
        for secret in secrets:
            assert secret not in data, file
            assert secret.hex().encode() not in data, file
    return files


@pytest.mark.slow
async def test_no_key_and_no_answered_operation_is_lost_to_sigkill(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    answered: list[list[str]] = []
    for life in range(KILLS):
        answered += killed_life(tmp_path, life, chance.randrange(1, 40))
    bench = await bench_at(tmp_path)
    hsm = await bench.start()
    report = await hsm.verify_audit()
    entries, after = [], 0
    while page := await hsm.audit(after, 1000):
        entries += page
        after = page[-1].sequence
    assert report.entries == len(entries) > KILLS
    signed = {name: sum(e.operation == "sign" and e.key == name for e in entries) for _, name, _ in answered}
    made = [entry.key for entry in entries if entry.operation == "create-key"]
    keys = {key.name: key.public_key for key in await hsm.keys("alice")}
    for kind, name, fact in answered:
        if kind == "key":
            assert (keys[name], made.count(name)) == (fact, 1)
        else:
            assert signed[name] == int(fact)
    # Every key that is there was audited exactly once, also those whose answer was lost.
    assert sorted(keys) == sorted(name for name in made if name.startswith("key-"))
    await bench.close()


async def test_a_torn_end_is_cut_and_anything_else_is_found(tmp_path: Path) -> None:
    bench = await bench_at(tmp_path)
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    entries = (await hsm.verify_audit()).entries
    await bench.close()
    file = tmp_path / "audit.log"
    whole = file.read_bytes()

    file.write_bytes(whole + whole[-20:-3])
    bench = await bench_at(tmp_path)
    hsm = await bench.start()
    assert (await hsm.verify_audit()).entries == entries + 1
    await bench.close()

    whole = file.read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 5):
        file.write_bytes(whole[:size])
        bench = await bench_at(tmp_path)
        with pytest.raises(AuditBrokenError, match="missing"):
            await bench.start()
        await bench.close()

    for place in range(60, len(whole), 97):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises((AuditBrokenError, DamagedLogError)):
            await opened(tmp_path)

    file.write_bytes(whole)
    bench = await bench_at(tmp_path)
    assert (await (await bench.start()).key("k")).owner == "alice"
    await bench.close()


async def test_no_file_holds_a_secret(tmp_path: Path) -> None:
    bench = await bench_at(tmp_path)
    drawn: list[bytes] = []
    generate = bench.algorithms.generate

    def remembering(key_type: str) -> Secret:
        secret = generate(key_type)
        drawn.append(secret.reveal())
        return secret

    bench.algorithms.generate = remembering  # type: ignore[method-assign]  # to know what must not be found
    hsm = await bench.start()
    for number in range(10):
        await hsm.create_key(f"k{number}", "secp256k1", "alice", message_id=f"m{number}")
    await bench.signer("alice").sign_ecdsa("k3", bytes(32))
    await bench.close()
    assert len(drawn) == 12
    assert len(files_without(tmp_path, (*drawn, bench.source.passphrase))) > 2


@pytest.mark.slow
async def test_at_its_full_cost_a_guess_takes_its_time(tmp_path: Path) -> None:
    settings = HsmSettings(kdf=KdfParameters())
    bench = await bench_at(tmp_path, settings)
    await bench.start()
    await bench.close()
    bench = await bench_at(tmp_path, settings)
    bench.source.passphrase = b"another"
    started_s = time.monotonic()
    with pytest.raises(WrongPassphraseError):
        await bench.start()
    assert 0.2 < time.monotonic() - started_s < 60
    await bench.close()
