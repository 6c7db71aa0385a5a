"""Lines: calls arrive in their order, and what becomes of each is told, also where the line breaks."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.actors import line as lines
from anya_actors.actors.line import Line, LineBrokenError, Listener
from anya_actors.domain.hsm.errors import SessionClosedError


class Host:
    """The process that is called."""

    def __init__(self) -> None:
        self.listener = Listener(self.invoke)
        self.heard: list[bytes] = []
        self.calls: asyncio.Queue[bytes] = asyncio.Queue()
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def invoke(self, call: bytes) -> bytes:
        self.heard.append(call)
        self.calls.put_nowait(call)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return b"answer to " + call

    async def line(self) -> Line:
        return await Line.to(await self.listener.open())


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host = Host()
    yield host
    host.listener.close()
    await asyncio.sleep(0)


async def test_calls_arrive_in_their_order_and_each_gets_its_answer(host: Host) -> None:
    line = await host.line()
    calls = [str(number).encode() for number in range(100)]
    answers = await asyncio.gather(*map(line.send, calls))
    assert answers == [b"answer to " + call for call in calls]
    assert host.heard == calls


async def test_a_call_that_waits_holds_up_none_behind_it(host: Host) -> None:
    line = await host.line()
    host.gate.clear()
    slow = line.send(b"slow")
    await host.calls.get()
    host.gate = asyncio.Event()
    host.gate.set()
    assert await line.send(b"fast") == b"answer to fast"
    assert not slow.done()


async def test_calls_and_answers_of_many_megabytes_arrive_whole(host: Host) -> None:
    call = os.urandom(1 << 20) * 20
    assert await (await host.line()).send(call) == b"answer to " + call


async def test_one_process_listens_under_one_name(host: Host) -> None:
    assert len(set(await asyncio.gather(*(host.listener.open() for _ in range(5))))) == 1


async def test_an_error_arrives_as_it_was_raised(host: Host) -> None:
    line = await host.line()
    host.error = SessionClosedError("s", "closed on request")
    with pytest.raises(SessionClosedError) as caught:
        await line.send(b"call")
    assert caught.value.args == ("s", "closed on request")
    assert line.is_open


async def test_a_call_that_is_none_breaks_the_line(host: Host) -> None:
    line = await host.line()
    host.error = RuntimeError("not of ours")
    with pytest.raises(LineBrokenError):
        await line.send(b"call")
    assert not line.is_open


async def test_what_was_asked_when_the_line_broke_hears_of_it(host: Host) -> None:
    line = await host.line()
    host.gate.clear()
    asked = [line.send(b"first"), line.send(b"second")]
    await host.calls.get()
    await host.calls.get()
    host.listener.close()
    for each in asked:
        with pytest.raises(LineBrokenError):
            await each
    assert not line.is_open


async def test_a_line_that_is_retired_is_left_when_everything_is_answered(host: Host) -> None:
    line = await host.line()
    host.gate.clear()
    asked = line.send(b"first")
    given_up = line.send(b"second")
    await host.calls.get()
    await host.calls.get()
    given_up.cancel()
    line.retire()
    assert line.is_open
    host.gate.set()
    assert await asked == b"answer to first"
    assert not line.is_open


async def test_a_line_that_nobody_waits_at_is_left_at_once(host: Host) -> None:
    line = await host.line()
    line.retire()
    assert not line.is_open


async def test_a_line_is_of_the_loop_that_made_it(host: Host) -> None:
    line = await host.line()

    async def is_open() -> bool:
        return line.is_open

    assert not await asyncio.to_thread(asyncio.run, is_open())
    assert line.is_open


async def test_where_nobody_listens_there_is_no_line() -> None:
    with pytest.raises(OSError, match="refused"):
        await Line.to("anya-nobody-listens-here")


async def test_another_users_processes_are_not_spoken_to(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    name = await host.listener.open()
    monkeypatch.setattr(lines, "_user_of", lambda descriptor: os.getuid() + 1)
    with pytest.raises(PermissionError):
        await Line.to(name)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(f"\0{name}")
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    writer.write(bytes(17))
    with contextlib.suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()
    assert not host.heard


@given(contents=st.lists(st.binary(max_size=40), max_size=8), cuts=st.lists(st.integers(1, 50), min_size=1))
def test_frames_are_the_same_however_they_are_cut(contents: list[bytes], cuts: list[int]) -> None:
    heard: list[tuple[int, bool, bytes]] = []
    frames = lines._Frames(
        lambda _, number, failed, content: heard.append((number, failed, content)), lambda _: None
    )
    sent = [(number, bool(number % 2), content) for number, content in enumerate(contents)]
    data = b"".join(
        lines._HEAD.pack(len(content), number, failed) + content for number, failed, content in sent
    )
    for cut in itertools.cycle(cuts):
        if not data:
            break
        frames.data_received(data[:cut])
        data = data[cut:]
    assert heard == sent
