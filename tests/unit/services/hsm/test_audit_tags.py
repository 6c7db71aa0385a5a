"""Entries that no checkpoint covers yet: who can write the log and has no key cannot write them anew."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.cli.audit_checks import check_inclusion
from anya_actors.domain.hsm.audit import (
    SEALED,
    TAGGED,
    Head,
    chain,
    encode_entry,
    parse_entry,
    verify_entries,
)
from anya_actors.domain.hsm.errors import AuditBrokenError, SealedError, WrongPassphraseError
from anya_actors.domain.machine import UnavailableError
from anya_actors.services.hsm import HsmService
from anya_actors.services.hsm.audit import AuditTrail
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm
from tests.unit.services.faulty_store import refusing
from tests.unit.services.hsm.faulty_hsm import FaultyHsm

OPEN = b"a passphrase of a test"


def records(bench: LocalHsm) -> list[bytes]:
    assert isinstance(bench.log, MemoryAppendLog)
    return bench.log._records


def untagged(data: bytes) -> bytes:
    return encode_entry(msgspec.structs.replace(parse_entry(data, 0), tag=b""))


async def crashed(bench: LocalHsm) -> list[bytes]:
    """The log of an HSM that was killed: 11 entries are signed for, and three more are not."""
    hsm = await bench.start()
    for number in range(8):
        await hsm.create_key(f"k{number}", "ed25519", "alice", message_id=f"m{number}")
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(5)
    for number in range(3):
        await hsm.create_key(f"late{number}", "ed25519", "alice", message_id=f"late{number}")
    assert (await hsm.verify_audit()).signed_entries == 11
    bench.kill("hsm/main")
    log = records(bench)
    assert len(log) == 14
    return log


def forged(log: list[bytes], start: int, *, tags: bool) -> list[bytes]:
    """The entries from an index on, with another owner and with hashes that hold."""
    head, _ = verify_entries(Head(), log[:start])
    made = []
    for data in log[start:]:
        entry = parse_entry(data, 0)
        head, other = chain(head, msgspec.structs.replace(entry.record, owner="bob"))
        made.append(encode_entry(msgspec.structs.replace(other, tag=entry.tag if tags else b"")))
    return made


def rewrite(log: list[bytes]) -> None:
    log[12:] = forged(log, 12, tags=False)


def rewrite_with_the_tags_that_were_there(log: list[bytes]) -> None:
    log[12:] = forged(log, 12, tags=True)


def take_a_tag_off(log: list[bytes]) -> None:
    log[12] = untagged(log[12])


def remove_one_and_chain_the_rest_anew(log: list[bytes]) -> None:
    head, _ = verify_entries(Head(), log[:12])
    entry = parse_entry(log[13], 0)
    log[12:] = [encode_entry(msgspec.structs.replace(chain(head, entry.record)[1], tag=entry.tag))]


TAMPERINGS = [
    rewrite,
    rewrite_with_the_tags_that_were_there,
    take_a_tag_off,
    remove_one_and_chain_the_rest_anew,
]


@pytest.mark.parametrize("tamper", TAMPERINGS)
async def test_after_a_crash_young_entries_that_were_written_anew_are_found(
    bench: LocalHsm, tamper: Callable[[list[bytes]], None]
) -> None:
    tamper(await crashed(bench))
    with pytest.raises(AuditBrokenError, match=r"entry 13: .*(not the HSM's|lacks the tag)"):
        await bench.start()


@pytest.mark.parametrize("tag", [b"", b"0" * 16])
async def test_after_a_crash_an_entry_that_was_added_is_found(bench: LocalHsm, tag: bytes) -> None:
    log = await crashed(bench)
    head, entries = verify_entries(Head(), log)
    added = msgspec.structs.replace(entries[-1].record, request_id="another", owner="bob")
    log.append(encode_entry(msgspec.structs.replace(chain(head, added)[1], tag=tag)))
    with pytest.raises(AuditBrokenError, match="entry 15: "):
        await bench.start()


async def test_honest_young_entries_are_taken_up_after_a_crash(bench: LocalHsm) -> None:
    log = await crashed(bench)
    assert all(len(parse_entry(data, 0).tag) == 16 for data in log)
    hsm = await bench.start()
    assert (await hsm.verify_audit()).entries == 15


async def test_a_cut_of_the_youngest_entries_in_a_crash_is_what_no_tag_can_show(bench: LocalHsm) -> None:
    # As SECURITY.md says; a cut while the HSM lives is found, see test_audit.
    del (await crashed(bench))[12:]
    hsm = await bench.start()
    assert (await hsm.verify_audit()).entries == 13


@pytest.mark.parametrize("entry", [13, 14])
async def test_verification_of_a_living_hsm_names_the_entry_whose_tag_is_gone(
    bench: LocalHsm, entry: int
) -> None:
    log = await crashed(bench)
    hsm = await bench.start()
    whole = log[entry - 1]
    log[entry - 1] = untagged(whole)
    with pytest.raises(AuditBrokenError, match=rf"entry {entry}: .* lacks the tag"):
        await hsm.verify_audit()
    log[entry - 1] = encode_entry(msgspec.structs.replace(parse_entry(whole, 0), tag=bytes(16)))
    with pytest.raises(AuditBrokenError, match=rf"entry {entry}: .* not the HSM's"):
        await hsm.verify_audit()
    log[entry - 1] = whole
    await hsm.verify_audit()


async def test_before_its_first_entry_an_hsm_has_said_that_all_of_them_are_tagged(bench: LocalHsm) -> None:
    await bench.start()
    bench.kill("hsm/main")
    log = records(bench)
    log[:] = forged(log, 0, tags=False)
    with pytest.raises(AuditBrokenError, match="entry 1: "):
        await bench.start()


# -- sealed ------------------------------------------------------------------------------------------


async def refused_once(bench: LocalHsm, hsm: HsmService, name: str) -> None:
    """A passphrase that is wrong: that leaves an entry, also while the HSM is sealed."""
    bench.source.passphrase = b"another"
    with pytest.raises(WrongPassphraseError):
        await hsm.unseal("root", message_id=name)
    bench.source.passphrase = OPEN


def tags(bench: LocalHsm) -> list[bool]:
    return [bool(parse_entry(data, 0).tag) for data in records(bench)]


async def test_a_sealed_hsm_writes_without_tags_and_tags_again_when_it_is_unsealed(bench: LocalHsm) -> None:
    hsm = await bench.start()
    await hsm.seal("root", message_id="s")
    count = len(records(bench))
    assert all(tags(bench))
    await refused_once(bench, hsm, "u1")
    hsm = await bench.start()  # and again sealed, in another process
    await refused_once(bench, hsm, "u2")
    assert tags(bench)[count:] == [False, False]
    await hsm.verify_audit()
    await hsm.unseal("root", message_id="u3")
    assert all(tags(bench)[count + 2 :])
    await hsm.verify_audit()
    checkpoint = await hsm._checkpoints.stored()
    assert checkpoint is not None
    assert checkpoint.then == TAGGED  # at once: nobody gets five seconds to add what a sealed HSM might
    assert checkpoint.head.entries == len(records(bench))


async def test_what_was_done_to_tagged_entries_while_it_was_sealed_is_found_when_it_is_unsealed(
    bench: LocalHsm,
) -> None:
    hsm = await bench.start()
    await hsm.seal("root", message_id="s")
    await refused_once(bench, hsm, "u1")
    log = records(bench)
    stored = await hsm._checkpoints.stored()
    assert stored is not None
    assert (stored.then, stored.head.entries) == (SEALED, len(log) - 1)
    head, entries = verify_entries(Head(), log)
    false = chain(head, msgspec.structs.replace(entries[-1].record, request_id="x", owner="bob"))[1]
    log.append(encode_entry(msgspec.structs.replace(false, tag=bytes(16))))
    hsm = await bench.start()
    with pytest.raises(AuditBrokenError, match="not the HSM's"):
        await hsm.unseal("root", message_id="u")
    with pytest.raises(SealedError):
        await hsm.keys()


async def test_a_seal_that_could_not_be_stored_takes_no_entry_until_it_is() -> None:
    # A successor would hold the log to the last checkpoint, which says that every entry has a tag.
    bench = FaultyHsm()
    hsm = await bench.start()
    bench.faulty.last.around = refusing("commit", 2)
    with pytest.raises(UnavailableError):
        await hsm.seal("root", message_id="s")
    assert not hsm._trail.signs
    before = len(records(bench))
    with pytest.raises(UnavailableError):
        await hsm.unseal("root", message_id="u1")
    assert len(records(bench)) == before
    await refused_once(bench, hsm, "u2")
    await hsm.check_health()
    await hsm.unseal("root", message_id="u3")
    await hsm.verify_audit()
    bench.kill("hsm/main")
    await (await bench.start()).verify_audit()
    await bench.close()


# -- from before there were tags ---------------------------------------------------------------------


@pytest.fixture
async def old(bench: LocalHsm, monkeypatch: pytest.MonkeyPatch) -> LocalHsm:
    """An HSM whose log and checkpoint are of before there were tags, killed with entries not signed for."""
    with monkeypatch.context() as before:
        before.setattr(AuditTrail, "then", "")
        before.setattr("anya_actors.services.hsm.audit.chain", lambda head, record, key: chain(head, record))
        hsm = await bench.start()
        for number in range(4):
            await hsm.create_key(f"k{number}", "ed25519", "alice", message_id=f"m{number}")
        await hsm.audit_checkpoint()
        await hsm.create_key("late", "ed25519", "alice", message_id="late")
        bench.kill("hsm/main")
    return bench


async def test_a_log_from_before_there_were_tags_is_taken_up_and_goes_on_with_tags(old: LocalHsm) -> None:
    count = len(records(old))
    assert not any(tags(old))
    hsm = await old.start()
    await hsm.create_key("new", "ed25519", "alice", message_id="new")
    assert all(tags(old)[count:])
    report = await hsm.verify_audit()
    assert report.entries == len(records(old))
    for sequence in range(1, report.entries + 1):
        proof = msgspec.json.decode(msgspec.json.encode(await hsm.audit_inclusion(sequence)))
        check_inclusion(proof, sequence)
    old.kill("hsm/main")
    log = records(old)
    log[-1:] = forged(log, len(log) - 1, tags=False)
    with pytest.raises(AuditBrokenError, match=f"entry {len(log)}: "):
        await old.start()
