"""Scripts as Esplora writes them: rust-bitcoin's words, which are not Core's ``asm``."""

from __future__ import annotations

from typing import Final

from btclib.script.script import OP_CODE_NAME_FROM_INT as _OP_CODE_NAMES

from anya_actors.domain.bitcoin.script import (
    OP_RETURN,
    ScriptEndsError,
    ScriptType,
    classify,
    operations,
    witness_program,
)
from anya_actors.domain.bitcoin.transaction import TxInput

_P2PK: Final = (b"\x21", 35), (b"\x41", 67)
_OP_CHECKSIG: Final = 0xAC
_TYPES: Final = {
    ScriptType.PUBKEYHASH: "p2pkh",
    ScriptType.SCRIPTHASH: "p2sh",
    ScriptType.WITNESS_V0_KEYHASH: "v0_p2wpkh",
    ScriptType.WITNESS_V0_SCRIPTHASH: "v0_p2wsh",
    ScriptType.WITNESS_V1_TAPROOT: "v1_p2tr",
}

_SHORT: Final = {0xB1: "OP_CLTV", 0xB2: "OP_CSV", 0xFF: "OP_INVALIDOPCODE"}


def script_words(script: bytes) -> str:
    """The script's operations, each push with its opcode; a cut-off push ends it with a mark."""
    words: list[str] = []
    at = 0
    while at < len(script):
        opcode = script[at]
        at += 1
        size = opcode if opcode < 0x4C else 0
        if 0x4C <= opcode <= 0x4E:
            width = 1 << (opcode - 0x4C)
            if at + width > len(script):
                words.append("<unexpected end>")
                break
            size = int.from_bytes(script[at : at + width], "little")
            at += width
        words.append(opcode_word(opcode))
        if size > len(script) - at:
            words.append("<push past end>")
            break
        if size:
            words.append(script[at : at + size].hex())
            at += size
    return " ".join(words)


def opcode_word(opcode: int) -> str:
    """An opcode's name in rust-bitcoin."""
    if opcode == 0:
        return "OP_0"
    if opcode < 0x4C:
        return f"OP_PUSHBYTES_{opcode}"
    if opcode <= 0x4E:
        return f"OP_PUSHDATA{1 << (opcode - 0x4C)}"
    if opcode == 0x4F:
        return "OP_PUSHNUM_NEG1"
    if opcode == 0x50:
        return "OP_RESERVED"
    if opcode <= 0x60:
        return f"OP_PUSHNUM_{opcode - 0x50}"
    return _SHORT.get(opcode) or str(_OP_CODE_NAMES.get(opcode, f"OP_RETURN_{opcode}"))


def script_type(script: bytes) -> str:
    """``scriptpubkey_type``."""
    if not script:
        return "empty"
    if script[0] == OP_RETURN:
        return "op_return"
    if (script[:1], len(script)) in _P2PK and script[-1] == _OP_CHECKSIG:
        return "p2pk"
    return _TYPES.get(classify(script), "unknown")


def redeem_script(tx_input: TxInput, script_pubkey: bytes) -> bytes | None:
    """What a spent P2SH output hashed: the last push of the ``scriptSig``."""
    if classify(script_pubkey) is not ScriptType.SCRIPTHASH:
        return None
    try:
        steps = operations(tx_input.script_sig)
    except ScriptEndsError:
        return None
    return steps[-1][1] if steps else None


def witness_script(tx_input: TxInput, program_script: bytes) -> bytes | None:
    """What a spent P2WSH output hashed (``program_script`` is it, or the redeem script around it)."""
    program = witness_program(program_script)
    if program is None or program[0] != 0 or len(program[1]) != 32 or not tx_input.witness:
        return None
    return tx_input.witness[-1]
