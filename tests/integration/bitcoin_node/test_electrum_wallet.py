"""Debian's Electrum, unchanged: a wallet syncs from the node, shows its balance, pays and is confirmed."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode

PROGRAM = shutil.which("electrum")
pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="electrum is not installed"),
    pytest.mark.slow,
]

Call = Callable[..., Awaitable[Any]]

WAIT_S = 60


class ElectrumWallet:
    """Electrum's daemon with one wallet, spoken to over its own JSON-RPC."""

    def __init__(self, folder: Path, server: str) -> None:
        place = urlsplit(server)
        self._folder = folder
        self._server = f"{place.hostname}:{place.port}:t"
        self._process: asyncio.subprocess.Process | None = None
        self._client: httpx.AsyncClient | None = None

    async def _run(self, *arguments: str) -> asyncio.subprocess.Process:
        # A home of its own: nothing of a wallet that the user may have is seen or touched.
        environment = {**os.environ, "HOME": str(self._folder)}
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
            environment.pop(name, None)
        return await asyncio.create_subprocess_exec(
            str(PROGRAM),
            "--regtest",
            "-D",
            str(self._folder),
            *arguments,
            env=environment,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    async def start(self) -> None:
        settings = {
            "rpcuser": "a",
            "rpcpassword": "b",
            "rpcsock": "tcp",
            "rpchost": "127.0.0.1",
            "rpcport": 0,
        }
        settings |= {"check_updates": False, "dont_show_testnet_warning": True}
        (self._folder / "regtest").mkdir(parents=True)
        (self._folder / "regtest" / "config").write_text(json.dumps(settings))
        assert await (await self._run("create", "--offline")).wait() == 0
        self._process = await self._run("daemon", "--oneserver", "-s", self._server)
        lock = self._folder / "regtest" / "daemon"
        address = await self.until(lambda: _place(lock), lambda found: found is not None)
        self._client = httpx.AsyncClient(base_url=address, auth=("a", "b"), timeout=60.0)
        await self.until(lambda: self.call("load_wallet"), lambda found: found is not None)

    async def call(self, method: str, **params: Any) -> Any:
        """One command; None while the daemon does not answer yet."""
        assert self._client is not None
        try:
            reply = await self._client.post("/", json={"id": 1, "method": method, "params": params})
        except httpx.TransportError:
            return None
        found = reply.json()
        assert found.get("error") is None, found
        return found["result"]

    async def until(self, ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> Any:
        """The first answer for which it holds."""
        async with asyncio.timeout(WAIT_S):
            while not holds(found := await ask()):  # noqa: ASYNC110 - another program gives no signal
                await asyncio.sleep(0.05)
            return found

    async def stop(self) -> None:
        if self._client is not None:
            with suppress(httpx.TransportError):
                await self.call("stop")
            await self._client.aclose()
        if self._process is not None:
            try:
                await asyncio.wait_for(self._process.wait(), 10)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


async def _place(lock: Path) -> str | None:
    return await asyncio.to_thread(_read_place, lock)


def _read_place(lock: Path) -> str | None:
    """Where the daemon listens, as it writes down."""
    try:
        _, (host, port), _ = ast.literal_eval(lock.read_text())
    except (OSError, SyntaxError, ValueError):
        return None
    return f"http://{host}:{port}"


@pytest.fixture
async def wallet(node: EmbeddedNode, tmp_path: Path) -> AsyncIterator[ElectrumWallet]:
    found = ElectrumWallet(tmp_path / "electrum", str((await node.addresses()).electrum))
    try:
        await found.start()
        yield found
    finally:
        await found.stop()


async def test_electrum_syncs_shows_its_balance_pays_and_is_confirmed(
    wallet: ElectrumWallet, call: Call
) -> None:
    ours = await call("getnewaddress")
    await call("generatetoaddress", 101, ours)
    address = await wallet.call("getunusedaddress")
    await call("sendtoaddress", address, 1.5)
    await call("generatetoaddress", 1, ours)
    await wallet.until(lambda: wallet.call("getbalance"), lambda found: found == {"confirmed": "1.5"})
    signed = await wallet.call("payto", destination=ours, amount="0.4", fee="0.0001")
    txid = await wallet.call("broadcast", tx=signed)
    assert txid in await call("getrawmempool")
    await call("generatetoaddress", 1, ours)
    await wallet.until(lambda: wallet.call("getbalance"), lambda found: found == {"confirmed": "1.0999"})
    status = await wallet.until(
        lambda: wallet.call("get_tx_status", txid=txid), lambda found: found["confirmations"] == 1
    )
    assert status == {"confirmations": 1}
    assert (await wallet.call("getinfo"))["blockchain_height"] == 103
