"""Whether time tells how much of a tag, code, token, secret or passphrase was right (as dudect asks).

Two classes of wrong inputs are tried in turn, in an order drawn anew: wrong in the first byte, and wrong
in the last. If a comparison stops at the first difference, the second class takes longer. Welch's t of
the two classes is computed over all measurements and over those below several percentiles (noise is on
the slow side); a |t| below 4.5 in every one shows no difference in so many samples.
``python -m benchmarks.hsm.bench_timing --samples 50000``.
"""

from __future__ import annotations

import argparse
import base64
import gc
import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
from anya_actors.adapters.sealing.argon2 import derive
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.clients import Client, ClientPhase, ClientSecret, kept_secret, verify_secret
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError
from anya_actors.serve.transit.words import parse_sealed, sealed
from anya_actors.services.tokens import TokenClaims, TokenVerifier, public_jwk, sign_token
from benchmarks.report import write

LIMIT = 4.5
PERCENTILES = (100, 95, 80, 50)
NOW_S = 1_800_000_000
Check = Callable[[bytes], object]


def altered(right: bytes, place: int) -> bytes:
    """The right bytes but for one."""
    found = bytearray(right)
    found[place] ^= 0x41
    return bytes(found)


def welch(early: Sequence[float], late: Sequence[float]) -> float:
    """Welch's t: how surely the two means differ."""
    spread = statistics.variance(early) / len(early) + statistics.variance(late) / len(late)
    return (statistics.fmean(early) - statistics.fmean(late)) / math.sqrt(spread) if spread else 0.0


