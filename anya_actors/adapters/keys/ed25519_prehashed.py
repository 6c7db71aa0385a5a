"""Ed25519ph (RFC 8032, section 5.1) with no context, over libsodium's arithmetic of the group.

libsodium and OpenSSL hash the message themselves, and so sign no digest that somebody else has computed.
The letters are those of the RFC.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from nacl._sodium import ffi, lib  # type: ignore[import-not-found] # a compiled module

from anya_actors.domain.keys.algorithms import InvalidSignatureError, check_message
from anya_actors.domain.keys.secret import Secret

ALGORITHM: Final = "ed25519ph"
_L: Final = 2**252 + 27742317777372353535851937790883648493
# dom2(1, ""): prehashed, and a context of no bytes.
_DOM2: Final = b"SigEd25519 no Ed25519 collisions" + bytes((1, 0))


def sign(seed: Secret, public_key: bytes, digest: bytes) -> bytes:
    """R and S, 64 bytes, over a message's SHA-512; deterministic."""
    check_message(ALGORITHM, digest)
    with seed.revealed() as raw, Secret.taken(hashlib.sha512(raw).digest()) as expanded:
        s, prefix = Secret(expanded.buffer[:32]), Secret(expanded.buffer[32:])
    s.buffer[0] &= 248
    s.buffer[31] = s.buffer[31] & 127 | 64
    R = bytearray(32)
    with s, prefix, _reduced(prefix.buffer, digest) as r:
        if lib.crypto_scalarmult_ed25519_base_noclamp(_at(R), _at(r.buffer)):
            raise ArithmeticError("a nonce of Ed25519ph was 0")
        with _reduced(R, public_key, digest) as k, Secret(bytearray(32)) as S:
            lib.crypto_core_ed25519_scalar_mul(_at(S.buffer), _at(k.buffer), _at(s.buffer))
            lib.crypto_core_ed25519_scalar_add(_at(S.buffer), _at(r.buffer), _at(S.buffer))
            return bytes(R + S.buffer)


def verify(public_key: bytes, digest: bytes, signature: bytes) -> None:
    """Return if [S]B = R + [k]A; raise `InvalidSignatureError`.

    As libsodium does, it takes no public key of small order or outside of the group, and no S beyond L.
    """
    check_message(ALGORITHM, digest)
    R, S, A = signature[:32], bytearray(signature[32:]), bytearray(public_key)
    if len(signature) != 64 or int.from_bytes(S, "little") >= _L:
        raise InvalidSignatureError(ALGORITHM)
    SB, kA, found = bytearray(32), bytearray(32), bytearray(32)
    with _reduced(R, public_key, digest) as k:
        # The second refuses a public key that is no point of the group.
        refused = (
            lib.crypto_scalarmult_ed25519_base_noclamp(_at(SB), _at(S))
            or lib.crypto_scalarmult_ed25519_noclamp(_at(kA), _at(k.buffer), _at(A))
            or lib.crypto_core_ed25519_sub(_at(found), _at(SB), _at(kA))
        )
    if refused or found != R:
        raise InvalidSignatureError(ALGORITHM)


def _reduced(*parts: bytes | bytearray) -> Secret:
    """SHA-512 of dom2 and the parts, as a number below L."""
    hashed = hashlib.sha512(_DOM2)
    for part in parts:
        hashed.update(part)
    with Secret.taken(hashed.digest()) as wide:
        number = Secret(bytearray(32))
        lib.crypto_core_ed25519_scalar_reduce(_at(number.buffer), _at(wide.buffer))
    return number


def _at(buffer: bytearray) -> Any:
    return ffi.from_buffer("unsigned char[]", buffer)
