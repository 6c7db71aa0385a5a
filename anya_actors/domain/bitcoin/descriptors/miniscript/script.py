"""Miniscript to Script (BIP379's translation table)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from anya_actors.domain.bitcoin.descriptors.miniscript.node import Node
from anya_actors.domain.bitcoin.descriptors.miniscript.types import has
from anya_actors.domain.bitcoin.script import hash160, push, push_number

IF, NOTIF, ELSE, ENDIF, VERIFY = b"\x63", b"\x64", b"\x67", b"\x68", b"\x69"
TOALTSTACK, FROMALTSTACK, IFDUP, DUP, SWAP, SIZE = b"\x6b", b"\x6c", b"\x73", b"\x76", b"\x7c", b"\x82"
EQUAL, EQUALVERIFY, NOT_EQUAL_ZERO, ADD, BOOLAND, BOOLOR = (
    b"\x87",
    b"\x88",
    b"\x92",
    b"\x93",
    b"\x9a",
    b"\x9b",
)
NUMEQUAL, HASH160, CHECKSIG, CHECKMULTISIG = b"\x9c", b"\xa9", b"\xac", b"\xae"
CHECKLOCKTIMEVERIFY, CHECKSEQUENCEVERIFY, CHECKSIGADD = b"\xb1", b"\xb2", b"\xba"
HASH_OPCODES: Final = {"ripemd160": b"\xa6", "sha256": b"\xa8", "hash160": b"\xa9", "hash256": b"\xaa"}
# The last opcode of an expression that can verify by itself, and its VERIFY form.
VERIFY_FORMS: Final = {0x87: b"\x88", 0x9C: b"\x9d", 0xAC: b"\xad", 0xAE: b"\xaf"}

_WRAPPED: Final = {
    "a": (TOALTSTACK, FROMALTSTACK),
    "s": (SWAP, b""),
    "c": (b"", CHECKSIG),
    "d": (DUP + IF, ENDIF),
    "j": (SIZE + NOT_EQUAL_ZERO + IF, ENDIF),
    "n": (b"", NOT_EQUAL_ZERO),
}
_JOINED: Final = {
    "and_v": (b"", b"", b""),
    "and_b": (b"", b"", BOOLAND),
    "or_b": (b"", b"", BOOLOR),
    "or_c": (b"", NOTIF, ENDIF),
    "or_d": (b"", IFDUP + NOTIF, ENDIF),
    "or_i": (IF, ELSE, ENDIF),
}


def script_of(node: Node, key_bytes: Callable[[Any], bytes]) -> bytes:
    """The script, where ``key_bytes`` gives keys as the script holds them (33 bytes, in tapscript 32)."""

    def combine(node: Node, subs: list[bytes]) -> bytes:
        fragment = node.fragment
        if fragment in _WRAPPED:
            before, behind = _WRAPPED[fragment]
            return before + subs[0] + behind
        if fragment == "v":
            if has(node.subs[0].kind, "x"):
                return subs[0] + VERIFY
            return subs[0][:-1] + VERIFY_FORMS[subs[0][-1]]
        if fragment in _JOINED:
            before, between, behind = _JOINED[fragment]
            return before + subs[0] + between + subs[1] + behind
        if fragment == "andor":
            return subs[0] + NOTIF + subs[2] + ELSE + subs[1] + ENDIF
        if fragment == "thresh":
            rest = b"".join(sub + ADD for sub in subs[1:])
            return subs[0] + rest + push_number(node.k) + EQUAL
        return _leaf(node, [key_bytes(key) for key in node.keys])

    return node.fold(combine)


def _leaf(node: Node, keys: list[bytes]) -> bytes:
    fragment = node.fragment
    if fragment == "pk_k":
        return push(keys[0])
    if fragment == "pk_h":
        # A key that was read from a script is only known by its hash.
        name = keys[0] if len(keys[0]) == 20 else hash160(keys[0])
        return DUP + HASH160 + push(name) + EQUALVERIFY
    if fragment == "older":
        return push_number(node.k) + CHECKSEQUENCEVERIFY
    if fragment == "after":
        return push_number(node.k) + CHECKLOCKTIMEVERIFY
    if fragment == "multi":
        return multisig_script(node.k, keys)
    if fragment == "multi_a":
        return multi_a_script(node.k, keys)
    if fragment in ("0", "1"):
        return push_number(int(fragment))
    return SIZE + b"\x01\x20" + EQUALVERIFY + HASH_OPCODES[fragment] + push(node.data) + EQUAL


def multisig_script(threshold: int, keys: list[bytes]) -> bytes:
    """``k <keys> n CHECKMULTISIG``."""
    return (
        push_number(threshold) + b"".join(push(key) for key in keys) + push_number(len(keys)) + CHECKMULTISIG
    )


def multi_a_script(threshold: int, keys: list[bytes]) -> bytes:
    """``<key> CHECKSIG <key> CHECKSIGADD … k NUMEQUAL`` (BIP387)."""
    rest = b"".join(push(key) + CHECKSIGADD for key in keys[1:])
    return push(keys[0]) + CHECKSIG + rest + push_number(threshold) + NUMEQUAL
