"""The form of ECDSA signatures in scripts: strict DER (BIP66) and one known type byte."""

from __future__ import annotations


def is_strict_signature(signature: bytes) -> bool:
    """Whether it is strict DER with a type byte that Core calls defined (STRICTENC)."""
    return is_strict_der(signature[:-1]) and 1 <= signature[-1] & ~0x80 <= 3


def is_strict_der(data: bytes) -> bool:
    """Whether it is DER of two positive integers, each in its shortest form (BIP66)."""
    if not 8 <= len(data) <= 72 or data[0] != 0x30 or data[1] != len(data) - 2:
        return False
    r_size = data[3]
    if r_size + 7 > len(data):
        return False
    s_size = data[5 + r_size]
    if r_size + s_size + 6 != len(data):
        return False
    return _is_integer(data[2 : 4 + r_size]) and _is_integer(data[4 + r_size :])


def _is_integer(data: bytes) -> bool:
    tag, size, value = data[0], data[1], data[2:]
    if tag != 2 or size == 0 or value[0] & 0x80:
        return False
    return not (size > 1 and value[0] == 0 and not value[1] & 0x80)
