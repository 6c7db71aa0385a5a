"""Output scripts: which kind they are, as Core names them, and how people read them."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Final

from btclib.hashes import hash160 as _hash160
from btclib.script.script import OP_CODE_NAME_FROM_INT as _OP_CODE_NAMES

OP_RETURN: Final = 0x6A
_MAX_OPCODE, _MAX_PUSH = 0xB9, 520
_OP_1, _OP_16, _OP_CHECKMULTISIG, _OP_CHECKSIG = 0x51, 0x60, 0xAE, 0xAC


class ScriptType(enum.Enum):
    """The kinds of output scripts, by the names that Core's JSON-RPC uses."""

    NONSTANDARD = "nonstandard"
    ANCHOR = "anchor"
    PUBKEY = "pubkey"
    PUBKEYHASH = "pubkeyhash"
    SCRIPTHASH = "scripthash"
    MULTISIG = "multisig"
    NULLDATA = "nulldata"
    WITNESS_V0_KEYHASH = "witness_v0_keyhash"
    WITNESS_V0_SCRIPTHASH = "witness_v0_scripthash"
    WITNESS_V1_TAPROOT = "witness_v1_taproot"
    WITNESS_UNKNOWN = "witness_unknown"


class ScriptEndsError(ValueError):
    """A push in a script claims more bytes than follow it."""


def hash160(data: bytes) -> bytes:
    """RIPEMD-160 of SHA-256, the 20 bytes that name a public key or a script."""
    return bytes(_hash160(data))


def push(data: bytes) -> bytes:
    """The shortest plain push of up to 520 bytes (numbers are not shortened to opcodes)."""
    if len(data) < 0x4C:
        return bytes((len(data),)) + data
    if len(data) <= 0xFF:
        return b"\x4c" + bytes((len(data),)) + data
    return b"\x4d" + len(data).to_bytes(2, "little") + data


def push_number(value: int) -> bytes:
    """The shortest push of a script number, as BIP34 wants the height in a coinbase."""
    if value == 0:
        return b"\x00"
    if 1 <= value <= 16:
        return bytes((0x50 + value,))
    return push(script_number(value))


def script_number(value: int) -> bytes:
    """A number as scripts hold it: little-endian, the sign in the top bit."""
    if value == 0:
        return b""
    size = (abs(value).bit_length() + 8) // 8
    data = bytearray(abs(value).to_bytes(size, "little"))
    if value < 0:
        data[-1] |= 0x80
    return bytes(data)


def p2wpkh_script(pubkey_hash: bytes) -> bytes:
    """Pay to the 20-byte hash of a public key (BIP141, version 0)."""
    return witness_script(0, pubkey_hash)


def p2tr_script(output_key: bytes) -> bytes:
    """Pay to a 32-byte x-only taproot output key (BIP341, version 1)."""
    return witness_script(1, output_key)


def witness_script(version: int, program: bytes) -> bytes:
    """The output script of a witness program (BIP141)."""
    return bytes((version and 0x50 + version,)) + push(program)


def p2pkh_script(pubkey_hash: bytes) -> bytes:
    return b"\x76\xa9\x14" + pubkey_hash + b"\x88\xac"


def p2sh_script(script_hash: bytes) -> bytes:
    return b"\xa9\x14" + script_hash + b"\x87"


def null_data_script(data: bytes) -> bytes:
    """An output that carries data and can never be spent."""
    return bytes((OP_RETURN,)) + push(data)


def is_unspendable(script: bytes) -> bool:
    """Whether no one can ever spend it, so that it never enters the UTXO set (Core, ``script.h``)."""
    return script[:1] == bytes((OP_RETURN,)) or len(script) > 10_000


def has_valid_operations(script: bytes) -> bool:
    """Whether it is made of known operations and pushes of allowed size (Core, ``HasValidOps``)."""
    try:
        steps = operations(script)
    except ScriptEndsError:
        return False
    return all(opcode <= _MAX_OPCODE and len(data or b"") <= _MAX_PUSH for opcode, data in steps)


