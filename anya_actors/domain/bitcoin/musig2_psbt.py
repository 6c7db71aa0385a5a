"""MuSig2 in PSBTs (BIP373): which keys sign an input together, their nonces, parts and signature.

Each signer adds a nonce to every PSBT first, and a part only once all nonces are there; what others
added is checked as it comes, so that a wrong part names its signer.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from anya_actors.domain.bitcoin.musig2 import derive, path_tweaks, taproot_tweak
from anya_actors.domain.bitcoin.psbt.document import Psbt
from anya_actors.domain.bitcoin.psbt.errors import PsbtInputError
from anya_actors.domain.bitcoin.psbt.fields import In
from anya_actors.domain.bitcoin.psbt.maps import InputMap
from anya_actors.domain.bitcoin.psbt.sign import USUAL_SIGHASHES
from anya_actors.domain.bitcoin.script import ScriptType, classify, hash160
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    taproot_key_path_sighash,
    taproot_script_path_sighash,
)
from anya_actors.domain.bitcoin.taproot import leaf_hash
from anya_actors.domain.keys.musig2 import (
    AggregateKey,
    Session,
    aggregate,
    aggregate_nonces,
    read_public_nonce,
)
from anya_actors.domain.keys.operations import MusigRound


@dataclass(frozen=True)
class SharedKey:
    """A key that several sign with: an output key, or one in the script with this ``leaf_hash``.

    ``tweaks`` lead to it from the aggregate of ``participants``; True marks an x-only one.
    """

    participants: tuple[bytes, ...]
    tweaks: tuple[tuple[bytes, bool], ...]
    key: AggregateKey
    leaf_hash: bytes = b""

    def key_data(self, participant: bytes) -> bytes:
        """By what a participant's nonce and part are filed: the key as tweaked, not the aggregate."""
        return participant + self.key.public_key + self.leaf_hash


def shared_keys(psbt: Psbt, index: int) -> tuple[SharedKey, ...]:
    """All keys of an input that its PSBT knows as MuSig2 aggregates.

    Raises `PsbtInputError` if the participants of one do not make the key they are filed under, and
    `InvalidContributionError` for a participant's key that is none.
    """
    held, spent = psbt.inputs[index], psbt.spent_output(index)
    if spent is None or classify(spent.script_pubkey) is not ScriptType.WITNESS_V1_TAPROOT:
        return ()
    found: list[SharedKey] = []
    for name, participants in held.musig2_participants.items():
        root = aggregate(participants)
        if root.public_key != name:
            raise PsbtInputError("signed", "MuSig2 participants do not make their aggregate key", index)
        for path in _paths(held, name):
            tweaks = tuple((tweak, False) for tweak in path_tweaks(root, path))
            child = SharedKey(participants, tweaks, derive(root, path))
            found += _uses(held, child, spent.script_pubkey[2:], index)
    return tuple(found)


def _paths(held: InputMap, name: bytes) -> list[tuple[int, ...]]:
    """The aggregate's own, and those by which the input derives keys from it (BIP328)."""
    fingerprint = hash160(name)[:4]
    origins = [origin for _, origin in held.tap_derivations.values() if origin.fingerprint == fingerprint]
    unhardened = [origin.path for origin in origins if all(step < 1 << 31 for step in origin.path)]
    return list(dict.fromkeys([(), *unhardened]))


def _uses(held: InputMap, child: SharedKey, output_key: bytes, index: int) -> Iterator[SharedKey]:
    x = child.key.x_only
    if x == output_key:
        yield child
    if x == held.tap_internal_key:
        tweak = taproot_tweak(child.key, held.tap_merkle_root or b"")
        tweaked = child.key.tweak(tweak, x_only=True)
        if tweaked.x_only != output_key:
            raise PsbtInputError("signed", "internal key and merkle root do not make the output key", index)
        yield SharedKey(child.participants, (*child.tweaks, (tweak, True)), tweaked)
    for script, version in held.tap_leaf_scripts.values():
        if b"\x20" + x in script:
            yield SharedKey(child.participants, child.tweaks, child.key, leaf_hash(script, version))


