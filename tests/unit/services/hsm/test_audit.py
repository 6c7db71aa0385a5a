"""The audit trail: whatever is done to the log is found, and nothing honest is taken for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.domain.hsm.audit import AuditEntry, encode_entry, parse_entry
from anya_actors.domain.hsm.errors import AuditBrokenError
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.append_log import LogFullError
from anya_actors.services.hsm import HsmService, HsmSettings
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import CHEAP, LocalHsm
from tests.unit.services.faulty_store import refusing
from tests.unit.services.hsm.faulty_hsm import FaultyHsm


async def filled(bench: LocalHsm) -> HsmService:
    hsm = await bench.start()
    for number in range(8):
        await hsm.create_key(f"k{number}", "ed25519", "alice", message_id=f"m{number}")
    return hsm


def records(bench: LocalHsm) -> list[bytes]:
    assert isinstance(bench.log, MemoryAppendLog)
    return bench.log._records


def rewritten(data: bytes, **changes: object) -> bytes:
    """The entry with another record, its hash left as it was."""
    entry = parse_entry(data, 0)
    record = msgspec.structs.replace(entry.record, **changes)
    return encode_entry(AuditEntry(entry.sequence, entry.previous, record, entry.hash))


def alter(log: list[bytes]) -> None:
    log[4] = rewritten(log[4], owner="bob")


def remove(log: list[bytes]) -> None:
    del log[4]


def reorder(log: list[bytes]) -> None:
    log[4], log[5] = log[5], log[4]


def insert(log: list[bytes]) -> None:
    log.insert(4, log[3])


def garble(log: list[bytes]) -> None:
    log[4] = b"\xff" + log[4]


def pad(log: list[bytes]) -> None:
    log[4] = msgspec.msgpack.encode([*msgspec.msgpack.decode(log[4]), "and more"])


TAMPERINGS = [alter, remove, reorder, insert, garble, pad]


@pytest.mark.parametrize("tamper", TAMPERINGS)
async def test_verification_names_the_first_entry_that_does_not_hold(
    bench: LocalHsm, tamper: Callable[[list[bytes]], None]
) -> None:
    hsm = await filled(bench)
    assert (await hsm.verify_audit()).entries == 11
    tamper(records(bench))
    with pytest.raises(AuditBrokenError, match="entry 5"):
        await hsm.verify_audit()


async def test_a_broken_trail_is_published_as_an_alert(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    alter(records(bench))
    with pytest.raises(AuditBrokenError):
        await hsm.verify_audit()
    store = await bench.stores.activate("hsm/main")
    published = [each.event for each in await store.events_after(0, 100)]
    assert any(b"SecurityAlertRaised" in event and b"entry 5" in event for event in published)


@pytest.mark.parametrize("kept", [0, 4, 10])
async def test_an_end_cut_off_while_the_hsm_lives_is_found(bench: LocalHsm, kept: int) -> None:
    hsm = await filled(bench)
    del records(bench)[kept:]
    with pytest.raises(AuditBrokenError, match=f"entry {kept + 1}:"):
        await hsm.verify_audit()
    with pytest.raises(AuditBrokenError):
        await hsm.issue_token("alice", ("system",), 60, message_id="t")


@pytest.mark.parametrize("kept", [0, 4, 10])
async def test_an_end_cut_off_between_two_lives_is_found_at_the_start(bench: LocalHsm, kept: int) -> None:
    hsm = await filled(bench)
    await hsm.close()
    del records(bench)[kept:]
    with pytest.raises(AuditBrokenError, match=f"entry {kept + 1}:"):
        await bench.start()


@pytest.mark.parametrize("tamper", TAMPERINGS)
async def test_an_altered_log_is_found_at_the_next_start(
    bench: LocalHsm, tamper: Callable[[list[bytes]], None]
) -> None:
    hsm = await filled(bench)
    await hsm.close()
    tamper(records(bench))
    with pytest.raises(AuditBrokenError):
        await bench.start()


async def test_a_chain_written_anew_from_the_middle_fails_the_checkpoint(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    await hsm.close()
    twin = LocalHsm()
    await filled(twin)
    records(bench)[:] = records(twin)
    with pytest.raises(AuditBrokenError, match="signed for another"):
        await bench.start()
    await twin.close()


async def test_a_checkpoint_follows_new_entries_in_its_time(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    assert (await hsm.verify_audit()).signed_entries == 0
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(5)
    assert (await hsm.verify_audit()).signed_entries == 11


async def test_a_checkpoint_follows_many_entries_at_once() -> None:
    bench = LocalHsm(settings=HsmSettings(kdf=CHEAP, checkpoint_entries=4))
    hsm = await filled(bench)
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(0)
    assert (await hsm.verify_audit()).signed_entries >= 8
    await bench.close()


async def test_a_store_that_fails_before_a_checkpoint_puts_checkpoints_off_and_does_not_end_them() -> None:
    bench = FaultyHsm()
    hsm = await bench.start()
    hsm._records.engine._cache.clear()  # the newest checkpoint is read from the store
    bench.faulty.last.around = failing = refusing("load")
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(0)
    assert failing.remaining == 0
    await bench.clock.advance(10)
    report = await hsm.verify_audit()
    assert report.signed_entries == report.entries > 0
    await bench.close()


async def test_entries_after_the_checkpoint_are_taken_up_after_a_crash(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(5)
    await hsm.create_key("late", "ed25519", "alice", message_id="late")
    bench.kill("hsm/main")
    again = await bench.start()
    report = await again.verify_audit()
    assert (report.entries, report.signed_entries) == (13, 11)
    assert (await again.audit(after=11))[0].key == "late"


async def test_a_key_whose_entry_was_lost_in_a_crash_gets_it_from_the_successor(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    log = records(bench)
    hsm._trail._log = _Gone()  # the process dies between the commit and the entry
    with pytest.raises(LogFullError):
        await hsm.create_key("late", "ed25519", "alice", message_id="late")
    assert len(log) == 11
    again = await bench.start()
    entries = [entry for entry in await again.audit() if entry.key == "late"]
    assert [(entry.operation, entry.outcome) for entry in entries] == [("create-key", "ok")]
    hsm._trail._log = MemoryAppendLog()


class _Gone(MemoryAppendLog):
    def __len__(self) -> int:
        return 11

    async def append(self, *records: bytes) -> int:
        raise LogFullError("audit", "no space left on device")


class _FullOnce(MemoryAppendLog):
    full = False
    happened = False

    async def append(self, *records: bytes) -> int:
        if self.full:
            self.full = False
            if self.happened:
                await super().append(*records)
            raise LogFullError("audit", "no space left on device")
        return await super().append(*records)


@pytest.mark.parametrize("happened", [False, True])
async def test_an_append_that_failed_leaves_the_chain_whole(happened: bool) -> None:
    log = _FullOnce()
    bench = LocalHsm(log=log)
    hsm = await bench.start()
    await hsm.create_key("ed", "ed25519", "alice", message_id="m1")
    session = await hsm.open_session("alice", ("ed",), message_id="m2")
    await bench.actors.call(session.actor, "public_key", "ed")
    log.full, log.happened = True, happened
    with pytest.raises(LogFullError):
        await bench.actors.call(session.actor, "sign", "ed", b"message", "ed25519")
    await bench.actors.call(session.actor, "sign", "ed", b"message", "ed25519")
    entries = await hsm.audit(limit=1000)
    assert [entry.operation for entry in entries].count("sign") == (2 if happened else 1)
    assert (await hsm.verify_audit()).entries == len(entries)
    await bench.close()


async def test_entries_are_read_in_pages(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    whole = await hsm.audit(0, 1000)
    paged, after = [], 0
    while page := await hsm.audit(after, 3):
        paged += page
        after = page[-1].sequence
    assert paged == whole
    assert [entry.sequence for entry in whole] == list(range(1, 12))
    assert await hsm.audit(11, 5) == []
    for after, limit in ((-1, 5), (0, 0), (0, 1001)):
        with pytest.raises(InvalidInputError):
            await hsm.audit(after, limit)


async def test_a_page_over_an_altered_entry_is_refused(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    alter(records(bench))
    assert len(await hsm.audit(0, 4)) == 4
    with pytest.raises(AuditBrokenError, match="entry 5"):
        await hsm.audit(3, 4)


async def test_no_entry_holds_a_payload(bench: LocalHsm) -> None:
    hsm = await filled(bench)
    session = await hsm.open_session("alice", ("k1",), message_id="open")
    message = b"the payload that nobody else may read"
    signature = await bench.actors.call(session.actor, "sign", "k1", message, "ed25519")
    everything = b"".join(records(bench))
    assert message not in everything
    assert signature not in everything


class _Counted(MemoryAppendLog):
    reads = 0

    async def read(self, start: int, limit: int) -> list[bytes]:
        self.reads += 1
        await asyncio.sleep(0)
        return await super().read(start, limit)


async def test_many_who_verify_at_once_share_the_work() -> None:
    # Each walk is seconds of work for the one process that audits every signature.
    log = _Counted()
    bench = LocalHsm(log=log)
    hsm = await filled(bench)
    before = log.reads
    first = asyncio.create_task(hsm.verify_audit())
    await asyncio.sleep(0)
    await hsm.create_key("late", "ed25519", "alice", message_id="late")
    reports = await asyncio.gather(*(hsm.verify_audit() for _ in range(50)))
    # Nobody is told of less than there was when he asked.
    assert {report.entries for report in reports} == {12}
    assert (await first).entries == 11
    assert log.reads - before <= 3
    alter(records(bench))
    broken = await asyncio.gather(*(hsm.verify_audit() for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in broken] == [AuditBrokenError] * 3
    await bench.close()


async def test_an_hsm_whose_log_takes_nothing_until_it_is_opened_anew_asks_to_be_restarted() -> None:
    log = _FullOnce()
    bench = LocalHsm(log=log)
    hsm = await bench.start()
    log.full = True
    with pytest.raises(LogFullError):
        await hsm.create_key("no good name", "ed25519", "alice", message_id="m1")
    await hsm.check_health()  # a full disk is no reason: the next try may succeed
    hsm._trail._log = _Lost(len(log))
    with pytest.raises(UnavailableError):
        await hsm.create_key("no good name", "ed25519", "alice", message_id="m2")
    with pytest.raises(UnavailableError, match="could not be cut back"):
        await hsm.check_health()
    hsm._trail._log = log
    await bench.close()


class _Lost(MemoryAppendLog):
    def __init__(self, length: int) -> None:
        super().__init__()
        self._length = length

    def __len__(self) -> int:
        return self._length

    async def append(self, *records: bytes) -> int:
        raise UnavailableError("log audit.log", "after a failed write it could not be cut back")
