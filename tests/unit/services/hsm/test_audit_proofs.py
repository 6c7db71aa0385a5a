"""Proofs about the audit trail, checked by what a user's command checks them with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.cli.audit_checks import check_checkpoint, check_consistency, check_inclusion
from anya_actors.cli.remote import Remote
from anya_actors.domain.hsm.audit import Checkpoint, Head, encode_entry, verify_entries
from anya_actors.domain.hsm.merkle_log import InvalidLogProofError
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService, audit_proofs
from anya_actors.testing.local_hsm import LocalHsm


async def filled(bench: LocalHsm, keys: int = 8) -> HsmService:
    hsm = await bench.start()
    for number in range(keys):
        await hsm.create_key(f"k{number}", "ed25519", "alice", message_id=f"m{number}")
    return hsm


def plain(view: Any) -> Any:
    """As it comes out of the HTTP API."""
    return msgspec.json.decode(msgspec.json.encode(view))


class Answering(Remote):
    """A platform that answers with what was asked before."""

    def __init__(self, answer: Any) -> None:
        super().__init__(None, None, True)
        object.__setattr__(self, "answer", answer)

    def get(self, path: str) -> Any:
        return self.answer  # type: ignore[attr-defined]


@pytest.fixture(params=[4, 1024])
def chunk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Proofs must not depend on how much is hashed at a time."""
    monkeypatch.setattr(audit_proofs, "CHUNK", request.param)
    return int(request.param)


async def test_every_entry_is_proved_under_the_newest_checkpoint(bench: LocalHsm, chunk: int) -> None:
    hsm = await filled(bench, 20)
    entries = (await hsm.audit_checkpoint()).entries
    for sequence in range(1, entries + 1):
        proof = await hsm.audit_inclusion(sequence)
        assert proof.entry.sequence == sequence
        check_inclusion(plain(proof), sequence)
        with pytest.raises(InvalidLogProofError):
            check_inclusion(plain(proof), sequence % entries + 1)
    for sequence in (0, -1, entries + 2):
        with pytest.raises(InvalidInputError):
            await hsm.audit_inclusion(sequence)


async def test_a_saved_checkpoint_still_holds_when_the_log_has_grown(
    bench: LocalHsm, chunk: int, tmp_path: Path
) -> None:
    hsm = await bench.start()
    saved = []
    for number in range(12):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(plain(await hsm.audit_checkpoint())))
        saved.append(file)
        await hsm.create_key(f"k{number}", "ed25519", "alice", message_id=f"m{number}")
    await hsm.close()
    hsm = await bench.start()
    key = (await hsm.audit_checkpoint()).key
    for file in saved:
        entries = json.loads(file.read_text())["entries"]
        proof = plain(await hsm.audit_consistency(entries))
        check_consistency(Answering(proof), file, key)


async def test_a_rewritten_log_does_not_pass_behind_a_saved_checkpoint(
    bench: LocalHsm, tmp_path: Path
) -> None:
    hsm = await filled(bench)
    file = tmp_path / "saved.json"
    file.write_text(json.dumps(plain(await hsm.audit_checkpoint())))
    key, entries = (await hsm.audit_checkpoint()).key, (await hsm.audit_checkpoint()).entries
    # Who holds the passphrase can write a new history; the old signature is the witness against it.
    assert isinstance(bench.log, MemoryAppendLog)
    forged = bench.log._records
    head, found = verify_entries(Head(), forged)
    changed = msgspec.structs.replace(found[3].record, owner="nobody")
    forged[3] = encode_entry(msgspec.structs.replace(found[3], record=changed))
    await hsm.create_key("late", "ed25519", "alice", message_id="late")
    proof = plain(await hsm.audit_consistency(entries))
    with pytest.raises(InvalidLogProofError):
        check_consistency(Answering(proof), file, key)
    assert head.entries == entries


async def test_a_checkpoint_of_another_key_or_text_is_refused(bench: LocalHsm, tmp_path: Path) -> None:
    hsm = await filled(bench)
    checkpoint = plain(await hsm.audit_checkpoint())
    check_checkpoint(checkpoint)
    for change in (
        {"entries": 3},
        {"root": "00" * 32},
        {"key": "11" * 32},
        {"at_unix_ms": 1},
        {"entries": "x"},
    ):
        with pytest.raises(InvalidLogProofError):
            check_checkpoint(checkpoint | change)
    file = tmp_path / "saved.json"
    file.write_text("no json")
    with pytest.raises(InvalidInputError):
        check_consistency(Answering(None), file, checkpoint["key"])


async def test_a_checkpoint_from_before_there_was_a_tree_is_signed_for_anew(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    old = Checkpoint(Head(3, b"h" * 32), 1, b"s" * 64)
    assert b"v1" in old.message
    assert b"v2" in msgspec.structs.replace(old, peaks=(b"p" * 32, b"q" * 32)).message
    assert (await hsm.verify_audit()).entries == (await hsm.audit_checkpoint()).entries
