"""A session's process is started while its opening is still being audited, and gets nothing earlier."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.domain.hsm.errors import UnknownKeyError
from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm


class GatedLog(MemoryAppendLog):
    """A log whose disk takes as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()
        self.opened.set()

    async def append(self, *records: bytes) -> int:
        await self.opened.wait()
        return await super().append(*records)


class Coordinator:
    """Remembers which processes it was asked for."""

    def __init__(self) -> None:
        self.located: asyncio.Queue[str] = asyncio.Queue()

    async def locate(self, actor: str, timeout_s: float) -> None:
        self.located.put_nowait(actor)


async def started(log: MemoryAppendLog) -> tuple[LocalHsm, HsmService, Coordinator]:
    bench, coordinator = LocalHsm(log=log), Coordinator()
    hsm = await bench.start()
    bench.actors.place("coordinator", coordinator)
    await hsm.create_key("k", "ed25519", "alice", message_id="make")
    return bench, hsm, coordinator


async def test_the_process_is_asked_for_before_the_opening_is_audited_the_keys_after() -> None:
    log = GatedLog()
    bench, hsm, coordinator = await started(log)
    log.opened.clear()
    opening = asyncio.create_task(hsm.open_session("alice", ("k",), message_id="open"))
    session_id = (await coordinator.located.get()).partition("/")[2]
    releasing = asyncio.create_task(hsm.release_keys(session_id, bytes(range(32))))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not opening.done()
    assert not releasing.done()
    log.opened.set()
    assert (await opening).session_id == session_id
    await releasing
    done = [entry.operation for entry in await hsm.audit()][-2:]
    assert done == ["open-session", "release-keys"]
    await bench.close()


async def test_no_process_is_asked_for_when_the_opening_is_refused_or_repeated() -> None:
    bench, hsm, coordinator = await started(MemoryAppendLog())
    with pytest.raises(UnknownKeyError):
        await hsm.open_session("alice", ("other",), message_id="refused")
    first = await hsm.open_session("alice", ("k",), message_id="open")
    assert await hsm.open_session("alice", ("k",), message_id="open") == first
    assert await coordinator.located.get() == first.actor
    assert coordinator.located.empty()
    await bench.close()


async def test_one_process_is_asked_for_when_a_call_is_sent_twice_at_once() -> None:
    # The second one drew an id of its own, which no session has.
    bench, hsm, coordinator = await started(MemoryAppendLog())
    calls = (hsm.open_session("alice", ("k",), message_id="open") for _ in range(2))
    first, second = await asyncio.gather(*calls)
    assert first == second
    asked = {await coordinator.located.get(), await coordinator.located.get()}
    assert asked == {first.actor}
    await bench.close()


async def test_a_session_opens_also_when_no_process_can_be_asked_for() -> None:
    bench = LocalHsm()  # its actors know no coordinator
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="make")
    session = await hsm.open_session("alice", ("k",), message_id="open")
    assert len(await bench.actors.call(session.actor, "sign", "k", b"m", "ed25519")) == 64
    await bench.close()