def witness_program(script: bytes) -> tuple[int, bytes] | None:
    """Version and program of a witness output script, or None (BIP141)."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2:
        return None
    if script[0] == 0:
        return 0, script[2:]
    if _OP_1 <= script[0] <= _OP_16:
        return script[0] - 0x50, script[2:]
    return None


def iterate_operations(script: bytes) -> Iterator[tuple[int, bytes | None]]:
    """Opcodes with the data they push, None for those that push none.

    Raises `ScriptEndsError` when it comes to a push that is cut off.
    """
    at = 0
    while at < len(script):
        opcode = script[at]
        at += 1
        if opcode > 0x4E:
            yield opcode, None
            continue
        size = opcode
        if opcode >= 0x4C:
            width = 1 << (opcode - 0x4C)
            if at + width > len(script):
                raise ScriptEndsError
            size = int.from_bytes(script[at : at + width], "little")
            at += width
        if at + size > len(script):
            raise ScriptEndsError
        yield opcode, script[at : at + size]
        at += size


def operations(script: bytes) -> list[tuple[int, bytes | None]]:
    """All operations of a script; raises `ScriptEndsError`."""
    return list(iterate_operations(script))


def classify(script: bytes) -> ScriptType:
    """The kind of an output script."""
    program = witness_program(script)
    if program is not None:
        return _classify_witness(*program)
    if len(script) == 25 and script[:3] == b"\x76\xa9\x14" and script[23:] == b"\x88\xac":
        return ScriptType.PUBKEYHASH
    if len(script) == 23 and script[:2] == b"\xa9\x14" and script[22] == 0x87:
        return ScriptType.SCRIPTHASH
    if public_key_of(script) is not None:
        return ScriptType.PUBKEY
    if script[:1] == bytes((OP_RETURN,)) and _pushes_only(script[1:]):
        return ScriptType.NULLDATA
    if multisig_of(script) is not None:
        return ScriptType.MULTISIG
    return ScriptType.NONSTANDARD


def _classify_witness(version: int, program: bytes) -> ScriptType:
    if version == 0:
        return {20: ScriptType.WITNESS_V0_KEYHASH, 32: ScriptType.WITNESS_V0_SCRIPTHASH}.get(
            len(program), ScriptType.NONSTANDARD
        )
    if version == 1 and len(program) == 32:
        return ScriptType.WITNESS_V1_TAPROOT
    if version == 1 and program == b"\x4e\x73":
        return ScriptType.ANCHOR
    return ScriptType.WITNESS_UNKNOWN


def _has_public_key_form(data: bytes) -> bool:
    return (len(data) == 33 and data[0] in (2, 3)) or (len(data) == 65 and data[0] in (4, 6, 7))


def public_key_of(script: bytes) -> bytes | None:
    """The public key of a pay-to-public-key script, or None."""
    size = script[0] if script else 0
    if len(script) == size + 2 and script[-1] == _OP_CHECKSIG and _has_public_key_form(script[1:-1]):
        return script[1:-1]
    return None


def multisig_of(script: bytes) -> tuple[int, list[bytes]] | None:
    """The threshold and the keys of a bare multisig script, or None."""
    if script[-1:] != bytes((_OP_CHECKMULTISIG,)):
        return None
    try:
        steps = operations(script)
    except ScriptEndsError:
        return None
    if len(steps) < 4 or not all(_OP_1 <= steps[at][0] <= _OP_16 for at in (0, -2)):
        return None
    keys = [data for _, data in steps[1:-2] if data is not None and _has_public_key_form(data)]
    threshold, count = steps[0][0] - 0x50, steps[-2][0] - 0x50
    if len(keys) != count or len(steps) != count + 3 or threshold > count:
        return None
    return threshold, keys


def _pushes_only(script: bytes) -> bool:
    try:
        return all(opcode <= _OP_16 for opcode, _ in operations(script))
    except ScriptEndsError:
        return False


def disassemble(script: bytes) -> str:
    """The script in words, as Core's ``asm``: short pushes as numbers, longer ones in hexadecimal."""
    words: list[str] = []
    try:
        for opcode, data in iterate_operations(script):
            words.append(_word(opcode, data))
    except ScriptEndsError:
        words.append("[error]")
    return " ".join(words)


def _word(opcode: int, data: bytes | None) -> str:
    if data is not None:
        return data.hex() if len(data) > 4 else str(_number(data))
    if opcode == 0x4F:
        return "-1"
    if _OP_1 <= opcode <= _OP_16:
        return str(opcode - 0x50)
    return str(_OP_CODE_NAMES.get(opcode, "OP_UNKNOWN"))


def _number(data: bytes) -> int:
    if not data:
        return 0
    value = int.from_bytes(data, "little")
    sign = 1 << (8 * len(data) - 1)
    return -(value - sign) if value & sign else value