def greatest_t(times: Sequence[list[float]]) -> float:
    """The t of greatest size over all measurements, and over those below each percentile of both."""
    everything = sorted(times[0] + times[1])
    found = []
    for percent in PERCENTILES:
        limit = everything[len(everything) * percent // 100 - 1]
        early, late = ([one for one in side if one <= limit] for side in times)
        found.append(welch(early, late))
    return max(found, key=abs)


def measure(check: Check, early: bytes, late: bytes, samples: int) -> list[list[float]]:
    """Nanoseconds of each refusal, by class; the classes come in an order drawn anew."""
    chance, inputs = random.Random(samples), (early, late)
    times: list[list[float]] = [[], []]
    gc.disable()
    try:
        for number in range(samples + samples // 10):
            side = chance.getrandbits(1)
            # A copy, so that neither class is the warmer one in the cache.
            given = bytes(bytearray(inputs[side]))
            began = time.perf_counter_ns()
            try:
                check(given)
            except AnyaError:
                took = time.perf_counter_ns() - began
            else:
                raise AssertionError("a wrong input was taken")
            if number >= samples // 10:  # what comes first warms up
                times[side].append(float(took))
    finally:
        gc.enable()
    return times


class ControlRefusalError(AnyaError):
    """What the control raises; it stops at the first difference, so the measurement must find it."""

    code = "control"
    message = "not equal"
    remedy = "None."


def control(right: bytes) -> Check:
    """A comparison as it must not be."""

    def check(given: bytes) -> None:
        for one, other in zip(given, right, strict=True):
            if one != other:
                raise ControlRefusalError

    return check


def symmetric(key_type: str) -> tuple[Check, bytes, bytes]:
    """The tag of an encryption, or a code."""
    algorithms = LibraryKeyAlgorithms(SystemRandomness())
    key: Any = algorithms.load_any(key_type, algorithms.generate(key_type))
    if key_type.startswith("hmac"):
        mac = key.mac(b"message", key_type)
        return lambda given: key.verify_mac(b"message", given, key_type), altered(mac, 0), altered(mac, -1)
    whole = key.encrypt(b"plaintext", key_type, b"", bytes(12))
    return lambda given: key.decrypt(given, key_type, b""), altered(whole, -16), altered(whole, -1)


def transit_hmac() -> tuple[Check, bytes, bytes]:
    """A code as a Transit client sends it."""
    check, early, late = symmetric("hmac-sha256")

    def parsed(given: bytes) -> object:
        return check(parse_sealed(given.decode(), "hmac")[1])

    return parsed, sealed(early, 1).encode(), sealed(late, 1).encode()


def passphrase() -> tuple[Check, bytes, bytes]:
    """Unsealing, at a cost that leaves the comparison visible: in production Argon2id takes a second."""
    cipher, cost, salt = AesGcmCipher(SystemRandomness()), KdfParameters(32, 1, 1), bytes(16)
    right = base64.urlsafe_b64encode(random.Random(1).randbytes(32)).rstrip(b"=")
    with derive(Secret(right), salt, cost) as key:
        seal = cipher.seal(key, bytes(32), b"seal")

    def check(given: bytes) -> object:
        with Secret(given) as text, derive(text, salt, cost) as found:
            return cipher.open(found, seal, b"seal")

    return check, altered(right, 0), altered(right, -1)


def token() -> tuple[Check, bytes, bytes]:
    """The signature of an access token."""
    seed = bytes(range(32))
    public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    verifier = TokenVerifier({"keys": [public_jwk(public_key)]}, audience="anya", issuer="anya-hsm")
    claims = TokenClaims("anya-hsm", "anya", "alice", "security", NOW_S, NOW_S + 60, "id", None, "alice")
    head, _, signature = sign_token(claims, seed, public_key).rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")

    def with_signature(changed: bytes) -> bytes:
        return f"{head}.{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}".encode()

    # Bytes of R alone: a changed s may be refused for its size, before anything is computed.
    early, late = with_signature(altered(raw, 0)), with_signature(altered(raw, 30))
    return lambda given: verifier.verify(given.decode(), NOW_S), early, late


def client_secret() -> tuple[Check, bytes, bytes]:
    """The secret of a client's credentials, as the door sends it on."""
    shown, salt = random.Random(2).randbytes(32), bytes(32)
    kept = ClientSecret("s", salt, kept_secret(salt, shown), 0)
    client = Client("c", ClientPhase.ENABLED, "alice", ("security",), secrets=(kept,))
    return lambda given: verify_secret(client, given, 0), altered(shown, 0), altered(shown, -1)


def main() -> int:
    """Measure, print, write; 1 if a time tells anything, or the control stays unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=50_000)
    samples = parser.parse_args().samples
    right = bytes(range(32))
    checks: dict[str, tuple[Check, bytes, bytes]] = {
        "control (stops early)": (control(right), altered(right, 0), altered(right, -1)),
        "HMAC-SHA-256 code": symmetric("hmac-sha256"),
        "AES-256-GCM tag": symmetric("aes256-gcm"),
        "ChaCha20-Poly1305 tag": symmetric("chacha20-poly1305"),
        "Transit hmac": transit_hmac(),
        "access token signature": token(),
        "client secret": client_secret(),
        "passphrase": passphrase(),
    }
    rows: dict[str, dict[str, float]] = {}
    print(f"{'':<28}{'t':>9}{'early ns':>11}{'late ns':>11}{'samples':>9}")
    for name, (check, early, late) in checks.items():
        times = measure(check, early, late, samples)
        medians = [statistics.median(side) for side in times]
        rows[name] = {"t": round(greatest_t(times), 2), "early_ns": medians[0], "late_ns": medians[1]}
        print(f"{name:<28}{rows[name]['t']:>9.2f}{medians[0]:>11.0f}{medians[1]:>11.0f}{samples:>9}")
    told = [name for name, row in rows.items() if (abs(row["t"]) >= LIMIT) != name.startswith("control")]
    write("hsm_timing", {"samples": samples, "limit": LIMIT, "checks": rows, "not_as_wanted": told})
    return 1 if told else 0


if __name__ == "__main__":
    sys.exit(main())
