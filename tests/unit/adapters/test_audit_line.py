"""The audit line: the same promises as the usual way, which it gives way to whenever it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import Any

import pytest

from anya_actors.adapters.linux import audit_line
from anya_actors.adapters.linux.audit_line import MAX_FRAME, DirectAudit, UnixAuditLine
from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.hsm.errors import SessionClosedError
from anya_actors.ports.actors import CallTimeoutError

RECORDS = (OperationRecord("sign", "k", 1, "ed25519", count=7, detail="d"),)


class Hsm:
    """The HSM's end, and the usual way to it."""

    def __init__(self) -> None:
        self.line = UnixAuditLine()
        self.name = ""
        self.appended: list[tuple[Any, ...]] = []
        self.usual: list[tuple[Any, ...]] = []
        self.error: BaseException | None = None
        self.gate: asyncio.Event | None = None

    async def append(
        self, session_id: str, records: tuple[OperationRecord, ...], seconds: float, *, message_id: str
    ) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.appended.append((session_id, records, seconds, message_id))

    async def call(
        self, actor: str, method: str, *args: Any, message_id: str | None = None, timeout_s: float = 30.0
    ) -> Any:
        if method == "audit_line":
            return self.name
        self.usual.append((actor, method, *args, message_id))
        return "the usual answer"

    async def start(self) -> DirectAudit:
        self.name = await self.line.open(self.append)
        return DirectAudit(self)


def append(actors: DirectAudit, message_id: str = "m", timeout_s: float = 30.0) -> Any:
    return actors.call(
        "hsm/main", "append_audit", "s", RECORDS, 0.5, message_id=message_id, timeout_s=timeout_s
    )


@pytest.fixture
def hsm() -> Hsm:
    return Hsm()


async def test_records_arrive_whole_and_many_at_once(hsm: Hsm) -> None:
    actors = await hsm.start()
    await asyncio.gather(*(append(actors, str(number)) for number in range(50)))
    assert sorted(hsm.appended) == sorted(("s", RECORDS, 0.5, str(number)) for number in range(50))
    assert not hsm.usual
    hsm.line.close()


async def test_a_line_that_was_reached_is_not_looked_for_at_the_first_entry(hsm: Hsm) -> None:
    actors = await hsm.start()
    await actors.reach()
    hsm.name = ""
    await append(actors)
    assert len(hsm.appended) == 1
    hsm.line.close()


async def test_every_other_call_goes_the_usual_way(hsm: Hsm) -> None:
    actors = await hsm.start()
    assert await actors.call("hsm/main", "release_keys", "s", message_id="m") == "the usual answer"
    assert await actors.call("other/main", "append_audit", message_id="m") == "the usual answer"
    hsm.line.close()


async def test_a_refusal_arrives_as_it_was_raised(hsm: Hsm) -> None:
    actors = await hsm.start()
    hsm.error = SessionClosedError("s", "closed on request")
    with pytest.raises(SessionClosedError) as caught:
        await append(actors)
    assert caught.value.args == ("s", "closed on request")
    assert not hsm.usual
    hsm.line.close()


async def test_a_fault_is_left_to_the_usual_way_which_reports_it(hsm: Hsm) -> None:
    actors = await hsm.start()
    hsm.error = RuntimeError("a fault of ours")
    await append(actors)
    assert hsm.usual == [("hsm/main", "append_audit", "s", RECORDS, 0.5, "m")]
    hsm.line.close()


async def test_what_a_broken_line_lost_is_asked_again_under_its_id(hsm: Hsm) -> None:
    actors = await hsm.start()
    await append(actors, "first")
    hsm.gate = asyncio.Event()
    waiting = asyncio.create_task(append(actors, "second"))
    await asyncio.sleep(0)
    hsm.line.close()
    await waiting
    assert [call[-1] for call in hsm.usual] == ["second"]


async def test_the_line_of_a_successor_is_found(hsm: Hsm) -> None:
    actors = await hsm.start()
    await append(actors, "first")
    hsm.line.close()
    hsm.line = UnixAuditLine()
    hsm.name = await hsm.line.open(hsm.append)
    while len(hsm.appended) < 2:
        await append(actors, "later")
    hsm.line.close()


@pytest.mark.parametrize("name", ["", "anya-hsm-nobody-listens-here"])
async def test_where_there_is_no_line_everything_goes_the_usual_way(hsm: Hsm, name: str) -> None:
    hsm.name = name
    actors = DirectAudit(hsm)
    await append(actors, "1")
    await append(actors, "2")
    assert [call[-1] for call in hsm.usual] == ["1", "2"]


async def test_an_answer_that_does_not_come_is_a_timeout_and_not_asked_twice(hsm: Hsm) -> None:
    actors = await hsm.start()
    hsm.gate = asyncio.Event()
    with pytest.raises(CallTimeoutError):
        await append(actors, timeout_s=0.01)
    assert not hsm.usual
    hsm.line.close()


async def test_another_users_processes_are_not_spoken_to(hsm: Hsm, monkeypatch: pytest.MonkeyPatch) -> None:
    actors = await hsm.start()
    monkeypatch.setattr(audit_line, "_user_of", lambda descriptor: os.getuid() + 1)
    await append(actors)
    assert hsm.usual
    assert not hsm.appended
    reader, writer = await _connected(hsm)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    hsm.line.close()


@pytest.mark.parametrize(
    "sent",
    [(MAX_FRAME + 1).to_bytes(4, "big") + bytes(8), (3).to_bytes(4, "big") + bytes(8) + b"\xff\xff\xff"],
)
async def test_nonsense_breaks_the_line_and_nothing_else(hsm: Hsm, sent: bytes) -> None:
    actors = await hsm.start()
    reader, writer = await _connected(hsm)
    writer.write(sent)
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    await append(actors)
    assert len(hsm.appended) == 1
    hsm.line.close()


async def _connected(hsm: Hsm) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(f"\0{hsm.name}")
    return await asyncio.open_unix_connection(sock=connection)
