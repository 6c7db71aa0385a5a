"""Requests of Transit clients: any JSON is understood, or refused as the client's mistake."""

from __future__ import annotations

import contextlib

import atheris
import msgspec

with atheris.instrument_imports(include=["anya_actors.serve.transit", "anya_actors.domain.keys"]):
    from anya_actors.domain.keys.algorithms import SIGNATURE_ALGORITHMS, check_algorithm
    from anya_actors.domain.machine import InvalidInputError, NotSupportedError
    from anya_actors.serve.transit import words

from fuzz.engine import run


def one_input(data: bytes) -> None:
    try:
        fields = msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return
    if not isinstance(fields, dict):
        return
    refused = contextlib.suppress(InvalidInputError, NotSupportedError)
    for key_type in SIGNATURE_ALGORITHMS:
        with refused:
            check_algorithm(key_type, words.signing_algorithm(key_type, fields))
    with refused:
        version, sealed = words.parse_sealed(fields.get("ciphertext"), "ciphertext")
        assert words.parse_sealed(words.sealed(sealed, version), "ciphertext") == (version, sealed)
    with refused:
        assert words.seconds(fields, "auto_rotate_period", 0) >= 0
    with refused:
        words.key_type_of(fields)


if __name__ == "__main__":
    seeds = (
        {"ciphertext": "vault:v1:AAAA", "auto_rotate_period": "1h30m", "type": "hmac", "key_size": 32},
        {"hash_algorithm": "sha3-256", "prehashed": True, "salt_length": "20"},
        {"signature_algorithm": "pkcs1v15", "hash_algorithm": "none", "prehashed": "true"},
        {"marshaling_algorithm": "jws", "algorithm": "sha2-384"},
    )
    run(one_input, [msgspec.json.encode(seed) for seed in seeds])