def message_of(psbt: Psbt, index: int, shared: SharedKey) -> bytes:
    """What the participants sign; raises `PsbtInputError` while a spent output is missing."""
    spent = psbt.spent_outputs()
    whole = [output for output in spent if output is not None]
    if len(whole) != len(spent):
        raise PsbtInputError("signed", "the output that some input spends is missing", index)
    sighash = psbt.inputs[index].sighash_type or Sighash.DEFAULT
    if not shared.leaf_hash:
        return taproot_key_path_sighash(psbt.unsigned_transaction, index, whole, sighash)
    return taproot_script_path_sighash(psbt.unsigned_transaction, index, whole, shared.leaf_hash, sighash)


def with_nonce(psbt: Psbt, index: int, shared: SharedKey, participant: bytes, nonce: bytes) -> Psbt:
    """The PSBT with a participant's public nonce; one that is there already is never replaced."""
    read_public_nonce(nonce, _place(shared, participant, index))
    held = psbt.inputs[index]
    if held.value(In.MUSIG2_PUB_NONCE, shared.key_data(participant)) not in (None, nonce):
        raise PsbtInputError("signed", "the participant's MuSig2 nonce is there already", index)
    return psbt.with_input(index, held.with_value(In.MUSIG2_PUB_NONCE, nonce, shared.key_data(participant)))


def _place(shared: SharedKey, participant: bytes, index: int) -> int:
    if participant not in shared.participants:
        raise PsbtInputError("signed", "the signer is no participant of the MuSig2 key", index)
    return shared.participants.index(participant)


def round_of(
    psbt: Psbt, index: int, shared: SharedKey, *, sighashes: Collection[int] = USUAL_SIGHASHES
) -> MusigRound | None:
    """What each participant needs for signing its part, or None while nonces are missing.

    Raises `PsbtInputError` for a signature type that is not one of ``sighashes``: others let somebody
    change the transaction.
    """
    held = psbt.inputs[index]
    if (held.sighash_type or Sighash.DEFAULT) not in sighashes:
        raise PsbtInputError("signed", f"its signature type {held.sighash_type:#04x} is not allowed", index)
    nonces = [held.value(In.MUSIG2_PUB_NONCE, shared.key_data(one)) for one in shared.participants]
    whole = [nonce for nonce in nonces if nonce is not None]
    if len(whole) != len(nonces):
        return None
    message = message_of(psbt, index, shared)
    return MusigRound(shared.participants, aggregate_nonces(whole), message, shared.tweaks)


def with_part(psbt: Psbt, index: int, shared: SharedKey, participant: bytes, part: bytes) -> Psbt:
    """The PSBT with a participant's partial signature; raises `InvalidContributionError` if it is wrong."""
    place, nonce = _place(shared, participant, index), b""
    held = psbt.inputs[index].with_value(In.MUSIG2_PARTIAL_SIG, part, shared.key_data(participant))
    nonce = held.value(In.MUSIG2_PUB_NONCE, shared.key_data(participant)) or b""
    _session(psbt, index, shared).verify_partial(part, nonce, participant, place)
    return psbt.with_input(index, held)


def _session(psbt: Psbt, index: int, shared: SharedKey) -> Session:
    signing = round_of(psbt, index, shared, sighashes=tuple(Sighash))
    if signing is None:
        raise PsbtInputError("signed", "MuSig2 nonces of some participants are missing", index)
    return Session(shared.key, signing.aggregate_nonce, signing.message)


def with_signature(psbt: Psbt, index: int, shared: SharedKey) -> Psbt:
    """The PSBT with the signature that all parts make; itself while some are missing.

    Every part is checked again: other software may have added it. Raises `InvalidContributionError`
    naming the first participant whose part is wrong.
    """
    held = psbt.inputs[index]
    parts = [held.value(In.MUSIG2_PARTIAL_SIG, shared.key_data(one)) for one in shared.participants]
    whole = [part for part in parts if part is not None]
    if len(whole) != len(parts):
        return psbt
    session = _session(psbt, index, shared)
    for place, (participant, part) in enumerate(zip(shared.participants, whole, strict=True)):
        nonce = held.value(In.MUSIG2_PUB_NONCE, shared.key_data(participant)) or b""
        session.verify_partial(part, nonce, participant, place)
    signature = session.aggregate(whole)
    session.verify(signature)
    sighash = held.sighash_type or Sighash.DEFAULT
    signature += bytes((sighash,)) if sighash else b""
    if not shared.leaf_hash:
        return psbt.with_input(index, held.with_value(In.TAP_KEY_SIG, signature))
    data = shared.key.x_only + shared.leaf_hash
    return psbt.with_input(index, held.with_value(In.TAP_SCRIPT_SIG, signature, data))
