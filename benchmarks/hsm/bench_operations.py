"""Operations per second: the Python client's batches, the library called directly, and SoftHSM2.

The client's batches go over Ray to a session of a whole platform, which is permitted, does, audits and
answers them as for any other program. SoftHSM2 is asked one operation at a time through python-pkcs11,
which has no batches. All of it in turn, round by round, and on the same core (``--cores 1``; 0 lets the
kernel choose). ``python -m benchmarks.hsm.bench_operations --rounds 10``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anya_actors.platform
from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.cli.demo.hosted import HostedPlatform
from anya_actors.services.key_session import KeySession
from benchmarks.hsm.cores import pin
from benchmarks.report import spread, write

COUNT = 4096
COUNT_OF = {"rsa-2048": 512}
KILOBYTE = bytes(1024)
DIGEST = bytes(range(32))
ALGORITHMS = {
    "ed25519": "ed25519",
    "secp256k1": "ecdsa-secp256k1",
    "rsa-2048": "rsa-pkcs1-sha256",
    "aes256-gcm": "aes256-gcm",
    "hmac-sha256": "hmac-sha256",
}
LIBRARY, SOFTHSM, CLIENT = "library, direct", "SoftHSM2", "Python client, batch"
Rates = dict[str, dict[str, list[float]]]
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
    algorithm = ALGORITHMS[key_type]
    if key_type == "aes256-gcm":
        return lambda: key.encrypt(KILOBYTE, "aes256-gcm", b"", os.urandom(12))
    if key_type == "hmac-sha256":
        return lambda: key.mac(KILOBYTE, "hmac-sha256")
    return lambda: key.sign(DIGEST, algorithm)


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


def batch(session: KeySession, key_type: str) -> Awaitable[Any]:
    """One batch through the client."""
    count = COUNT_OF.get(key_type, COUNT)
    if key_type == "aes256-gcm":
        return session.encrypt_batch(key_type, [KILOBYTE] * count, key_type)
    if key_type == "hmac-sha256":
        return session.mac_batch(key_type, [KILOBYTE] * count, key_type)
    return session.sign_batch(key_type, [DIGEST] * count, ALGORITHMS[key_type])


async def measure(platform: HostedPlatform, rounds: int, cores: int, folder: Path) -> Rates:
    """Interleaved rounds."""
    tokens = softhsm(folder)
    found: Rates = {}
    async with anya_actors.platform.connect(platform.data_dir) as client:
        for key_type in ALGORITHMS:
            await client.hsm.create_key(key_type, key_type)
        async with client.hsm.session(*ALGORITHMS) as session:
            for number in range(-1, rounds):
                pin(platform, cores)
                for key_type in ALGORITHMS:
                    rates = await one_round(session, key_type, tokens)
                    for name, rate in rates.items() if number >= 0 else ():  # the first warms up
                        found.setdefault(key_type, {}).setdefault(name, []).append(rate)
    return found


async def one_round(
    session: KeySession, key_type: str, tokens: dict[str, Callable[[], Any]]
) -> dict[str, float]:
    """Each way once, one after the other."""
    count = COUNT_OF.get(key_type, COUNT)
    rates = {LIBRARY: per_second(direct(key_type), count // 4)}
    if key_type in tokens:
        rates[SOFTHSM] = per_second(tokens[key_type], count // 4)
    began = time.perf_counter()
    await batch(session, key_type)
    rates[CLIENT] = count / (time.perf_counter() - began)
    return rates


def main() -> int:
    """Measure, show and write; 1 if SoftHSM2 is ahead anywhere."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--cores", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, HostedPlatform(lambda _: None) as platform:
        found = asyncio.run(measure(platform, given.rounds, given.cores, Path(folder)))
    result = {
        key_type: {name: spread(values) for name, values in rows.items()} for key_type, rows in found.items()
    }
    times = {
        key_type: rows[CLIENT]["median"] / rows[SOFTHSM]["median"]
        for key_type, rows in result.items()
        if SOFTHSM in rows
    }
    names = (LIBRARY, SOFTHSM, CLIENT)
    print(f"{'operations per second, median':<32}" + "".join(f"{name:>22}" for name in names))
    for key_type, rows in result.items():
        figures = "".join(f"{rows[name]['median'] if name in rows else 0:>22.0f}" for name in names)
        print(f"{key_type:<32}{figures}   {times.get(key_type, 0):.2f} times SoftHSM2")
    write("hsm_operations", {"cores": given.cores, "times_softhsm2": times, "operations": result})
    return int(any(factor <= 1 for factor in times.values()))


if __name__ == "__main__":
    sys.exit(main())
