"""What is there after a storm, compared with what was acknowledged. Raises `BrokenPromiseError`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.audit import OK
from anya_actors.domain.hsm.nonces import commitment, session_of
from anya_actors.domain.hsm.views import AuditEntryView, KeyView
from anya_actors.domain.keys.musig2 import MusigError
from anya_actors.domain.keys.operations import (
    OPERATION_OF,
    MacRequest,
    MusigRound,
    SignRequest,
    VerifyMacRequest,
)
from anya_actors.ports.actors import Actors
from anya_actors.ports.clock import Clock
from anya_actors.services.hsm import HsmSettings
from anya_actors.services.tokens import verify_token
from anya_actors.testing.crash_safety import hold
from anya_actors.testing.hsm_storm.doors import HSM, TIMEOUT_S, RayDoor
from anya_actors.testing.hsm_storm.record import SIGNATURES, KnownKey, MusigPart, Record, decryption_of

BATCH: Final = 200
BY_SESSIONS: Final = frozenset({*OPERATION_OF.values(), "musig2-nonce", "musig2-sign"})


async def reckon(actors: Actors, record: Record, clock: Clock | None = None) -> dict[str, Any]:
    """Check every promise; the figures for the table."""
    report = await actors.call(HSM, "verify_audit", timeout_s=TIMEOUT_S)
    entries = await _entries(actors, report.entries)
    owners = {known.owner for known in record.keys.values()}
    for owner in sorted(owners):
        views: list[KeyView] = await actors.call(HSM, "keys", owner, timeout_s=TIMEOUT_S)
        check_keys(record, owner, views)
    check_audit(record, owners, entries)
    check_nonces(record)
    check_signatures(record)
    await _check_tokens(actors, record, (clock or SystemClock()).now_unix_ms() // 1000)
    for owner in sorted(owners):
        await _check_use(RayDoor(actors, owner), record, owner)
    return {
        "keys": len(record.keys),
        "versions": sum(len(known.versions) for known in record.keys.values()),
        "rotations": record.rotations.total(),
        "operations_answered": record.operations,
        "operations_attempted": record.attempted.total(),
        "encryptions": sum(len(known.sealed) for known in record.keys.values()),
        "signatures_and_codes": len(record.proofs),
        "musig2_nonces": len(record.nonces),
        "musig2_signatures": len(record.parts),
        "tokens": len(record.tokens),
        "audit_entries": report.entries,
        "refusals": dict(record.refusals.most_common()),
    }


async def _entries(actors: Actors, count: int) -> list[AuditEntryView]:
    entries: list[AuditEntryView] = []
    while len(entries) < count:
        entries += await actors.call(HSM, "audit", len(entries), 1000, timeout_s=TIMEOUT_S)
    return entries


def check_keys(record: Record, owner: str, views: Sequence[KeyView]) -> None:
    """Every key that was acknowledged is there, with every version, and no other."""
    known = {name: key for name, key in record.keys.items() if key.owner == owner}
    found = {view.name: view for view in views}
    hold(set(found) == set(known), f"{owner} has other keys: {sorted(set(found) ^ set(known))}")
    for name, key in known.items():
        key.learn(found[name])
        count = 1 + record.rotations[name]
        hold(
            len(found[name].versions) == count, f"{name} has {len(found[name].versions)} of {count} versions"
        )
        hold(found[name].enabled, f"{name} is disabled")


def check_audit(record: Record, owners: set[str], entries: Sequence[AuditEntryView]) -> None:
    """Answered is audited, audited was asked for, and each session acts after its keys came to it."""
    ours = [entry for entry in entries if entry.owner in owners and entry.outcome == OK]
    audited: Counter[Any] = Counter()
    released: set[str] = set()
    for entry in ours:
        if entry.operation == "release-keys":
            released.add(entry.actor)
        if entry.operation in BY_SESSIONS:
            hold(entry.actor in released, f"entry {entry.sequence} is of a session without keys")
            place = (entry.key, entry.operation, entry.algorithm)
            version = 0 if entry.operation.startswith("musig2") else entry.key_version
            audited[place, version] += entry.count
            known = record.keys.get(entry.key)
            hold(known is not None and known.owner == entry.owner, f"entry {entry.sequence}: not its key")
    for told, count in record.answered.items():
        hold(audited[told] >= count, f"{told}: {count} answered, {audited[told]} audited")
    asked: Counter[Any] = Counter()
    for (place, _), count in audited.items():
        asked[place] += count
    for place, count in asked.items():
        hold(count <= record.attempted[place], f"{place}: {count} audited, {record.attempted[place]} asked")
    _check_changes(record, owners, ours)
    _check_commitments(record, ours)


def _check_changes(record: Record, owners: set[str], ours: Sequence[AuditEntryView]) -> None:
    """Each creation, rotation and token has one entry; no more sessions than were asked for."""
    made = Counter((entry.operation, entry.key) for entry in ours)
    for name in record.keys:
        hold(made["create-key", name] == 1, f"{name}: {made['create-key', name]} creations audited")
        expected = record.rotations[name]
        hold(
            made["rotate-key", name] == expected,
            f"{name}: {made['rotate-key', name]} of {expected} rotations",
        )
    kinds = Counter((entry.operation, entry.owner) for entry in ours)
    for owner in owners:
        opened = kinds["open-session", owner]
        hold(opened <= record.sessions[owner], f"{owner}: {opened} sessions opened")
    tokens = sum(entry.operation == "issue-token" and entry.owner != "" for entry in ours)
    hold(tokens >= len(record.tokens), f"{tokens} of {len(record.tokens)} tokens audited")


def _check_commitments(record: Record, ours: Sequence[AuditEntryView]) -> None:
    """Each MuSig2 nonce was audited before it was shown, once, and signed with at most once."""
    drawn = Counter(entry.detail for entry in ours if entry.operation == "musig2-nonce")
    used = Counter(entry.detail for entry in ours if entry.operation == "musig2-sign")
    for counts, what in ((drawn, "drawn"), (used, "used")):
        twice = [one for one, count in counts.items() if count > 1]
        hold(not twice, f"MuSig2 nonces {what} twice: {twice}")
    for name, nonce in record.nonces:
        hold(drawn[commitment(nonce)] == 1, f"a MuSig2 nonce of {name} is not in the audit log")
    for part in record.parts:
        hold(used[commitment(part.public_nonce)] == 1, f"a signature of {part.key} is not in the audit log")


def check_nonces(record: Record) -> None:
    """No nonce that was ever seen came twice under one version of a key."""
    for known in record.keys.values():
        seen = Counter((answer.version, answer.data[:12]) for _, answer in known.sealed)
        twice = [place for place, count in seen.items() if count > 1]
        hold(not twice, f"{known.name}: nonces that came twice: {twice}")
        if known.counter_nonces:
            counted = all(nonce[:4] == bytes(4) for _, nonce in seen)
            hold(counted, f"{known.name}: a nonce was not counted")
    public = Counter(nonce for _, nonce in record.nonces)
    hold(all(count == 1 for count in public.values()), "a MuSig2 nonce was given twice")
    signed = Counter(part.public_nonce for part in record.parts)
    hold(all(count == 1 for count in signed.values()), "a MuSig2 nonce signed twice")


def check_signatures(record: Record) -> None:
    """Every signature holds under the acknowledged key of its version."""
    outside = LibraryKeyAlgorithms(SystemRandomness())
    for request, answer in record.proofs:
        if isinstance(request, SignRequest):
            known = record.keys[request.key]
            public_key = bytes.fromhex(known.versions[answer.version])
            facts = (request.message, answer.data, request.algorithm)
            outside.verify(known.key_type, public_key, *facts)
    for part in record.parts:
        keys = record.keys[part.key].versions.values()
        hold(any(_whole(bytes.fromhex(key), part) for key in keys), f"a part by {part.key} does not hold")


def _whole(public_key: bytes, part: MusigPart) -> bool:
    session = session_of(MusigRound((public_key,), part.public_nonce, part.message))
    try:
        session.verify(session.aggregate([part.part]))
    except MusigError:
        return False
    return True


async def _check_tokens(actors: Actors, record: Record, now: int) -> None:
    jwks: Mapping[str, Any] = await actors.call(HSM, "jwks", timeout_s=TIMEOUT_S)
    names = HsmSettings()
    ids = [
        verify_token(token, jwks, now, audience=names.audience, issuer=names.issuer).token_id
        for token in record.tokens.values()
    ]
    hold(len(set(ids)) == len(ids), "two tokens have one id")


async def _check_use(door: RayDoor, record: Record, owner: str) -> None:
    """Every key works: by each version opens what it encrypted and holds what it coded; the newest signs."""
    keys = [known for known in record.keys.values() if known.owner == owner]
    session = await door.open([known.name for known in keys], f"reckoning-{owner}")
    sealed = [pair for known in keys for pair in known.sealed]
    for start in range(0, len(sealed), BATCH):
        pairs = sealed[start : start + BATCH]
        answers = await door.perform(session, [decryption_of(*pair) for pair in pairs])
        for (request, _), answer in zip(pairs, answers, strict=True):
            hold(answer.data == request.plaintext, f"a ciphertext of {request.key} opened as something else")
    names = {known.name for known in keys}
    codes = [
        VerifyMacRequest(request.key, request.message, answer.data, request.algorithm, answer.version)
        for request, answer in record.proofs
        if isinstance(request, MacRequest) and request.key in names
    ]
    for start in range(0, len(codes), BATCH):
        await door.perform(session, codes[start : start + BATCH])
    await _sign_by_each(door, session, keys)
    await door.close(session, f"reckoned-{owner}")


async def _sign_by_each(door: RayDoor, session: str, keys: Sequence[KnownKey]) -> None:
    outside, digest = LibraryKeyAlgorithms(SystemRandomness()), bytes(range(32))
    for known in keys:
        if known.key_type in SIGNATURES:
            algorithm = SIGNATURES[known.key_type][0]
            (answer,) = await door.perform(session, [SignRequest(known.name, digest, algorithm)])
            public_key = bytes.fromhex(known.versions[answer.version])
            outside.verify(known.key_type, public_key, digest, answer.data, algorithm)
