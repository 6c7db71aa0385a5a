"""Operations per second: a session's batches, the libraries called directly, and SoftHSM2.

In one process and in turn, over an HSM with a real disk (RocksDB, synced audit log): every batch of 512
operations is permitted, done, audited and answered as a session does it, without Ray between. SoftHSM2
is asked one operation at a time through python-pkcs11, which has no batches.
``python -m benchmarks.hsm.bench_operations --rounds 10``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.keys.operations import EncryptRequest, MacRequest, Request, SignRequest
from anya_actors.testing.local_hsm import LocalHsm
from benchmarks.report import show, spread, write

BATCH = 512
KILOBYTE = bytes(1024)
DIGEST = bytes(range(32))
ALL = ("decrypt", "derive", "encrypt", "sign", "verify")
REQUESTS: dict[str, Request] = {
    "ed25519": SignRequest("ed25519", DIGEST, "ed25519"),
    "secp256k1": SignRequest("secp256k1", DIGEST, "ecdsa-secp256k1"),
    "rsa-2048": SignRequest("rsa-2048", DIGEST, "rsa-pkcs1-sha256"),
    "aes256-gcm": EncryptRequest("aes256-gcm", KILOBYTE, "aes256-gcm"),
    "hmac-sha256": MacRequest("hmac-sha256", KILOBYTE, "hmac-sha256"),
}
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


def per_second(work: Callable[[], Any], count: int) -> float:
    """How often in a second ``work`` is done."""
    began = time.perf_counter()
    for _ in range(count):
        work()
    return count / (time.perf_counter() - began)


def direct(key_type: str) -> Callable[[], Any]:
    """One call of the library."""
    algorithms = LibraryKeyAlgorithms(SystemRandomness())
    key: Any = algorithms.load_any(key_type, algorithms.generate(key_type))
    request: Any = REQUESTS[key_type]
    if key_type == "aes256-gcm":
        return lambda: key.encrypt(KILOBYTE, "aes256-gcm", b"", os.urandom(12))
    if key_type == "hmac-sha256":
        return lambda: key.mac(KILOBYTE, "hmac-sha256")
    return lambda: key.sign(DIGEST, request.algorithm)


def softhsm(folder: Path) -> dict[str, Callable[[], Any]]:
    """One call of SoftHSM2 for each type; empty where it is absent."""
    if not MODULE.exists():
        return {}
    import pkcs11
    from pkcs11 import Attribute, GCMParams, KeyType, Mechanism
    from pkcs11.util.ec import encode_named_curve_parameters

    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    pins = ["--pin", "1234", "--so-pin", "123456"]
    command = ["softhsm2-util", "--init-token", "--free", "--label", "bench", *pins]
    subprocess.run(command, check=True, capture_output=True)
    session: Any = pkcs11.lib(str(MODULE)).get_token(token_label="bench").open(user_pin="1234", rw=True)

    def curve(kind: KeyType, name: str) -> Any:
        facts = {Attribute.EC_PARAMS: encode_named_curve_parameters(name)}
        return session.create_domain_parameters(kind, facts, local=True).generate_keypair()[1]

    edwards, coin = curve(KeyType.EC_EDWARDS, "1.3.101.112"), curve(KeyType.EC, "secp256k1")
    rsa = session.generate_keypair(KeyType.RSA, 2048)[1]
    aes = session.generate_key(KeyType.AES, 256)
    uses = pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY
    mac = session.generate_key(KeyType.GENERIC_SECRET, 256, capabilities=uses)

    def encrypt() -> Any:
        parameters = GCMParams(os.urandom(12), b"", 128)
        return aes.encrypt(KILOBYTE, mechanism=Mechanism.AES_GCM, mechanism_param=parameters)

    return {
        "ed25519": lambda: edwards.sign(DIGEST, mechanism=Mechanism.EDDSA),
        "secp256k1": lambda: coin.sign(DIGEST, mechanism=Mechanism.ECDSA),
        "rsa-2048": lambda: rsa.sign(DIGEST, mechanism=Mechanism.SHA256_RSA_PKCS),
        "aes256-gcm": encrypt,
        "hmac-sha256": lambda: mac.sign(KILOBYTE, mechanism=Mechanism.SHA256_HMAC),
    }


async def measure(rounds: int, folder: Path) -> dict[str, dict[str, list[float]]]:
    """Interleaved rounds."""
    log = await FileAppendLog.open(SystemDisk(folder), "audit.log")
    bench = LocalHsm(stores=RocksdbStateStores(folder / "state"), log=log, clock=SystemClock())
    hsm = await bench.start()
    for key_type in REQUESTS:
        await hsm.create_key(key_type, key_type, "bench", ALL, message_id=key_type)
    session = await hsm.open_session("bench", tuple(REQUESTS), message_id="open")
    tokens = softhsm(folder)
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for key_type, request in REQUESTS.items():
            rows = found.setdefault(key_type, {})
            count = 100 if key_type == "rsa-2048" else 1000
            rows.setdefault("library, direct", []).append(per_second(direct(key_type), count))
            if key_type in tokens:
                rows.setdefault("SoftHSM2", []).append(per_second(tokens[key_type], count))
            began = time.perf_counter()
            await bench.actors.call(session.actor, "perform", (request,) * BATCH)
            rows.setdefault("session, batch", []).append(BATCH / (time.perf_counter() - began))
    await bench.close()
    return found


def main(arguments: list[str]) -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args(arguments).rounds
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(rounds, Path(folder)))
    result = {
        key_type: {name: spread(values) for name, values in rows.items()} for key_type, rows in found.items()
    }
    for key_type, rows in result.items():
        show(f"{key_type}, operations per second", "1/s", rows)
    write("hsm_operations", result)


if __name__ == "__main__":
    main(sys.argv[1:])
