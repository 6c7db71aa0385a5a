"""What a peer may make the Transit listener hold: little, and not for long."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from typing import Any

import pytest
import uvicorn

from anya_actors.serve import http_protocol
from anya_actors.serve.server import uvicorn_config
from anya_actors.serve.settings import Listen

SLOW_S = 60.0
BODY = b'{"input":"YQ=="}'
HASH = b"POST /v1/transit/hash/sha2-256 HTTP/1.1\r\nHost: x\r\n"
LEADER = b"GET /v1/sys/leader HTTP/1.1\r\nHost: x\r\n\r\n"
SUM = hashlib.sha256(b"a").hexdigest().encode()


@pytest.fixture
def transit(open_door: Any) -> Any:
    def open_(**settings: Any) -> Any:
        return open_door(Listen("127.0.0.1", 0, drain_s=2, transit_port=0), **settings)

    return open_


def token(door: Any) -> bytes:
    return f"X-Vault-Token: {door.tokens.make('security:read')}\r\n".encode()


async def dial(door: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(*door.server.transit_address)


async def end_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the listener ends the connection, orderly or by a reset."""
    found = b""
    try:
        while part := await asyncio.wait_for(reader.read(65536), SLOW_S):
            found += part
    except ConnectionResetError:
        pass
    return found


@pytest.mark.parametrize("sent", [b"", b"LIST /v1/tr", HASH, LEADER + b"GET /v1/sys/lea"])
async def test_a_head_that_never_ends_is_given_up(
    transit: Any, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.05)
    reader, writer = await dial(transit())
    writer.write(sent)
    assert (await end_of(reader)).count(b"HTTP/1.1 200 ") == sent.count(b"\r\n\r\n")
    writer.close()


async def test_a_head_that_trickles_gets_no_more_time(transit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_TIMEOUT_S", 0.1)
    reader, writer = await dial(transit())
    writer.write(HASH)
    ended = asyncio.ensure_future(end_of(reader))
    while not ended.done():
        writer.write(b"x: 1\r\n")
        await asyncio.wait([ended], timeout=0.01)
    assert await ended == b""
    writer.close()


@pytest.mark.parametrize("header", [b"x: %s" % (b"a" * 600_000), b"x: 1\r\n" * 100_000])
async def test_a_head_that_is_too_large_is_refused(transit: Any, header: bytes) -> None:
    reader, writer = await dial(transit())
    writer.write(HASH + header)
    assert (await end_of(reader)).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_a_slow_body_is_refused_in_vaults_form(transit: Any) -> None:
    door = transit(body_timeout_s=0.05)
    reader, writer = await dial(door)
    writer.write(HASH + token(door) + b"Content-Length: 16\r\n\r\n{")
    answer = await end_of(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'{"errors":["the body did not arrive within 0.05 s"]}' in answer
    writer.close()


async def test_a_body_that_nobody_reads_does_not_hold_the_connection(
    transit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "BODY_TIMEOUT_S", 0.1)
    reader, writer = await dial(transit())
    writer.write(HASH + b"Content-Length: 1000000\r\n\r\n")
    ended = asyncio.ensure_future(end_of(reader))
    while not ended.done():
        writer.write(b" ")
        await asyncio.wait([ended], timeout=0.01)
    assert (await ended).startswith(b"HTTP/1.1 403 ")
    writer.close()


@pytest.mark.parametrize("framing", ["announced", "chunked"])
async def test_a_body_that_is_too_large_is_refused_before_its_end(transit: Any, framing: str) -> None:
    door = transit(max_body_bytes=1000)
    reader, writer = await dial(door)
    if framing == "announced":
        writer.write(HASH + token(door) + b"Content-Length: 1001\r\n\r\n")
    else:
        writer.write(HASH + token(door) + b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b" " * 1001)
    answer = await end_of(reader)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    writer.close()


async def test_pipelined_requests_are_answered_in_order(transit: Any) -> None:
    door = transit()
    reader, writer = await dial(door)
    ask = HASH + token(door) + b"Content-Length: 16\r\n"
    writer.write(LEADER + (ask + b"\r\n" + BODY) * 20 + ask + b"Connection: close\r\n\r\n" + BODY)
    assert (await end_of(reader)).count(SUM) == 21
    writer.close()


async def much(scope: Any, _: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a" * (32 << 20)})


@pytest.mark.parametrize("any_method", [True, False])
async def test_a_peer_that_takes_no_answer_is_dropped(
    any_method: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_protocol, "WRITE_TIMEOUT_S", 0.05)
    held = socket.create_server(("127.0.0.1", 0))
    config = uvicorn_config(much, Listen("127.0.0.1", 0), any_method=any_method)
    config.lifespan, gone = "off", asyncio.Event()
    protocol: Any = config.http_protocol_class

    class Watched(protocol):  # type: ignore[misc]  # one of two
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            gone.set()

    config.http_protocol_class = Watched
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[held]))
    _, writer = await asyncio.open_connection(*held.getsockname())
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's transport has it
    writer.write(LEADER)
    await asyncio.wait_for(gone.wait(), SLOW_S)
    writer.close()
    server.should_exit = True
    await serving
    held.close()


async def test_a_connection_that_idles_is_closed() -> None:
    held = socket.create_server(("127.0.0.1", 0))
    config = uvicorn_config(much, Listen("127.0.0.1", 0), any_method=True)
    config.lifespan, config.timeout_keep_alive = "off", 0
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[held]))
    reader, writer = await asyncio.open_connection(*held.getsockname())
    writer.write(LEADER)
    assert (await end_of(reader)).startswith(b"HTTP/1.1 200 ")
    writer.close()
    server.should_exit = True
    await serving
    held.close()


async def test_a_request_in_flight_is_answered_before_the_listener_ends(transit: Any) -> None:
    door = transit()
    reader, writer = await dial(door)
    writer.write(HASH + token(door) + b"Expect: 100-continue\r\nContent-Length: 16\r\n\r\n")
    assert b"100 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SLOW_S)
    idle, idle_writer = await dial(door)
    draining = asyncio.ensure_future(door.server.drain())
    assert await end_of(idle) == b""  # so it drains, and takes no more
    with pytest.raises(ConnectionRefusedError):
        await dial(door)
    writer.write(BODY)
    assert SUM in await end_of(reader)
    await draining
    for each in (writer, idle_writer):
        each.close()


async def test_an_upgrade_to_websocket_is_not_understood(transit: Any) -> None:
    reader, writer = await dial(transit())
    writer.write(LEADER[:-2] + b"Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n")
    assert b" 101 " not in await end_of(reader)
    writer.close()
