"""What each known field of a PSBT must look like. The reasons are Core's words (``psbt.h``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from anya_actors.domain.bitcoin.psbt.errors import PsbtError
from anya_actors.domain.bitcoin.psbt.fields import PROPRIETARY, Global, In, Out
from anya_actors.domain.bitcoin.signature_encoding import is_strict_signature
from anya_actors.domain.bitcoin.transaction import Transaction, read_stripped_transaction, read_transaction
from anya_actors.domain.bitcoin.wire import Reader, TruncatedError
from anya_actors.domain.keys.curve import CurveError, Point

Check = Callable[[bytes, bytes], None]

LOCK_TIME_THRESHOLD: Final = 500_000_000
MAX_TREE_DEPTH: Final = 128
_WRONG_SIZE: Final = "Size of value was not the stated size"


def check_field(key: bytes, value: bytes, checks: Mapping[int, Check]) -> None:
    """Raise `PsbtError` if the field is not as its type wants it."""
    kind = _kind(key)
    check = _check_proprietary if kind == PROPRIETARY else checks.get(kind)
    if check is not None:
        check(key, value)


def _kind(key: bytes) -> int:
    try:
        return key[0] if key[0] < 0xFD else Reader(key).compact_size()
    except TruncatedError as error:
        raise PsbtError(f"the type of the key {key.hex()[:80]} cannot be read: {error}") from error


def _check_proprietary(key: bytes, _: bytes) -> None:
    try:
        reader = Reader(key, 1)
        reader.prefixed()
        reader.compact_size()
    except TruncatedError as error:
        raise PsbtError(f"proprietary key {key.hex()[:80]}: {error}") from error


def _key_size(key: bytes, size: int, name: str) -> None:
    if len(key) != size:
        raise PsbtError(f"Size of key was not {size} for the type {name}")


def _sized(name: str, size: int | None = None, key_size: int = 1) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _key_size(key, key_size, name)
        if size is not None and len(value) != size:
            raise PsbtError(_WRONG_SIZE)

    return check


def _check_compact_size(name: str) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _key_size(key, 1, name)
        _read_whole(value, lambda reader: reader.compact_size())

    return check


def _read_whole(value: bytes, read: Callable[[Reader], object]) -> None:
    reader = Reader(value)
    try:
        read(reader)
    except TruncatedError as error:
        raise PsbtError(f"{_WRONG_SIZE}: {error}") from error
    if reader.left:
        raise PsbtError(_WRONG_SIZE)


def _check_unsigned_tx(key: bytes, value: bytes) -> None:
    _key_size(key, 1, "Global Unsigned TX")
    transaction: list[Transaction] = []
    _read_whole(value, lambda reader: transaction.append(read_stripped_transaction(reader)))
    if any(tx_input.script_sig for tx_input in transaction[0].inputs):
        raise PsbtError("Unsigned tx does not have empty scriptSigs and scriptWitnesses.")


def _check_previous_transaction(key: bytes, value: bytes) -> None:
    _key_size(key, 1, "Input Non-witness UTXO")
    _read_whole(value, read_transaction)


def _check_output(key: bytes, value: bytes) -> None:
    _key_size(key, 1, "Input Witness UTXO")
    _read_whole(value, lambda reader: (reader.i64(), reader.prefixed()))


def _check_stack(key: bytes, value: bytes) -> None:
    _key_size(key, 1, "Input Final scriptWitness")
    _read_whole(value, lambda reader: [reader.prefixed() for _ in range(_bounded(reader))])


def _bounded(reader: Reader) -> int:
    count = reader.compact_size()
    if count > reader.left:
        raise TruncatedError("it ends too early")
    return count


def check_public_key(data: bytes, reason: str = "Invalid pubkey") -> None:
    """Raise `PsbtError` unless it is a point."""
    try:
        Point.parse(data)
    except CurveError:
        raise PsbtError(reason) from None


def _check_xpub(key: bytes, value: bytes) -> None:
    _key_size(key, 79, "Global XPUB")
    check_public_key(key[46:])
    _check_origin(value)


def _check_origin(value: bytes) -> None:
    if not value or len(value) % 4:
        raise PsbtError("Invalid length for HD key path")


def _check_partial_signature(key: bytes, value: bytes) -> None:
    if len(key) not in (34, 66):
        raise PsbtError("Size of key was not the expected size for the type partial signature pubkey")
    check_public_key(key[1:])
    if not value or not is_strict_signature(value):
        raise PsbtError("Signature is not a valid encoding")


def _check_derivation(key: bytes, value: bytes) -> None:
    if len(key) not in (34, 66):
        raise PsbtError("Size of key was not the expected size for the type BIP32 keypath")
    check_public_key(key[1:])
    _check_origin(value)


def _check_time(key: bytes, value: bytes) -> None:
    _sized("Input Required Time Based Locktime", 4)(key, value)
    if int.from_bytes(value, "little") < LOCK_TIME_THRESHOLD:
        raise PsbtError("Required time based locktime is invalid (less than 500000000)")


def _check_height(key: bytes, value: bytes) -> None:
    _sized("Input Required Height Based Locktime", 4)(key, value)
    height = int.from_bytes(value, "little")
    if height >= LOCK_TIME_THRESHOLD:
        raise PsbtError("Required height based locktime is invalid (greater than or equal to 500000000)")
    if height == 0:
        raise PsbtError("Required height based locktime is invalid (0)")


def _schnorr(name: str, key_size: int, path: str) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _key_size(key, key_size, name)
        if len(value) < 64:
            raise PsbtError(f"Input Taproot {path} path signature is shorter than 64 bytes")
        if len(value) > 65:
            raise PsbtError(f"Input Taproot {path} path signature is longer than 65 bytes")

    return check


def _check_leaf_script(key: bytes, value: bytes) -> None:
    if len(key) < 34:
        raise PsbtError("Input Taproot leaf script key is not at least 34 bytes")
    if (len(key) - 2) % 32:
        raise PsbtError("Input Taproot leaf script key's control block size is not valid")
    if not value:
        raise PsbtError("Input Taproot leaf script must be at least 1 byte")


def _tap_derivation(side: str) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _key_size(key, 33, f"{side} Taproot BIP32 Keypath")
        reader = Reader(value)
        try:
            reader.take(32 * reader.compact_size())
        except TruncatedError:
            raise PsbtError(f"{side} Taproot BIP32 keypath has an invalid length") from None
        _check_origin(reader.take(reader.left))

    return check


def _check_tap_tree(key: bytes, value: bytes) -> None:
    _key_size(key, 1, "Output Taproot Tree Key")
    if not value:
        raise PsbtError("Output Taproot tree must not be empty")
    reader, depths = Reader(value), []
    try:
        while reader.left:
            depth, version = reader.take(2)
            reader.prefixed()
            if depth > MAX_TREE_DEPTH:
                raise PsbtError("Output Taproot tree has as leaf greater than Taproot maximum depth")
            if version & 1:
                raise PsbtError("Output Taproot tree has a leaf with an invalid leaf version")
            depths.append(depth)
    except TruncatedError as error:
        raise PsbtError(f"Output Taproot tree is malformed: {error}") from error
    if not is_whole_tree(depths):
        raise PsbtError("Output Taproot tree is malformed")


def is_whole_tree(depths: list[int]) -> bool:
    """Whether leaves of these depths, depth first, make one binary tree."""
    open_depths: list[int] = []
    for depth in depths:
        if open_depths and open_depths[-1] == 0:
            return False
        if open_depths and open_depths[-1] > depth:
            return False
        open_depths.append(depth)
        while len(open_depths) > 1 and open_depths[-1] == open_depths[-2]:
            joined = open_depths.pop() - 1
            open_depths[-1] = joined
    return open_depths == [0]


def _participants(side: str) -> Check:
    def check(key: bytes, value: bytes) -> None:
        _key_size(key, 34, f"{side} MuSig2 Participants Pubkeys")
        check_public_key(key[1:], f"{side} musig2 aggregate pubkey is invalid")
        for at in range(0, len(value) - 32, 33):
            check_public_key(value[at : at + 33], f"{side} musig2 participant pubkey is invalid")
        if len(value) % 33:
            raise PsbtError(f"{side} musig2 participants pubkeys value size is not a multiple of 33")

    return check


def _musig2_key(key: bytes, name: str) -> None:
    if len(key) not in (67, 99):
        raise PsbtError(f"Input musig2 {name} key is not expected size of 67 or 99 bytes")
    check_public_key(key[34:67], "musig2 aggregate pubkey is invalid")
    check_public_key(key[1:34], "musig2 participant pubkey is invalid")


def _check_nonce(key: bytes, value: bytes) -> None:
    _musig2_key(key, "pubnonce")
    if len(value) != 66:
        raise PsbtError("Input musig2 pubnonce value is not 66 bytes")


def _check_musig2_signature(key: bytes, value: bytes) -> None:
    _musig2_key(key, "partial sig")
    if len(value) != 32:
        raise PsbtError(_WRONG_SIZE)


GLOBAL_CHECKS: Final[Mapping[int, Check]] = {
    Global.UNSIGNED_TX: _check_unsigned_tx,
    Global.XPUB: _check_xpub,
    Global.TX_VERSION: _sized("Global Transaction Version", 4),
    Global.FALLBACK_LOCKTIME: _sized("Global Fallback Locktime", 4),
    Global.INPUT_COUNT: _check_compact_size("Global Input Count"),
    Global.OUTPUT_COUNT: _check_compact_size("Global Output Count"),
    Global.TX_MODIFIABLE: _sized("Global TX Modifiable Flags", 1),
    Global.SP_ECDH_SHARE: _sized("Global Silent Payment ECDH Share", 33, 34),
    Global.SP_DLEQ: _sized("Global Silent Payment DLEQ Proof", 64, 34),
    Global.VERSION: _sized("Global PSBT Version", 4),
}
_V2_INPUT_CHECKS: Final[Mapping[int, Check]] = {
    In.NON_WITNESS_UTXO: _check_previous_transaction,
    In.WITNESS_UTXO: _check_output,
    In.PARTIAL_SIG: _check_partial_signature,
    In.SIGHASH_TYPE: _sized("Input Sighash Type", 4),
    In.REDEEM_SCRIPT: _sized("Input redeemScript"),
    In.WITNESS_SCRIPT: _sized("Input witnessScript"),
    In.BIP32_DERIVATION: _check_derivation,
    In.FINAL_SCRIPTSIG: _sized("Input Final scriptSig"),
    In.FINAL_SCRIPTWITNESS: _check_stack,
    In.RIPEMD160: _sized("Input RIPEMD160 Preimage", None, 21),
    In.SHA256: _sized("Input SHA256 Preimage", None, 33),
    In.HASH160: _sized("Input Hash160 Preimage", None, 21),
    In.HASH256: _sized("Input Hash256 Preimage", None, 33),
    In.PREVIOUS_TXID: _sized("Input Previous TXID", 32),
    In.OUTPUT_INDEX: _sized("Input Previous Output's Index", 4),
    In.SEQUENCE: _sized("Input Sequence", 4),
    In.REQUIRED_TIME_LOCKTIME: _check_time,
    In.REQUIRED_HEIGHT_LOCKTIME: _check_height,
    In.TAP_KEY_SIG: _schnorr("Input Taproot Key Path Signature", 1, "key"),
    In.TAP_SCRIPT_SIG: _schnorr("Input Taproot Script Path Signature", 65, "script"),
    In.TAP_LEAF_SCRIPT: _check_leaf_script,
    In.TAP_BIP32_DERIVATION: _tap_derivation("Input"),
    In.TAP_INTERNAL_KEY: _sized("Input Taproot Internal Key", 32),
    In.TAP_MERKLE_ROOT: _sized("Input Taproot Merkle Root", 32),
    In.MUSIG2_PARTICIPANT_PUBKEYS: _participants("Input"),
    In.MUSIG2_PUB_NONCE: _check_nonce,
    In.MUSIG2_PARTIAL_SIG: _check_musig2_signature,
    In.SP_ECDH_SHARE: _sized("Input Silent Payment ECDH Share", 33, 34),
    In.SP_DLEQ: _sized("Input Silent Payment DLEQ Proof", 64, 34),
}
_V2_OUTPUT_CHECKS: Final[Mapping[int, Check]] = {
    Out.REDEEM_SCRIPT: _sized("Output redeemScript"),
    Out.WITNESS_SCRIPT: _sized("Output witnessScript"),
    Out.BIP32_DERIVATION: _check_derivation,
    Out.AMOUNT: _sized("Output Amount", 8),
    Out.SCRIPT: _sized("Output Script"),
    Out.TAP_INTERNAL_KEY: _sized("Output Taproot Internal Key", 32),
    Out.TAP_TREE: _check_tap_tree,
    Out.TAP_BIP32_DERIVATION: _tap_derivation("Output"),
    Out.MUSIG2_PARTICIPANT_PUBKEYS: _participants("Output"),
    Out.SP_V0_INFO: _sized("Output Silent Payment Info", 66),
    Out.SP_V0_LABEL: _sized("Output Silent Payment Label", 4),
}


def _without(checks: Mapping[int, Check], *kinds: int) -> Mapping[int, Check]:
    return {kind: check for kind, check in checks.items() if kind not in kinds}


# To version 0 the types of version 2 are unknown ones, except the plain keys, which it must not have.
_V2_INPUT_KINDS: Final = (*range(In.PREVIOUS_TXID, In.TAP_KEY_SIG), In.SP_ECDH_SHARE, In.SP_DLEQ)
_V2_OUTPUT_KINDS: Final = (Out.AMOUNT, Out.SCRIPT, Out.SP_V0_INFO, Out.SP_V0_LABEL)
INPUT_CHECKS: Final[Mapping[int, Mapping[int, Check]]] = {
    0: _without(_V2_INPUT_CHECKS, *_V2_INPUT_KINDS),
    2: _V2_INPUT_CHECKS,
}
OUTPUT_CHECKS: Final[Mapping[int, Mapping[int, Check]]] = {
    0: _without(_V2_OUTPUT_CHECKS, *_V2_OUTPUT_KINDS),
    2: _V2_OUTPUT_CHECKS,
}
