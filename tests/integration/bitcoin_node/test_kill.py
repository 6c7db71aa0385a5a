"""SIGKILL at random points: nothing that was acknowledged is ever lost."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes

CookieOf = Callable[[str], tuple[str, str]]

SEED = 20261123
KILLS = 10
PROGRAM = Path(__file__).with_name("node_process.py")


class RunningNode:
    """A node process and a client of it."""

    def __init__(self, process: asyncio.subprocess.Process, client: httpx.AsyncClient) -> None:
        self.process = process
        self._client = client

    async def call(self, name: str, *params: Any, wallet: str | None = None) -> Any:
        path = "/" if wallet is None else f"/wallet/{wallet}"
        reply = (await self._client.post(path, json={"id": 1, "method": name, "params": params})).json()
        if reply["error"] is not None:
            raise LookupError(reply["error"])
        return reply["result"]


@asynccontextmanager
async def _running(
    data_dir: Path, cookie_of: CookieOf, last: int = signal.SIGKILL
) -> AsyncIterator[RunningNode]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(data_dir), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url, cookie = (await process.stdout.readline()).decode().split()
        # A slow machine is no failure of the node.
        async with httpx.AsyncClient(base_url=url, auth=cookie_of(cookie), timeout=60.0) as client:
            yield RunningNode(process, client)
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(last)
        await process.wait()


class Acknowledged:
    """What the node has promised."""

    def __init__(self) -> None:
        self.blocks: list[str] = []
        self.txids: list[str] = []
        self.addresses: set[str] = set()
        self._news: asyncio.Queue[None] = asyncio.Queue()

    async def more(self, promises: int) -> None:
        """Wait for so many more."""
        for _ in range(promises):
            await asyncio.wait_for(self._news.get(), 60.0)

    async def work(self, node: RunningNode, chance: random.Random) -> None:
        """Mine and pay until the node dies."""
        address = await node.call("getnewaddress")
        self.addresses.add(address)
        while True:
            if len(self.blocks) > 110 and chance.random() < 0.6:
                txid = await node.call("sendtoaddress", address, 0.01)
                self.txids.append(txid)
                # Handing in again what waits is acknowledged too.
                raw = await node.call("getrawtransaction", txid)
                assert await node.call("sendrawtransaction", raw) == txid
            else:
                self.blocks += await node.call("generatetoaddress", 1, address)
            self._news.put_nowait(None)

    async def verify(self, node: RunningNode) -> None:
        """Every promise is kept."""
        for block_hash in self.blocks:
            assert (await node.call("getblockheader", block_hash))["confirmations"] > 0
        for txid in self.txids:
            assert (await node.call("getrawtransaction", txid, 1))["txid"] == txid


async def _kill_while_it_starts(data_dir: Path, after_s: float) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(data_dir), stdout=asyncio.subprocess.DEVNULL
    )
    await asyncio.sleep(after_s)
    process.kill()
    await process.wait()


class Meddler:
    """Takes the indexes away between two lives of the node, or puts old ones in their place."""

    def __init__(self, data_dir: Path) -> None:
        self._indexes = data_dir / "indexes"
        self._old = data_dir / "indexes.old"

    def meddle(self, kill: int) -> None:
        if kill % 4 == 1:
            shutil.rmtree(self._indexes)
        elif kill % 4 == 3 and self._old.exists():
            shutil.rmtree(self._indexes)
            shutil.copytree(self._old, self._indexes)
        else:
            shutil.rmtree(self._old, ignore_errors=True)
            shutil.copytree(self._indexes, self._old)


def _rows(data_dir: Path) -> list[tuple[bytes, bytes]]:
    store = RocksdbChainIndexes(data_dir / "indexes").open()
    rows = list(store.scan(b""))
    store.close()
    return rows


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_nothing_acknowledged_is_lost_by_killing_the_node(tmp_path: Path, cookie_of: CookieOf) -> None:
    chance, meddler = random.Random(SEED), Meddler(tmp_path)
    promised = Acknowledged()
    async with _running(tmp_path, cookie_of) as node:
        address = await node.call("getnewaddress")
        promised.blocks += await node.call("generatetoaddress", 111, address)
    addresses = set()
    for kill in range(KILLS):
        if kill % 3 == 0:
            await _kill_while_it_starts(tmp_path, chance.uniform(0.3, 1.5))
        meddler.meddle(kill)
        async with _running(tmp_path, cookie_of) as node:
            await promised.verify(node)
            work = asyncio.create_task(promised.work(node, chance))
            await promised.more(chance.randint(1, 20))
            await asyncio.sleep(chance.uniform(0.0, 0.02))  # into the middle of the next call
            node.process.kill()
            with suppress(httpx.TransportError):
                await work
            addresses.add(str(node._client.base_url))
    async with _running(tmp_path, cookie_of, last=signal.SIGTERM) as node:
        await promised.verify(node)
        tip = await node.call("getbestblockhash")
        coins = await node.call("listunspent", 0)
    assert len(promised.txids) > 10
    assert len(addresses) == 1
    # And after an orderly stop it opens as it was.
    async with _running(tmp_path, cookie_of, last=signal.SIGTERM) as node:
        assert await node.call("getbestblockhash") == tip
        assert await node.call("listunspent", 0) == coins
        await promised.verify(node)
        await node.call("generatetoaddress", 1, address)
    assert node.process.returncode == 0
    # What the indexes went through shows nowhere: built anew they are the same.
    rows = _rows(tmp_path)
    shutil.rmtree(tmp_path / "indexes")
    async with _running(tmp_path, cookie_of, last=signal.SIGTERM):
        pass
    assert _rows(tmp_path) == rows


class Encrypted:
    """Wallets that the node says are encrypted, with a private key of each."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        self.made: dict[str, str] = {}
        self._news: asyncio.Queue[None] = asyncio.Queue()

    async def more(self, wallets: int) -> None:
        """Wait for so many more."""
        for _ in range(wallets):
            await asyncio.wait_for(self._news.get(), 60.0)

    async def work(self, node: RunningNode) -> None:
        """Make and encrypt wallets until the node dies."""
        while True:
            name = f"w{len(self.made)}"
            await node.call("createwallet", name)
            (one, *_) = (await node.call("listdescriptors", True, wallet=name))["descriptors"]
            self.made[name] = one["desc"]
            await node.call("encryptwallet", name, wallet=name)
            self.acknowledged[name] = one["desc"]
            self._news.put_nowait(None)

    async def verify(self, node: RunningNode) -> None:
        """Every promise is kept, and the wallet in between is as it was, or encrypted."""
        for name, descriptor in self.made.items():
            info = await node.call("getwalletinfo", wallet=name)
            assert "unlocked_until" in info or name not in self.acknowledged
            if "unlocked_until" in info:
                await node.call("walletpassphrase", name, 60, wallet=name)
            found = (await node.call("listdescriptors", True, wallet=name))["descriptors"]
            assert descriptor in [one["desc"] for one in found]


def _seeds_in(data_dir: Path) -> int:
    """How many seeds of wallets stand in the journal in the clear."""
    found = re.findall(rb"\xa4seed\xc4 ", b"".join(file.read_bytes() for file in data_dir.glob("journal*")))
    return len(found)


async def test_a_node_that_is_killed_while_wallets_are_encrypted_keeps_every_key_and_shows_none(
    tmp_path: Path, cookie_of: CookieOf
) -> None:
    chance, encrypted = random.Random(SEED), Encrypted()
    data_dir = tmp_path / "node"
    for _ in range(KILLS // 2):
        async with _running(data_dir, cookie_of) as node:
            await encrypted.verify(node)
            work = asyncio.create_task(encrypted.work(node))
            await encrypted.more(chance.randrange(1, 5))
        with suppress(httpx.HTTPError):
            await work
        assert _seeds_in(data_dir) <= len(encrypted.made) + 1 - len(encrypted.acknowledged)
    async with _running(data_dir, cookie_of) as node:
        await encrypted.verify(node)
    assert len(encrypted.acknowledged) >= KILLS // 2
