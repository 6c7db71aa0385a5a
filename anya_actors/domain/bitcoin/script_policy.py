"""Scripts under Core's relay policy, which the consensus engine does not know.

``btclib``'s interpreter is the judge: it answers Core's own script vectors with Core's own error
for every flag, which our tests repeat. The consensus engine judges everything too: this one can
only refuse more, and says why in Core's words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from btclib.exceptions import BTClibException, ScriptError, ScriptErrorCode
from btclib.script.engine import ScriptFlag, verify_input
from btclib.script.sig_hash import PrecomputedTxData
from btclib.tx.tx import Tx
from btclib.tx.tx_out import TxOut

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.script import ScriptType, classify
from anya_actors.domain.bitcoin.transaction import Transaction, TxInput, TxOutput

STANDARD_FLAGS: Final = (
    ScriptFlag.P2SH
    | ScriptFlag.DERSIG
    | ScriptFlag.NULLDUMMY
    | ScriptFlag.CHECKLOCKTIMEVERIFY
    | ScriptFlag.CHECKSEQUENCEVERIFY
    | ScriptFlag.WITNESS
    | ScriptFlag.TAPROOT
    | ScriptFlag.STRICTENC
    | ScriptFlag.MINIMALDATA
    | ScriptFlag.DISCOURAGE_UPGRADABLE_NOPS
    | ScriptFlag.CLEANSTACK
    | ScriptFlag.MINIMALIF
    | ScriptFlag.NULLFAIL
    | ScriptFlag.LOW_S
    | ScriptFlag.DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM
    | ScriptFlag.WITNESS_PUBKEYTYPE
    | ScriptFlag.CONST_SCRIPTCODE
    | ScriptFlag.DISCOURAGE_UPGRADABLE_TAPROOT_VERSION
    | ScriptFlag.DISCOURAGE_OP_SUCCESS
    | ScriptFlag.DISCOURAGE_UPGRADABLE_PUBKEYTYPE
)
"""Core's ``STANDARD_SCRIPT_VERIFY_FLAGS``."""

_SIGHASHES: Final = {bytes([kind]) for kind in (0x01, 0x02, 0x03, 0x81, 0x82, 0x83)}
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

SCRIPT_REJECTED: Final = "mempool-script-verify-flag-failed"

_TEXTS: Final = {
    "EVAL_FALSE": "Script evaluated without error but finished with a false/empty top stack element",
    "VERIFY": "Script failed an OP_VERIFY operation",
    "EQUALVERIFY": "Script failed an OP_EQUALVERIFY operation",
    "CHECKMULTISIGVERIFY": "Script failed an OP_CHECKMULTISIGVERIFY operation",
    "CHECKSIGVERIFY": "Script failed an OP_CHECKSIGVERIFY operation",
    "NUMEQUALVERIFY": "Script failed an OP_NUMEQUALVERIFY operation",
    "SCRIPTNUM": "Script number overflowed or is non-minimally encoded",
    "SCRIPT_SIZE": "Script is too big",
    "PUSH_SIZE": "Push value size limit exceeded",
    "OP_COUNT": "Operation limit exceeded",
    "STACK_SIZE": "Stack size limit exceeded",
    "SIG_COUNT": "Signature count negative or greater than pubkey count",
    "PUBKEY_COUNT": "Pubkey count negative or limit exceeded",
    "BAD_OPCODE": "Opcode missing or not understood",
    "DISABLED_OPCODE": "Attempted to use a disabled opcode",
    "INVALID_STACK_OPERATION": "Operation not valid with the current stack size",
    "INVALID_ALTSTACK_OPERATION": "Operation not valid with the current altstack size",
    "OP_RETURN": "OP_RETURN was encountered",
    "UNBALANCED_CONDITIONAL": "Invalid OP_IF construction",
    "NEGATIVE_LOCKTIME": "Negative locktime",
    "UNSATISFIED_LOCKTIME": "Locktime requirement not satisfied",
    "SIG_HASHTYPE": "Signature hash type missing or not understood",
    "SIG_DER": "Non-canonical DER signature",
    "MINIMALDATA": "Data push larger than necessary",
    "SIG_PUSHONLY": "Only push operators allowed in signatures",
    "SIG_HIGH_S": "Non-canonical signature: S value is unnecessarily high",
    "SIG_NULLDUMMY": "Dummy CHECKMULTISIG argument must be zero",
    "MINIMALIF": "OP_IF/NOTIF argument must be minimal",
    "SIG_NULLFAIL": "Signature must be zero for failed CHECK(MULTI)SIG operation",
    "DISCOURAGE_UPGRADABLE_NOPS": "NOPx reserved for soft-fork upgrades",
    "DISCOURAGE_UPGRADABLE_WITNESS_PROGRAM": "Witness version reserved for soft-fork upgrades",
    "DISCOURAGE_UPGRADABLE_TAPROOT_VERSION": "Taproot version reserved for soft-fork upgrades",
    "DISCOURAGE_OP_SUCCESS": "OP_SUCCESSx reserved for soft-fork upgrades",
    "DISCOURAGE_UPGRADABLE_PUBKEYTYPE": "Public key version reserved for soft-fork upgrades",
    "PUBKEYTYPE": "Public key is neither compressed or uncompressed",
    "CLEANSTACK": "Stack size must be exactly one after execution",
    "WITNESS_PROGRAM_WRONG_LENGTH": "Witness program has incorrect length",
    "WITNESS_PROGRAM_WITNESS_EMPTY": "Witness program was passed an empty witness",
    "WITNESS_PROGRAM_MISMATCH": "Witness program hash mismatch",
    "WITNESS_MALLEATED": "Witness requires empty scriptSig",
    "WITNESS_MALLEATED_P2SH": "Witness requires only-redeemscript scriptSig",
    "WITNESS_UNEXPECTED": "Witness provided for non-witness script",
    "WITNESS_PUBKEYTYPE": "Using non-compressed keys in segwit",
    "SCHNORR_SIG_SIZE": "Invalid Schnorr signature size",
    "SCHNORR_SIG_HASHTYPE": "Invalid Schnorr signature hash type",
    "SCHNORR_SIG": "Invalid Schnorr signature",
    "TAPROOT_WRONG_CONTROL_SIZE": "Invalid Taproot control block size",
    "TAPSCRIPT_VALIDATION_WEIGHT": "Too much signature validation relative to witness weight",
    "TAPSCRIPT_CHECKMULTISIG": "OP_CHECKMULTISIG(VERIFY) is not available in tapscript",
    "TAPSCRIPT_MINIMALIF": "OP_IF/NOTIF argument must be minimal in tapscript",
    "TAPSCRIPT_EMPTY_PUBKEY": "Empty public key in tapscript",
    "OP_CODESEPARATOR": "Using OP_CODESEPARATOR in non-witness script",
    "SIG_FINDANDDELETE": "Signature is found in scriptCode",
}
"""Core's words for each way in which a script fails (``script/script_error.cpp``)."""


