"""Transactions and scripts that come with the call: making and reading them."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.coin_index import scripthash
from anya_actors.domain.bitcoin.script import (
    ScriptEndsError,
    ScriptType,
    classify,
    hash160,
    is_unspendable,
    multisig_of,
    operations,
    p2sh_script,
    p2wpkh_script,
    public_key_of,
    witness_script,
)
from anya_actors.serve.bitcoin_rpc.arguments import Arguments, parse_hex
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import NETWORK, describe_output_script, describe_transaction
from anya_actors.serve.bitcoin_rpc.making import make_transaction

_WRAPPED: Final = (
    ScriptType.MULTISIG,
    ScriptType.NONSTANDARD,
    ScriptType.PUBKEY,
    ScriptType.PUBKEYHASH,
    ScriptType.WITNESS_V0_KEYHASH,
    ScriptType.WITNESS_V0_SCRIPTHASH,
)
_WITNESS: Final = (ScriptType.WITNESS_V0_KEYHASH, ScriptType.WITNESS_V0_SCRIPTHASH)
_LAST_OPCODE, _CHECKSIGADD, _MAX_PUSH = 0xB9, 0xBA, 520


async def createrawtransaction(_: RpcContext, arguments: Arguments) -> Any:
    """An unsigned transaction, in hexadecimal, that spends these outputs and pays these."""
    replaceable = arguments.flag("replaceable", True) if arguments.has("replaceable") else None
    return make_transaction(arguments, replaceable=replaceable).serialize().hex()


async def decoderawtransaction(_: RpcContext, arguments: Arguments) -> Any:
    """What a transaction says."""
    witness = arguments.flag("iswitness", True) if arguments.has("iswitness") else None
    return describe_transaction(arguments.transaction("hexstring", witness=witness), with_hex=False)


async def decodescript(_: RpcContext, arguments: Arguments) -> Any:
    """What a script says, and the addresses it has when it is hashed."""
    text = arguments.text("hexstring")
    script = parse_hex(text, "argument") if text else b""
    facts = describe_output_script(script)
    del facts["hex"]
    if _can_be_wrapped(script):
        facts["p2sh"] = _p2sh_address(script)
        inner = _witness_form(script)
        if inner is not None:
            facts["segwit"] = describe_output_script(inner, redeem=script)
            facts["segwit"]["p2sh-segwit"] = _p2sh_address(inner)
    return facts


def _p2sh_address(script: bytes) -> str | None:
    return encode_address(p2sh_script(hash160(script)), NETWORK)


def _can_be_wrapped(script: bytes) -> bool:
    """Whether it may stand behind a hash: of an old kind, whole, and no opcode of taproot's in it."""
    if classify(script) not in _WRAPPED or is_unspendable(script):
        return False
    try:
        steps = operations(script)
    except ScriptEndsError:
        return False
    return all(
        opcode <= _LAST_OPCODE and not _is_success(opcode) and len(data or b"") <= _MAX_PUSH
        for opcode, data in steps
    )


def _is_success(opcode: int) -> bool:
    """Opcodes that end a tapscript at once (BIP342)."""
    return opcode in (80, 98) or any(
        first <= opcode <= last
        for first, last in ((126, 129), (131, 134), (137, 138), (141, 142), (149, 153), (187, 254))
    )


def _witness_form(script: bytes) -> bytes | None:
    """The witness program of a script; None for those that have none, uncompressed keys among them."""
    kind = classify(script)
    if kind in _WITNESS:
        return None
    key, multisig = public_key_of(script), multisig_of(script)
    if key is not None:
        return p2wpkh_script(hash160(key)) if len(key) == 33 else None
    if multisig is not None and any(len(found) != 33 for found in multisig[1]):
        return None
    if kind is ScriptType.PUBKEYHASH:
        return p2wpkh_script(script[3:23])
    return witness_script(0, scripthash(script))


METHODS: Final[dict[str, Method]] = dict(
    [
        method(
            createrawtransaction,
            "inputs:array",
            "outputs",
            "locktime:number",
            "replaceable:bool",
            "version:number",
            required=2,
        ),
        method(decoderawtransaction, "hexstring:string", "iswitness:bool", required=1),
        method(decodescript, "hexstring:string", required=1),
    ]
)
