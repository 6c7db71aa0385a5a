"""Proofs that a name does not exist: without one a wildcard's answer proves nothing (RFC 4034, RFC 5155)."""

from __future__ import annotations

import base64
import hashlib
from typing import Final

from dns.name import Name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

MAX_ITERATIONS: Final = 150
"""Records that ask for more hashing are not believed (RFC 9276, section 3.2)."""

_SHA1: Final = 1
_OPT_OUT: Final = 1


def nsec_denies(owner: Name, record: NSEC, name: Name) -> bool:
    """Whether a verified NSEC record shows that ``name`` does not exist, nor anything below it."""
    if name.is_subdomain(owner) and _delegates(record):
        # It speaks for the zone above the cut only (RFC 6840, section 4.1).
        return False
    after = record.next
    if after.is_subdomain(name):
        return False  # ``name`` exists, though empty: something is below it
    if owner < after:
        return bool(owner < name < after)
    return bool(owner < name)  # the last of the zone


def _delegates(record: NSEC) -> bool:
    types = _types(record)
    return (RdataType.NS in types and RdataType.SOA not in types) or RdataType.DNAME in types


def _types(record: NSEC) -> set[int]:
    return {
        256 * window + 8 * place + bit
        for window, bitmap in record.windows
        for place, byte in enumerate(bitmap)
        for bit in range(8)
        if byte & (0x80 >> bit)
    }


def nsec3_denies(owner: Name, record: NSEC3, name: Name, zone: Name) -> bool:
    """Whether a verified NSEC3 record of a zone shows that ``name`` does not exist.

    One with the opt-out flag does not: it may pass over unsigned delegations, so what it covers is
    not authentic (RFC 5155, section 9.2).
    """
    if len(owner) != len(zone) + 1 or not owner.is_subdomain(zone):
        return False
    if record.algorithm != _SHA1 or record.flags != 0 or record.iterations > MAX_ITERATIONS:
        return False
    try:
        start = base64.b32hexdecode(owner.labels[0].upper())
    except ValueError:
        return False
    end, hashed = bytes(record.next), hash_name(name, record.salt, record.iterations)
    if len(start) != len(hashed) or len(end) != len(hashed):
        return False
    if start < end:
        return start < hashed < end
    return hashed > start or hashed < end


def hash_name(name: Name, salt: bytes, iterations: int) -> bytes:
    """The hash that NSEC3 records know a name by (RFC 5155, section 5)."""
    digest = hashlib.sha1((name.canonicalize().to_wire() or b"") + salt, usedforsecurity=False).digest()
    for _ in range(iterations):
        digest = hashlib.sha1(digest + salt, usedforsecurity=False).digest()
    return digest
