"""Whole embedded nodes on real files, sockets and consensus code."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
from anya_actors.adapters.sealing.argon2 import Argon2Kdf
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode, EmbeddedNodeSettings
from anya_actors.serve.bitcoin_node.http import HttpLimits
from anya_actors.services.bitcoin_node.wallets.sealing import WalletSeals

VECTORS = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[3] / ".." / "shared" / "vectors"))


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Read the JSON file of this name, or skip."""

    def read(name: str) -> Any:
        path = VECTORS / "bitcoin" / name
        if not path.exists():
            pytest.skip(f"no vectors {path.name}; set ANYA_VECTORS")
        return json.loads(path.read_text())

    return read


@pytest.fixture
def make_node(tmp_path: Path) -> Callable[..., EmbeddedNode]:
    """A node on this test's directory, not started."""

    def make(rpc_port: int = 0, limits: HttpLimits | None = None) -> EmbeddedNode:
        settings = EmbeddedNodeSettings(tmp_path / "node", rpc_port=rpc_port, limits=limits or HttpLimits())

        async def open_journal() -> FileAppendLog:
            return await FileAppendLog.open(SystemDisk(settings.data_dir), "journal")

        return EmbeddedNode(
            settings,
            engines=KernelEngines(settings.data_dir / "kernel", Network.REGTEST),
            open_journal=open_journal,
            indexes=RocksdbChainIndexes(settings.data_dir / "indexes"),
            clock=SystemClock(),
            randomness=SystemRandomness(),
            seals=WalletSeals(Argon2Kdf(), AesGcmCipher(SystemRandomness()), KdfParameters(8, 1, 1)),
        )

    return make


@pytest.fixture
async def node(make_node: Callable[..., EmbeddedNode]) -> AsyncIterator[EmbeddedNode]:
    started = make_node()
    await started.start()
    yield started
    await started.close()


Call = Callable[..., Awaitable[Any]]


def read_cookie(path: str) -> tuple[str, str]:
    """User and password."""
    user, _, password = Path(path).read_text().partition(":")
    return user, password


@pytest.fixture
def cookie_of() -> Callable[[str], tuple[str, str]]:
    return read_cookie


@pytest.fixture
async def http(node: EmbeddedNode) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client that knows the node's address and cookie."""
    addresses = await node.addresses()
    cookie = read_cookie(addresses.bitcoin_cookie)
    async with httpx.AsyncClient(base_url=addresses.bitcoin_rpc, auth=cookie, timeout=60.0) as client:
        yield client


@pytest.fixture
def call(http: httpx.AsyncClient) -> Call:
    """Call a method as JSON-RPC 1.0; the result, or the error as an exception's argument."""

    async def call_method(name: str, *params: Any) -> Any:
        reply = await http.post("/", json={"id": 1, "method": name, "params": params})
        content = reply.json()
        if content["error"] is not None:
            raise LookupError(content["error"]["code"], content["error"]["message"])
        return content["result"]

    return call_method
