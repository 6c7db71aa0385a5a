"""Fee estimates over stops, SIGKILL, damage and age: real processes and files."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec.structs import replace

from anya_actors.domain.bitcoin.kept_fees import MAX_AGE_MS, encode_estimates, read_estimates
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode

PROGRAM = Path(__file__).with_name("node_process.py")
MOST_POLLS = 10_000

CookieOf = Callable[[str], tuple[str, str]]
MakeNode = Callable[..., EmbeddedNode]


class Client:
    """Calls of one node."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, name: str, *params: Any) -> Any:
        reply = (await self._client.post("/", json={"id": 1, "method": name, "params": params})).json()
        assert reply["error"] is None, reply["error"]
        return reply["result"]

    async def live(self, blocks: int) -> None:
        """Blocks with payments of one feerate, each confirmed in the next."""
        address = await self.call("getnewaddress")
        for _ in range(blocks):
            await self.call("send", {address: 0.1}, None, None, 12)
            await self.call("generatetoaddress", 1, address)


@asynccontextmanager
async def _client(url: str, auth: tuple[str, str]) -> AsyncIterator[Client]:
    async with httpx.AsyncClient(base_url=url, auth=auth, timeout=60.0) as client:
        yield Client(client)


@asynccontextmanager
async def _process(
    data_dir: Path, cookie_of: CookieOf, last: int, fee_interval_s: float
) -> AsyncIterator[Client]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(data_dir), str(fee_interval_s), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url, cookie = (await process.stdout.readline()).decode().split()
        async with _client(url, cookie_of(cookie)) as client:
            yield client
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(last)
        await process.wait()


def _wait_written_anew(path: Path) -> None:
    # Twice: the first may have been begun before this was asked for.
    for _ in range(2):
        before, polls = path.stat().st_mtime_ns, 0
        while path.stat().st_mtime_ns == before and polls < MOST_POLLS:
            time.sleep(0.01)
            polls += 1


@pytest.mark.timeout(300)
async def test_estimates_come_back_after_a_stop_and_after_sigkill(
    tmp_path: Path, cookie_of: CookieOf
) -> None:
    async with _process(tmp_path, cookie_of, signal.SIGTERM, 3600.0) as node:
        assert "feerate" not in await node.call("estimatesmartfee", 2)
        address = await node.call("getnewaddress")
        await node.call("generatetoaddress", 110, address)
        await node.live(26)
        found = await node.call("estimatesmartfee", 2)
        assert found["feerate"] == pytest.approx(0.00012, rel=0.02)
    async with _process(tmp_path, cookie_of, signal.SIGKILL, 0.05) as node:
        assert await node.call("estimatesmartfee", 2) == found
        raw = await node.call("estimaterawfee", 2)
        await node.live(3)
        after, smart = await node.call("estimaterawfee", 2), await node.call("estimatesmartfee", 2)
        assert after != raw
        await asyncio.to_thread(_wait_written_anew, tmp_path / "fee_estimates")
    async with _process(tmp_path, cookie_of, signal.SIGKILL, 3600.0) as node:
        assert await node.call("estimaterawfee", 2) == after
        assert await node.call("estimatesmartfee", 2) == smart


async def _served(node: EmbeddedNode, cookie_of: CookieOf) -> Any:
    addresses = await node.start()
    try:
        async with _client(addresses.bitcoin_rpc, cookie_of(addresses.bitcoin_cookie)) as client:
            return await client.call("estimaterawfee", 2)
    finally:
        await node.close()


async def test_damaged_and_old_estimates_are_refused_by_name_and_the_node_starts(
    make_node: MakeNode, tmp_path: Path, cookie_of: CookieOf, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    nothing = await _served(make_node(), cookie_of)
    file = tmp_path / "node" / "fee_estimates"
    good = file.read_bytes()
    assert os.stat(file).st_mode & 0o777 == 0o600
    assert not caplog.records
    file.write_bytes(good[:100])
    assert await _served(make_node(), cookie_of) == nothing
    assert "damaged-fee-estimates" in caplog.text
    caplog.clear()
    # It has been written again, whole.
    kept = read_estimates(file.read_bytes(), 0)
    file.write_bytes(encode_estimates(replace(kept, written_unix_ms=kept.written_unix_ms - MAX_AGE_MS - 1)))
    assert await _served(make_node(), cookie_of) == nothing
    assert "stale-fee-estimates" in caplog.text
