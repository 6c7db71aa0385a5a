"""The finaliser's role (BIP174): from signatures and scripts to the final scriptSig and witness."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from anya_actors.domain.bitcoin.descriptors.errors import NotSatisfiableError
from anya_actors.domain.bitcoin.descriptors.miniscript.decode import NotDecodedError, decode_miniscript
from anya_actors.domain.bitcoin.descriptors.miniscript.satisfy import satisfy
from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtInputError
from anya_actors.domain.bitcoin.psbt.fields import In
from anya_actors.domain.bitcoin.psbt.maps import InputMap, write_stack
from anya_actors.domain.bitcoin.psbt.spending import (
    Rules,
    Spending,
    ecdsa_digest,
    schnorr_digest,
    spending_of,
)
from anya_actors.domain.bitcoin.script import (
    ScriptType,
    classify,
    hash160,
    multisig_of,
    public_key_of,
    push,
    witness_script,
)
from anya_actors.domain.bitcoin.taproot import TAPSCRIPT, TaprootError, leaf_hash, verify_script_path
from anya_actors.domain.bitcoin.transaction import SEQUENCE_FINAL
from anya_actors.domain.keys.curve import ecdsa_holds, schnorr_holds

_STEP: Final = "finalised"
_PREIMAGES: Final = {
    "sha256": In.SHA256,
    "hash256": In.HASH256,
    "ripemd160": In.RIPEMD160,
    "hash160": In.HASH160,
}
_SIGNING_FIELDS: Final = (
    *range(In.PARTIAL_SIG, In.FINAL_SCRIPTSIG),
    *range(In.RIPEMD160, In.HASH256 + 1),
    *range(In.TAP_KEY_SIG, In.MUSIG2_PARTIAL_SIG + 1),
)
_LOCK_TIME_THRESHOLD: Final = 500_000_000
_SEQUENCE_DISABLED, _SEQUENCE_TYPE, _SEQUENCE_MASK = 1 << 31, 1 << 22, 0xFFFF


class _Held:
    """What one input holds towards its witness; see `Available`."""

    def __init__(
        self,
        psbt: Psbt,
        index: int,
        signatures: Mapping[bytes, bytes],
        keys_by_hash: Mapping[bytes, bytes],
    ) -> None:
        self._transaction = psbt.unsigned_transaction
        self._sequence = self._transaction.inputs[index].sequence
        self._input = psbt.inputs[index]
        self._signatures = signatures
        self._keys_by_hash = keys_by_hash

    def signature(self, key: Any) -> bytes | None:
        """The signature of a key, or of the key with this hash."""
        return self._signatures.get(self.public_key(key))

    def public_key(self, key: Any) -> bytes:
        """The key itself; of one that is known by its hash only, the key if the input names it."""
        return self._keys_by_hash.get(key, key) if len(key) == 20 else bytes(key)

    def preimage(self, fragment: str, digest: bytes) -> bytes | None:
        return self._input.value(_PREIMAGES[fragment], digest)

    def allows_older(self, k: int) -> bool:
        if self._transaction.version < 2 or self._sequence & _SEQUENCE_DISABLED:
            return False
        if (k ^ self._sequence) & _SEQUENCE_TYPE:
            return False
        return k & _SEQUENCE_MASK <= self._sequence & _SEQUENCE_MASK

    def allows_after(self, k: int) -> bool:
        lock_time = self._transaction.lock_time
        if (k < _LOCK_TIME_THRESHOLD) != (lock_time < _LOCK_TIME_THRESHOLD):
            return False
        return k <= lock_time and self._sequence != SEQUENCE_FINAL


def finalize_psbt(psbt: Psbt) -> Psbt:
    """Finalise every input; raises `PsbtInputError` for the first that cannot be."""
    for index in range(len(psbt.inputs)):
        psbt = finalize_input(psbt, index)
    return psbt


def finalize_what_is_complete(psbt: Psbt) -> tuple[Psbt, bool]:
    """Finalise the inputs that can be, as Core's ``finalizepsbt``; and whether all are final."""
    is_complete = True
    for index in range(len(psbt.inputs)):
        try:
            psbt = finalize_input(psbt, index)
        except PsbtInputError:
            is_complete = False
    return psbt, is_complete


def finalize_input(psbt: Psbt, index: int) -> Psbt:
    """Turn one input's signatures into its scriptSig and witness; raises `PsbtInputError`.

    Every signature that is used has been verified. A final input stays as it is.
    """
    held = psbt.inputs[index]
    if held.is_final:
        return psbt
    spending = spending_of(psbt, index, _STEP)
    if spending.rules is Rules.TAPROOT:
        script_sig, witness = b"", _taproot_witness(psbt, index, spending)
    else:
        stack = _ecdsa_stack(psbt, index, spending)
        script_sig, witness = _placed(spending, stack)
    final = held.without(*_SIGNING_FIELDS)
    if script_sig:
        final = final.with_value(In.FINAL_SCRIPTSIG, script_sig)
    if witness:
        final = final.with_value(In.FINAL_SCRIPTWITNESS, write_stack(witness))
    return psbt.with_input(index, final)


