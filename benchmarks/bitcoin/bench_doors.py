"""The node's doors for wallets: Esplora and Electrum requests per second, and a full scan by BDK.

The node runs in a process of its own, as in ``anya up``; the clients share one other. Half of a small
machine is theirs, so a figure is of both. ``python -m benchmarks.bitcoin.bench_doors --seconds 2``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import multiprocessing
import shutil
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import bdkpython as bdk
import httpx

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.network import Network
from anya_actors.services.bitcoin_node.addresses import NodeAddresses
from benchmarks.http.load import load
from benchmarks.report import show, spread, write

CONNECTIONS = (1, 8)
WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
STOP_GAP = 40
SCANS = 5
EMPTY = hashlib.sha256(b"nobody").hexdigest()


def serve_node(folder: str, told: Connection) -> None:
    """Run a node until the parent ends this process."""
    from anya_actors.bootstrap.builders import BitcoinNodeBuilder
    from anya_actors.config import Settings

    async def run() -> None:
        builder = BitcoinNodeBuilder(Settings(data_dir=Path(folder)))
        await builder.prepare()
        node, _ = await builder.build("bitcoin-node/main", None)  # type: ignore[arg-type]
        told.send(await node.start())
        await asyncio.get_running_loop().run_in_executor(None, told.recv)
        await node.close()

    asyncio.run(run())


def call(addresses: NodeAddresses, method: str, *params: Any) -> Any:
    """One JSON-RPC call."""
    user, _, password = Path(addresses.bitcoin_cookie).read_text().partition(":")
    content = {"id": 1, "method": method, "params": params}
    reply = httpx.post(addresses.bitcoin_rpc, auth=(user, password), json=content, timeout=60)
    return reply.json()["result"]


async def ask_electrum(url: str, name: str, connections: int, for_s: float) -> list[float]:
    """Seconds that each ``get_history`` took."""
    place = urlsplit(url)
    ask = json.dumps({"id": 1, "method": "blockchain.scripthash.get_history", "params": [name]}).encode()
    took_s: list[float] = []
    end_s = time.perf_counter() + for_s

    async def one() -> None:
        reader, writer = await asyncio.open_connection(str(place.hostname), place.port, limit=1 << 24)
        while (began_s := time.perf_counter()) < end_s:
            writer.write(ask + b"\n")
            assert b'"result"' in await reader.readline()
            took_s.append(time.perf_counter() - began_s)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took_s


def scan(url: str) -> float:
    """Seconds of a full scan of an empty wallet: two keychains up to the stop gap."""
    secret = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, bdk.Mnemonic.from_string(WORDS), None)
    kinds = (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
    pair = [bdk.Descriptor.new_bip86(secret, kind, bdk.NetworkKind.TEST) for kind in kinds]
    wallet = bdk.Wallet(*pair, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
    is_esplora = url.startswith("http")
    client = bdk.EsploraClient(url) if is_esplora else bdk.ElectrumClient(url)
    request = wallet.start_full_scan().build()
    began_s = time.perf_counter()
    client.full_scan(request, STOP_GAP, *((1,) if is_esplora else (10, False)))
    return time.perf_counter() - began_s


async def measure(addresses: NodeAddresses, address: str, seconds: float) -> dict[str, Any]:
    """All figures of one node; ``address`` was paid 110 times."""
    busy = hashlib.sha256(parse_address(address, Network.REGTEST)).digest()
    esplora, electrum = urlsplit(str(addresses.esplora)), str(addresses.electrum)
    rates: dict[str, dict[str, float]] = {}
    for title, name in (("empty", EMPTY), ("25 transactions", busy.hex())):
        for many in CONNECTIONS:
            path = f"/scripthash/{name}/txs"
            took_s = await load(str(esplora.hostname), esplora.port or 0, path, "-", many, seconds)
            rates[f"Esplora /scripthash/…/txs, {title}, {many} connections"] = _rate(took_s, seconds)
    for title, name in (("empty", EMPTY), ("110 transactions", busy[::-1].hex())):
        for many in CONNECTIONS:
            took_s = await ask_electrum(electrum, name, many, seconds)
            rates[f"Electrum get_history, {title}, {many} connections"] = _rate(took_s, seconds)
    scans = {}
    for title, url in (("Esplora, 84 requests", str(addresses.esplora)), ("Electrum", electrum)):
        scans[f"BDK full scan over {title}"] = spread(
            [await asyncio.to_thread(scan, url) * 1000 for _ in range(SCANS)]
        )
    return {"requests": rates, "full_scan_ms": scans}


def _rate(took_s: list[float], seconds: float) -> dict[str, float]:
    return {"per_s": len(took_s) / seconds, **spread([one_s * 1000 for one_s in took_s])}


def main() -> None:
    """Measure and report."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--seconds", type=float, default=2.0)
    seconds = arguments.parse_args().seconds
    folder = tempfile.mkdtemp(prefix="bench-doors-")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve_node, args=(folder, theirs))
    process.start()
    try:
        addresses = ours.recv()
        address = call(addresses, "getnewaddress")
        call(addresses, "generatetoaddress", 110, address)
        result = asyncio.run(measure(addresses, address, seconds))
    finally:
        ours.send("stop")
        process.join(30)
        shutil.rmtree(folder, ignore_errors=True)
    for title, row in result["requests"].items():
        print(f"{title:<64}{row['per_s']:>9.0f}/s   median {row['median']:.2f} ms")
    show("BDK full scan", "ms", result["full_scan_ms"])
    write("doors", result)


if __name__ == "__main__":
    main()