def failure_text(code: ScriptErrorCode) -> str:
    """Core's words for it."""
    return _TEXTS.get(code.name, "unknown error")


def doubtful_inputs(transaction: Transaction, spent: Sequence[TxOutput]) -> list[int]:
    """The inputs that may be valid by consensus and still break a rule of relay.

    Not among them are the two commonest kinds, if they are as wallets make them: for a taproot key
    path the flags of relay add no rule, and for a public key's hash (BIP141, version 0) only those
    that are looked at here.
    """
    return [
        place
        for place, (tx_input, output) in enumerate(zip(transaction.inputs, spent, strict=True))
        if not _is_beyond_doubt(tx_input, output.script_pubkey)
    ]


def _is_beyond_doubt(tx_input: TxInput, script: bytes) -> bool:
    if tx_input.script_sig:
        return False
    kind = classify(script)
    if kind is ScriptType.WITNESS_V1_TAPROOT:
        return len(tx_input.witness) == 1
    if kind is not ScriptType.WITNESS_V0_KEYHASH or len(tx_input.witness) != 2:
        return False
    signature, key = tx_input.witness
    return len(key) == 33 and signature[-1:] in _SIGHASHES and _has_low_s(signature[:-1])


def _has_low_s(der: bytes) -> bool:
    """Whether S of a signature in strict DER (BIP66) is the lower of the two that are valid (BIP146)."""
    if len(der) < 8 or len(der) < 8 + der[3]:
        return False
    return 0 < int.from_bytes(der[6 + der[3] :], "big") <= _HALF_ORDER


def verify_standard_scripts(
    transaction: Transaction,
    spent: Sequence[TxOutput],
    flags: ScriptFlag = STANDARD_FLAGS,
    places: Sequence[int] | None = None,
) -> None:
    """Raise `RejectedTransactionError` for the first input whose script fails under the flags.

    ``places`` limits it to some inputs.
    """
    try:
        parsed = Tx.parse(transaction.serialize(), check_validity=False)
        outputs = [TxOut.parse(output.serialize()) for output in spent]
        precomputed = PrecomputedTxData(parsed, outputs)
    except BTClibException as error:
        raise RejectedTransactionError(f"{SCRIPT_REJECTED} (unknown error)", str(error)) from error
    for place in range(len(transaction.inputs)) if places is None else places:
        tx_input = transaction.inputs[place]
        try:
            verify_input(outputs, parsed, place, flags, precomputed)
        except BTClibException as error:
            text = failure_text(error.code) if isinstance(error, ScriptError) else "unknown error"
            detail = f"input {place} of {transaction.txid} (wtxid {transaction.wtxid}), "
            detail += f"spending {tx_input.prevout}"
            raise RejectedTransactionError(f"{SCRIPT_REJECTED} ({text})", detail) from error
