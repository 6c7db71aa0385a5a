"""What a peer without a token may make the door hold: little, and not for long."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from anya_actors.serve import http_protocol

SLOW_S = 60.0
PIECE = b"200\r\n" + b" " * 0x200 + b"\r\n"


async def test_a_head_without_end_is_refused(open_door: Any) -> None:
    door = open_door()
    reader, writer = await asyncio.open_connection(door.host, door.port)
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    answer = asyncio.ensure_future(reader.read())
    while not answer.done():
        # Each byte of it would stay in the door's memory, ten times over.
        writer.write(b"x: 1\r\n" * 1000)
        await asyncio.wait([answer], timeout=0.01)
    assert (await answer).startswith(b"HTTP/1.1 431 ")
    writer.close()


async def test_one_header_without_end_is_refused(open_door: Any) -> None:
    door = open_door()
    reader, writer = await asyncio.open_connection(door.host, door.port)
    begun = b"GET /healthz HTTP/1.1\r\nx: "
    writer.write(begun + b"a" * (http_protocol.MAX_HEAD_BYTES + 1 - len(begun)))
    answer = await asyncio.wait_for(reader.read(), SLOW_S)
    assert answer.startswith(b"HTTP/1.1 431 ")
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTT", b"GET /healthz HTTP/1.1\r\nHost: x\r\n"])
async def test_a_head_that_never_ends_is_given_up(
    open_door: Any, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.05)
    door = open_door()
    reader, writer = await asyncio.open_connection(door.host, door.port)
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(), SLOW_S) == b""
    writer.close()


async def test_the_second_head_of_a_connection_is_given_up_as_well(
    open_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.05)
    door = open_door()
    reader, writer = await asyncio.open_connection(door.host, door.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\n")
    answer = await asyncio.wait_for(reader.read(), SLOW_S)
    assert answer.count(b"HTTP/1.1 200 ") == 1
    writer.close()


async def test_an_answer_that_takes_long_is_waited_for(
    open_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.05)
    door = open_door(body_timeout_s=0.2)
    reader, writer = await asyncio.open_connection(door.host, door.port)
    writer.write(b"POST /api/v1/bitcoin/wallets HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    answer = await asyncio.wait_for(reader.read(), SLOW_S)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_few_pipelined_requests_are_answered_and_thousands_are_not(open_door: Any) -> None:
    door = open_door()
    few, many = 10, 5000
    for count, expected in ((few, few), (many, 0)):
        reader, writer = await asyncio.open_connection(door.host, door.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * (count - 1))
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        answer = b""
        try:
            answer = await asyncio.wait_for(reader.read(), SLOW_S)
        except ConnectionResetError:
            assert count == many
        assert answer.count(b"HTTP/1.1 200 ") == expected
        writer.close()


async def test_bodies_outside_the_api_count_as_requests_too(open_door: Any, deadline: float) -> None:
    # Each may hold a megabyte for half a minute, and nobody has been asked for a token yet.
    door = open_door(max_in_flight=2, body_timeout_s=SLOW_S)
    waiting = []
    for path in ("/healthz", "/api/v1/events"):
        waiting.append((await asyncio.open_connection(door.host, door.port))[1])
        waiting[-1].write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{{".encode())
    async with door.client() as client:
        while "anya_http_in_flight 2.0" not in (await client.get("/metrics")).text:
            assert time.monotonic() < deadline
        assert (await client.post("/nowhere", json={})).status_code == 429
        assert (await client.get("/healthz")).status_code == 200
    for writer in waiting:
        writer.close()


def oversized(door: Any) -> bytes:
    """The head of a request whose body comes in pieces, and two of them, one more than is taken."""
    return (
        f"POST /api/v1/bitcoin/wallets HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {door.tokens.make('bitcoin:write')}\r\n"
        f"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    ) + PIECE * 2


async def test_a_refused_body_does_not_take_its_refusal_back(open_door: Any) -> None:
    door = open_door(max_body_bytes=1000)
    reader, writer = await asyncio.open_connection(door.host, door.port)
    writer.write(oversized(door))
    answer = asyncio.ensure_future(reader.read())
    while not answer.done():
        # Unread at the close, any of these would reset the connection.
        writer.write(PIECE)
        await asyncio.wait([answer], timeout=0.01)
    assert (await answer).startswith(b"HTTP/1.1 413 ")
    assert b"body-too-large" in await answer
    writer.close()


async def test_a_refused_body_that_never_ends_is_cut_off(
    open_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "LINGER_S", 0.05)
    door = open_door(max_body_bytes=1000)
    _, writer = await asyncio.open_connection(door.host, door.port)
    writer.write(oversized(door))
    async with asyncio.timeout(SLOW_S):
        while not writer.transport.is_closing():
            writer.write(PIECE)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
            await asyncio.sleep(0.01)