def _placed(spending: Spending, stack: tuple[bytes, ...]) -> tuple[bytes, tuple[bytes, ...]]:
    """Where the elements go: into the scriptSig, or the witness with the scripts they satisfy."""
    if spending.rules is Rules.LEGACY:
        script_sig = b"".join(push(item) for item in stack)
        return script_sig + (push(spending.script) if spending.is_nested else b""), ()
    witness = (*stack, spending.script) if spending.is_witness_script else stack
    if not spending.is_nested:
        return b"", witness
    # The redeem script of a nested witness program is the program.
    program = spending.script
    if spending.is_witness_script:
        program = witness_script(0, hashlib.sha256(spending.script).digest())
    return push(program), witness


def _ecdsa_stack(psbt: Psbt, index: int, spending: Spending) -> tuple[bytes, ...]:
    held = psbt.inputs[index]
    signatures = _valid_ecdsa(psbt, index, spending)
    keys = {hash160(key): key for key in (*held.partial_signatures, *held.derivations)}
    available = _Held(psbt, index, signatures, keys)
    kind, script = classify(spending.script), spending.script
    if kind in (ScriptType.PUBKEYHASH, ScriptType.WITNESS_V0_KEYHASH):
        name = script[3:23] if kind is ScriptType.PUBKEYHASH else script[2:]
        signature = available.signature(name)
        if signature is None:
            raise PsbtInputError(_STEP, "its signature is missing", index)
        return signature, available.public_key(name)
    if kind is ScriptType.PUBKEY:
        signature = available.signature(public_key_of(script))
        if signature is None:
            raise PsbtInputError(_STEP, "its signature is missing", index)
        return (signature,)
    multisig = multisig_of(script)
    if multisig is not None:
        threshold, public_keys = multisig
        found = [signatures[key] for key in public_keys if key in signatures][:threshold]
        if len(found) < threshold:
            raise PsbtInputError(_STEP, f"it has {len(found)} of {threshold} signatures", index)
        return (b"", *found)
    if not spending.is_witness_script:
        raise PsbtInputError(_STEP, "its script is not one that can be solved", index)
    return _miniscript_stack(index, script, available, tapscript=False)


def _miniscript_stack(index: int, script: bytes, available: _Held, *, tapscript: bool) -> tuple[bytes, ...]:
    try:
        return satisfy(decode_miniscript(script, tapscript=tapscript), available)
    except NotDecodedError:
        raise PsbtInputError(_STEP, "its script is not one that can be solved", index) from None
    except NotSatisfiableError as error:
        raise PsbtInputError(_STEP, error.reason, index) from None


def _valid_ecdsa(psbt: Psbt, index: int, spending: Spending) -> dict[bytes, bytes]:
    held = psbt.inputs[index]
    found = {}
    for key, signature in held.partial_signatures.items():
        _check_type(held, index, signature[-1])
        digest = ecdsa_digest(psbt, index, spending, signature[-1])
        if not ecdsa_holds(key, digest, signature[:-1]):
            raise PsbtInputError(_STEP, f"the signature of {key.hex()} does not hold", index)
        found[key] = signature
    return found


def _check_type(held: InputMap, index: int, sighash: int) -> None:
    if held.sighash_type not in (None, sighash):
        raise PsbtInputError(
            _STEP, f"a signature has the type {sighash:#04x}, not {held.sighash_type:#04x} as wanted", index
        )


def _taproot_witness(psbt: Psbt, index: int, spending: Spending) -> tuple[bytes, ...]:
    held = psbt.inputs[index]
    if held.tap_key_signature is not None:
        _check_schnorr(psbt, index, spending.script[2:], held.tap_key_signature)
        return (held.tap_key_signature,)
    ways = []
    reasons = []
    for control, (script, version) in held.tap_leaf_scripts.items():
        try:
            if version != TAPSCRIPT or control[0] & 0xFE != version:
                raise PsbtInputError(_STEP, f"leaf version {version:#04x} has no rules yet", index)
            verify_script_path(spending.script[2:], control, script)
            ways.append((*_leaf_stack(psbt, index, script), script, control))
        except PsbtInputError as error:
            reasons.append(error.reason)
        except TaprootError as error:
            reasons.append(str(error.args[1]))
    if not ways:
        raise PsbtInputError(_STEP, "; ".join(dict.fromkeys(reasons)) or "it has no signature", index)
    return min(ways, key=lambda way: sum(1 + len(item) for item in way))


def _leaf_stack(psbt: Psbt, index: int, script: bytes) -> tuple[bytes, ...]:
    held, leaf = psbt.inputs[index], leaf_hash(script)
    signatures = {}
    for (key, leaf_of), signature in held.tap_script_signatures.items():
        if leaf_of == leaf:
            _check_schnorr(psbt, index, key, signature, leaf)
            signatures[key] = signature
    keys = {hash160(key): key for key in (*signatures, *held.tap_derivations)}
    return _miniscript_stack(index, script, _Held(psbt, index, signatures, keys), tapscript=True)


def _check_schnorr(psbt: Psbt, index: int, key: bytes, signature: bytes, leaf: bytes = b"") -> None:
    sighash = signature[64] if len(signature) == 65 else 0
    if len(signature) == 65 and sighash == 0:
        raise PsbtInputError(_STEP, "a signature names its default type, which is not written", index)
    _check_type(psbt.inputs[index], index, sighash)
    if not schnorr_holds(key, schnorr_digest(psbt, index, sighash, leaf), signature[:64]):
        raise PsbtInputError(_STEP, f"the signature of {key.hex()} does not hold", index)
