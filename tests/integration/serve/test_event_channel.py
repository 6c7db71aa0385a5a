"""Events over a real WebSocket and a real event stream."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

READ = "events:read"


def url(door: Any, query: str = "") -> str:
    return f"ws://{door.host}:{door.port}/api/v1/events{query}"


async def receive(websocket: ClientConnection) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(await websocket.recv())
    return event


async def close_code(websocket: ClientConnection) -> tuple[int, str]:
    with pytest.raises(ConnectionClosed) as closed:
        await _read_on(websocket)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


async def _read_on(websocket: ClientConnection) -> NoReturn:
    while True:
        await websocket.recv()


async def refusal(target: str, **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused:
        async with connect(target, **options):
            pass
    response = refused.value.response
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, json.loads(response.body or b"{}")


async def test_an_event_reaches_a_websocket(open_door: Any) -> None:
    door = open_door()
    async with connect(url(door), additional_headers=door.bearer(READ)) as websocket:
        await door.publish()
        assert await receive(websocket) == {
            "cursor": 1,
            "source": "bitcoin/main",
            "event": {"type": "PaymentSent", "txid": "abababab"},
        }


async def test_a_listener_comes_back_and_misses_nothing(open_door: Any) -> None:
    door = open_door()
    async with connect(url(door), additional_headers=door.bearer(READ)) as websocket:
        assert websocket.response is not None
        assert websocket.response.headers["anya-event-cursor"] == "0"
        await door.publish()
        last = (await receive(websocket))["cursor"]
    await door.publish(3)
    async with connect(url(door, f"?after={last}"), additional_headers=door.bearer(READ)) as websocket:
        assert [(await receive(websocket))["cursor"] for _ in range(3)] == [2, 3, 4]


async def test_a_browser_gives_its_token_as_a_subprotocol(open_door: Any) -> None:
    door = open_door()
    async with connect(url(door), subprotocols=["bearer", door.tokens.make(READ)]) as websocket:  # type: ignore[list-item]
        assert websocket.subprotocol == "bearer", "the token is not sent back"
        await door.publish()
        assert (await receive(websocket))["cursor"] == 1


async def test_a_handshake_without_a_good_token_is_refused_with_a_problem(open_door: Any) -> None:
    door = open_door()
    assert (await refusal(url(door)))[1]["code"] == "missing-token"
    status, problem = await refusal(url(door), subprotocols=["bearer", "forged"])
    assert (status, problem["code"]) == (401, "invalid-token")
    status, problem = await refusal(url(door), additional_headers=door.bearer("system:read"))
    assert (status, problem["code"]) == (403, "missing-scope")
    # Never from the URL: it would end up in logs.
    status, _ = await refusal(url(door, f"?token={door.tokens.make(READ)}"))
    assert status == 401


@pytest.mark.parametrize("after", ["-1", "x", "1", "9" * 30])
async def test_a_cursor_that_the_bus_never_gave_is_refused(open_door: Any, after: str) -> None:
    door = open_door()
    status, problem = await refusal(url(door, f"?after={after}"), additional_headers=door.bearer(READ))
    assert (status, problem["code"]) == (422, "invalid-input")


async def test_one_listener_too_many_is_told_when_to_come_back(open_door: Any) -> None:
    door = open_door(max_event_clients=1)
    headers = door.bearer(READ)
    async with connect(url(door), additional_headers=headers):
        status, problem = await refusal(url(door), additional_headers=headers)
        assert (status, problem["code"]) == (429, "too-many-listeners")


async def test_a_listener_that_speaks_is_closed(open_door: Any) -> None:
    door = open_door()
    async with connect(url(door), additional_headers=door.bearer(READ)) as websocket:
        await websocket.send("hello?")
        assert (await close_code(websocket))[0] == 1003


async def test_a_listener_whose_token_ends_is_closed(open_door: Any) -> None:
    door = open_door(event_heartbeat_s=0.05)
    async with connect(url(door), additional_headers=door.bearer(READ)) as websocket:
        door.clock.ahead_ms = 601_000
        code, reason = await close_code(websocket)
        assert code == 4401
        assert reason.startswith("expired-token")


async def test_a_listener_that_does_not_read_is_dropped_and_others_go_on(
    open_door: Any, deadline: float
) -> None:
    door = open_door(event_send_timeout_s=0.2)
    slow = socket.create_connection((door.host, door.port))
    token = door.tokens.make(READ)
    slow.sendall(
        f"GET /api/v1/events HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Authorization: Bearer {token}\r\n\r\n".encode()
    )
    assert slow.recv(12) == b"HTTP/1.1 101"
    async with (
        door.client("system:read") as client,
        connect(url(door), additional_headers=door.bearer(READ), max_size=None) as fast,
    ):
        dropped = 'anya_event_listeners_dropped_total{reason="too-slow"} 1.0'
        while dropped not in (await client.get("/metrics")).text:
            await door.publish(20, 64 * 1024)
            cursors = [(await receive(fast))["cursor"] for _ in range(20)]
            assert cursors == sorted(cursors)
    slow.close()


async def test_a_door_that_stops_says_so_to_its_listeners(open_door: Any) -> None:
    door = open_door()
    async with connect(url(door), additional_headers=door.bearer(READ)) as websocket:
        await door.server.drain()
        assert (await close_code(websocket))[0] == 1001


# -- server-sent events --------------------------------------------------------------------------


async def lines(response: httpx.Response, *, until: str) -> AsyncIterator[str]:
    async for line in response.aiter_lines():
        yield line
        if line.startswith(until):
            return


async def test_an_event_reaches_an_event_stream(open_door: Any) -> None:
    door = open_door()
    await door.publish(2)
    async with door.client(READ) as client, client.stream("GET", "/api/v1/events?after=1") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["anya-event-cursor"] == "1"
        seen = [line async for line in lines(response, until="data")]
    assert seen[:3] == ["id: 1", "", "id: 2"]
    assert json.loads(seen[3].removeprefix("data: "))["cursor"] == 2


async def test_a_browser_that_reconnects_resumes(open_door: Any) -> None:
    door = open_door()
    await door.publish(3)
    async with (
        door.client(READ) as client,
        client.stream("GET", "/api/v1/events", headers={"Last-Event-ID": "2"}) as response,
    ):
        seen = [line async for line in lines(response, until="data")]
    assert "id: 3" in seen


async def test_a_stream_that_ends_says_why(open_door: Any) -> None:
    door = open_door(event_heartbeat_s=0.05)
    async with door.client(READ) as client, client.stream("GET", "/api/v1/events") as response:
        door.clock.ahead_ms = 601_000
        seen = [line async for line in response.aiter_lines()]
    assert "event: end" in seen
    assert any(line.startswith("data: expired-token") for line in seen)


async def test_a_stream_is_refused_with_a_problem(open_door: Any) -> None:
    door = open_door()
    async with door.client("system:read") as client:
        assert (await client.get("/api/v1/events")).json()["code"] == "missing-scope"
    async with door.client(READ) as client:
        assert (await client.get("/api/v1/events?after=5")).json()["code"] == "invalid-input"
        bad = await client.get("/api/v1/events", headers={"Last-Event-ID": "x"})
        assert bad.status_code == 422


async def test_a_stream_is_left_when_its_listener_goes(open_door: Any, deadline: float) -> None:
    door = open_door()
    async with door.client(READ) as client:
        async with client.stream("GET", "/api/v1/events"):
            assert "anya_event_listeners 1.0" in (await client.get("/metrics")).text
        while "anya_event_listeners 0.0" not in (await client.get("/metrics")).text:
            pass
