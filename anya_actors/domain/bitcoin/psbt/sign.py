"""The signer's role (BIP174, BIP371): which signatures an input wants, and putting them in.

Nothing here holds a private key. `signature_requests` says what to sign with which key; whoever
holds the keys signs, and `with_signature` checks and keeps the result.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final, Literal

import msgspec

from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtInputError
from anya_actors.domain.bitcoin.psbt.fields import Global, In
from anya_actors.domain.bitcoin.psbt.maps import GlobalMap, InputMap
from anya_actors.domain.bitcoin.psbt.spending import (
    Rules,
    Spending,
    ecdsa_digest,
    schnorr_digest,
    sighash_of,
    spending_of,
)
from anya_actors.domain.bitcoin.script import ScriptEndsError, hash160, iterate_operations
from anya_actors.domain.bitcoin.sighash import Sighash
from anya_actors.domain.bitcoin.taproot import TAPSCRIPT, TaprootError, leaf_hash, output_of
from anya_actors.domain.keys.curve import ecdsa_holds, schnorr_holds
from anya_actors.domain.keys.key_origin import KeyOrigin

USUAL_SIGHASHES: Final = frozenset({Sighash.DEFAULT, Sighash.ALL})
"""Types that sign everything. Others let somebody change the transaction: allow them knowingly."""


class SignatureRequest(msgspec.Struct, frozen=True):
    """One signature that an input wants."""

    index: int
    algorithm: Literal["ecdsa", "schnorr"]
    public_key: bytes
    """33 or 65 bytes for ECDSA; for BIP340 the x-only key before any tweak."""
    digest: bytes
    sighash: int
    origin: KeyOrigin | None = None
    merkle_root: bytes | None = None
    """How a key path signer tweaks: None not at all, else with this root, ``b""`` without one (BIP86)."""
    leaf_hash: bytes = b""
    """Of the script that the signature is for; empty on the key path."""

    @property
    def verifying_key(self) -> bytes:
        """The key under which the signature must hold."""
        return (
            self.public_key if self.merkle_root is None else output_of(self.public_key, self.merkle_root).key
        )


Owns = Callable[[bytes, KeyOrigin | None], bool]


def signature_requests(
    psbt: Psbt,
    owns: Owns,
    *,
    public_keys: Collection[bytes] = (),
    sighashes: Collection[int] = USUAL_SIGHASHES,
) -> Iterator[SignatureRequest]:
    """Every signature still missing of keys that ``owns`` says yes to.

    Keys are those that the PSBT gives origins for, and ``public_keys`` (33 bytes) besides. Raises
    `PsbtInputError` for an input whose scripts, outputs or signature type do not fit; an input of
    which nothing is known, or that is final, wants none.
    """
    for index, held in enumerate(psbt.inputs):
        if held.is_final or psbt.spent_output(index) is None:
            continue
        yield from input_requests(psbt, index, owns, public_keys=public_keys, sighashes=sighashes)


def input_requests(
    psbt: Psbt,
    index: int,
    owns: Owns,
    *,
    public_keys: Collection[bytes] = (),
    sighashes: Collection[int] = USUAL_SIGHASHES,
) -> Iterator[SignatureRequest]:
    """As `signature_requests`, of one input."""
    spending = spending_of(psbt, index)
    sighash = sighash_of(psbt, index, spending.rules)
    wanted = _ecdsa_requests if spending.rules is not Rules.TAPROOT else _taproot_requests
    requests = [
        request
        for request in wanted(psbt, index, spending, sighash, public_keys)
        if owns(request.public_key, request.origin)
    ]
    if requests and sighash not in sighashes:
        raise PsbtInputError("signed", f"its signature type is {sighash:#04x}, which is not allowed", index)
    yield from requests


def _ecdsa_requests(
    psbt: Psbt, index: int, spending: Spending, sighash: int, public_keys: Collection[bytes]
) -> Iterator[SignatureRequest]:
    held = psbt.inputs[index]
    derivations = held.derivations
    in_script = _pushes(spending.script)
    for key in dict.fromkeys((*derivations, *public_keys)):
        if key in held.partial_signatures or not in_script & {key, hash160(key)}:
            continue
        if spending.rules is Rules.WITNESS_V0 and len(key) != 33:
            continue  # BIP143: uncompressed keys do not sign for witnesses
        digest = ecdsa_digest(psbt, index, spending, sighash)
        yield SignatureRequest(index, "ecdsa", key, digest, sighash, derivations.get(key))


def _taproot_requests(
    psbt: Psbt, index: int, spending: Spending, sighash: int, public_keys: Collection[bytes]
) -> Iterator[SignatureRequest]:
    held = psbt.inputs[index]
    output_key, internal = spending.script[2:], held.tap_internal_key
    derivations = held.tap_derivations
    known = dict.fromkeys((*derivations, *(key[-32:] for key in public_keys)))
    if held.tap_key_signature is None:
        digest = schnorr_digest(psbt, index, sighash)
        if internal is not None and internal in known:
            root = held.tap_merkle_root or b""
            _check_internal_key(index, internal, root, output_key)
            yield _schnorr(index, internal, digest, sighash, held, merkle_root=root)
        elif output_key in known:
            yield _schnorr(index, output_key, digest, sighash, held)
    signed = held.tap_script_signatures
    for script, version in dict.fromkeys(held.tap_leaf_scripts.values()):
        if version != TAPSCRIPT:
            continue
        leaf, in_script = leaf_hash(script, version), _pushes(script)
        for key in known:
            if in_script & {key, hash160(key)} and (key, leaf) not in signed:
                digest = schnorr_digest(psbt, index, sighash, leaf)
                yield _schnorr(index, key, digest, sighash, held, leaf=leaf)


def _schnorr(
    index: int,
    key: bytes,
    digest: bytes,
    sighash: int,
    held: InputMap,
    *,
    merkle_root: bytes | None = None,
    leaf: bytes = b"",
) -> SignatureRequest:
    derivation = held.tap_derivations.get(key)
    origin = None if derivation is None else derivation[1]
    return SignatureRequest(index, "schnorr", key, digest, sighash, origin, merkle_root, leaf)


def _check_internal_key(index: int, internal: bytes, root: bytes, output_key: bytes) -> None:
    try:
        found = output_of(internal, root).key
    except TaprootError as error:
        raise PsbtInputError("signed", str(error.args[1]), index) from error
    if found != output_key:
        raise PsbtInputError("signed", "its internal key and merkle root are not those of the output", index)


def _pushes(script: bytes) -> set[bytes]:
    found = set()
    try:
        for _, data in iterate_operations(script):
            if data:
                found.add(data)
    except ScriptEndsError:
        pass  # what cannot be read to its end cannot be spent; its keys may still sign
    return found


def with_signature(psbt: Psbt, request: SignatureRequest, signature: bytes) -> Psbt:
    """Keep a signature (DER, or 64 bytes) that was asked for; raises `PsbtInputError` if it does not hold."""
    if request.algorithm == "ecdsa":
        holds = ecdsa_holds(request.public_key, request.digest, signature)
    else:
        holds = schnorr_holds(request.verifying_key, request.digest, signature)
    if not holds:
        raise PsbtInputError("signed", "the signature is not one of its digest by this key", request.index)
    held = psbt.inputs[request.index]
    if request.algorithm == "ecdsa":
        changed = held.with_value(In.PARTIAL_SIG, signature + bytes((request.sighash,)), request.public_key)
    else:
        value = signature + (bytes((request.sighash,)) if request.sighash else b"")
        if request.leaf_hash:
            changed = held.with_value(In.TAP_SCRIPT_SIG, value, request.public_key + request.leaf_hash)
        else:
            changed = held.with_value(In.TAP_KEY_SIG, value)
    return note_signature(psbt.with_input(request.index, changed), request.sighash)


def note_signature(psbt: Psbt, sighash: int) -> Psbt:
    """Close what a signature of this type fixes to further changes (BIP370, the flags of version 2)."""
    value = psbt.globals.value(Global.TX_MODIFIABLE)
    if psbt.version == 0 or value is None:
        return psbt
    flags, kind = value[0], sighash & 0x1F
    if not sighash & 0x80:
        flags &= ~1
    if kind != Sighash.NONE:
        flags &= ~2
    if kind == Sighash.SINGLE:
        flags |= 4
    if flags == value[0]:
        return psbt
    header: GlobalMap = psbt.globals.with_value(Global.TX_MODIFIABLE, bytes((flags,)))
    return Psbt(header, psbt.inputs, psbt.outputs)


Sign = Callable[[SignatureRequest], bytes]


def sign_psbt(psbt: Psbt, owns: Owns, sign: Sign, *, public_keys: Collection[bytes] = ()) -> Psbt:
    """Ask ``sign`` for every missing signature of keys that ``owns`` says yes to, and keep them."""
    for request in list(signature_requests(psbt, owns, public_keys=public_keys)):
        psbt = with_signature(psbt, request, sign(request))
    return psbt
