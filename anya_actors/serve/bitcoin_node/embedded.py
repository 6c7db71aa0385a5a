"""The embedded node as a whole: data directory, engine, journal, service, and the doors to it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Protocol

from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.machine import NotSupportedError, UnavailableError
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.chain_index import ChainIndexStores
from anya_actors.ports.clock import Clock
from anya_actors.ports.consensus import ConsensusEngines
from anya_actors.ports.randomness import Randomness
from anya_actors.serve.bitcoin_node.directory import COOKIE_USER, NodeDirectory
from anya_actors.serve.bitcoin_node.errors import BusyPortError
from anya_actors.serve.bitcoin_node.fee_keeper import FeeKeeper
from anya_actors.serve.bitcoin_node.http import HttpLimits, HttpServer
from anya_actors.serve.bitcoin_node.zmq_publisher import ZmqPublisher
from anya_actors.serve.bitcoin_rpc.context import RpcContext
from anya_actors.serve.bitcoin_rpc.http_door import JsonRpcDoor
from anya_actors.serve.bitcoin_rpc.json_rpc import JsonRpc
from anya_actors.serve.bitcoin_rpc.methods import METHODS
from anya_actors.serve.electrum.context import ElectrumContext
from anya_actors.serve.electrum.methods import METHODS as ELECTRUM_METHODS
from anya_actors.serve.electrum.server import ElectrumServer
from anya_actors.serve.electrum.subscriptions import Subscriptions
from anya_actors.serve.esplora.context import EsploraContext
from anya_actors.serve.esplora.door import MAX_BODY_BYTES as ESPLORA_BODY_BYTES
from anya_actors.serve.esplora.door import EsploraDoor
from anya_actors.services.bitcoin_node.addresses import NodeAddresses
from anya_actors.services.bitcoin_node.lookups import Lookups
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.services.bitcoin_node.wallets.sealing import WalletSeals

FEE_INTERVAL_S: Final = 3600.0
"""Between two writings of the fee estimates, as in Core."""
# Above those that Ray's processes take, below those that Linux gives to outgoing connections: a port that
# a node comes back to must not be somebody's connection meanwhile.
_OWN_PORTS: Final = range(20_000, 32_768)
_TRIES: Final = 100


@dataclass(frozen=True, slots=True)
class EmbeddedNodeSettings:
    """Where the node lives and listens. A TCP port of 0 takes a free one once, and keeps it for ever."""

    data_dir: Path
    host: str = "127.0.0.1"
    rpc_port: int = 0
    esplora_port: int = 0
    electrum_port: int = 0
    zmq_port: int = 0
    network: str = "regtest"
    fee_interval_s: float = FEE_INTERVAL_S
    limits: HttpLimits = field(default_factory=HttpLimits)


class Door(Protocol):
    """Something that listens on loopback."""

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound. Raises `BusyPortError`."""

    async def close(self) -> None:
        """Stop listening and drop every connection."""


class EmbeddedNode:
    """A Bitcoin node without peers, in this process, behind Core-compatible JSON-RPC.

    The consensus engine may abort its process: run the node in a process of its own. What the
    node acknowledged is found again after SIGKILL at any point.
    """

    def __init__(
        self,
        settings: EmbeddedNodeSettings,
        *,
        engines: ConsensusEngines,
        open_journal: Callable[[], Awaitable[AppendLog]],
        indexes: ChainIndexStores,
        clock: Clock,
        randomness: Randomness,
        seals: WalletSeals | None = None,
    ) -> None:
        if settings.network != Network.REGTEST.value:
            raise NotSupportedError(
                f"an embedded node on {settings.network}", "it has no peers: use Bitcoin Core"
            )
        self._settings = settings
        self._engines = engines
        self._open_journal = open_journal
        self._indexes = indexes
        self._clock = clock
        self._randomness = randomness
        self._seals = seals
        self._directory: NodeDirectory | None = None
        self._node: BitcoinNodeService | None = None
        self._doors: list[Door] = []
        self._fees: FeeKeeper | None = None
        self._addresses: NodeAddresses | None = None
        self.stopped = asyncio.Event()

    async def start(self) -> NodeAddresses:
        """Open everything and serve; raises `NodeDirectoryInUseError`, `BusyPortError` and more.

        Returns only when the chain is as it was: no caller meets a node that warms up.
        """
        try:
            return await self._start()
        except BaseException:
            await self._release(orderly=False)
            raise

    async def _start(self) -> NodeAddresses:
        loop = asyncio.get_running_loop()
        directory = await loop.run_in_executor(None, NodeDirectory, self._settings.data_dir)
        self._directory = directory
        log = await self._open_journal()
        self._node = BitcoinNodeService(
            engines=self._engines,
            log=log,
            indexes=self._indexes,
            clock=self._clock,
            randomness=self._randomness,
            seals=self._seals,
        )
        await self._node.start()
        self._fees = FeeKeeper(directory, self._node, self._clock)
        await self._fees.start(self._settings.fee_interval_s)
        self._addresses = await self._open_doors(self._node, directory)
        return self._addresses

    async def _open_doors(self, node: BitcoinNodeService, directory: NodeDirectory) -> NodeAddresses:
        ours = self._settings
        password = self._randomness.token_bytes(32).hex()
        zmq = f"tcp://{await self._open(ZmqPublisher(node), 'zmq', ours.zmq_port)}"
        context = RpcContext(node, node.clock, self.stopped.set, zmq_address=zmq)
        rpc = JsonRpc(context, METHODS)
        credentials = f"{COOKIE_USER}:{password}".encode()
        door = JsonRpcDoor(rpc.answer, credentials, self._clock, ours.limits.work_queue)
        place = await self._open(HttpServer(door.answer, ours.limits), "rpc", ours.rpc_port)
        await asyncio.to_thread(directory.write_cookie, password)
        esplora, electrum = await self._open_indexes(node, rpc)
        return NodeAddresses(
            bitcoin_rpc=f"http://{place}",
            bitcoin_cookie=str(directory.cookie.absolute()),
            esplora=esplora,
            electrum=electrum,
            zmq_rawblock=zmq,
            zmq_rawtx=zmq,
            zmq_hashblock=zmq,
            zmq_hashtx=zmq,
            zmq_sequence=zmq,
        )

    async def _open_indexes(self, node: BitcoinNodeService, rpc: JsonRpc) -> tuple[str, str]:
        """Open Esplora and Electrum, which read the same indexes."""
        ours, lookups = self._settings, Lookups(node)
        esplora = EsploraDoor(EsploraContext(node, lookups, rpc.call))
        http = HttpServer(esplora.answer, replace(ours.limits, max_body_bytes=ESPLORA_BODY_BYTES))
        electrum = ElectrumContext(node, lookups, rpc.call, Subscriptions(node, lookups))
        server = ElectrumServer(electrum, ELECTRUM_METHODS)
        esplora_place = await self._open(http, "esplora", ours.esplora_port)
        electrum_place = await self._open(server, "electrum", ours.electrum_port)
        return f"http://{esplora_place}", f"tcp://{electrum_place}"

    async def _open(self, door: Door, name: str, port: int) -> str:
        """Open a door on its TCP port, the one it had before if none is set; host and port."""
        directory, host = self._directory, self._settings.host
        if directory is None:
            raise UnavailableError("the embedded Bitcoin node", "it is stopped")
        port = port or directory.kept_port(name)
        port = await (door.start(host, port) if port else self._start_on_free_port(door, host))
        self._doors.append(door)
        await asyncio.to_thread(directory.keep_port, name, port)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _start_on_free_port(self, door: Door, host: str) -> int:
        for _ in range(_TRIES):
            port = _OWN_PORTS[int.from_bytes(self._randomness.token_bytes(4)) % len(_OWN_PORTS)]
            with suppress(BusyPortError):
                return await door.start(host, port)
        return await door.start(host, 0)

    async def resume(self) -> None:
        """Start, if that has not been done: nothing else can be owed."""
        if self._addresses is None:
            await self.start()

    async def addresses(self) -> NodeAddresses:
        """How to reach it; raises `UnavailableError` before `start`."""
        if self._addresses is None:
            raise UnavailableError("the embedded Bitcoin node", "it has not been started")
        return self._addresses

    async def check_health(self) -> None:
        """Raise `UnavailableError` if it does not serve."""
        if self._addresses is None or self._node is None or self.stopped.is_set():
            raise UnavailableError("the embedded Bitcoin node", "it is stopped")
        await self._node.check_health()

    async def close(self) -> None:
        """Stop serving, and flush the engine."""
        await self._release(orderly=True)

    async def _release(self, *, orderly: bool) -> None:
        self._addresses = None
        self.stopped.set()
        while self._doors:
            await self._doors.pop().close()
        fees, self._fees = self._fees, None
        if fees is not None:
            await fees.close(keep=orderly)
        node, self._node = self._node, None
        directory, self._directory = self._directory, None
        if node is not None:
            await node.close()
        if directory is not None:
            directory.close()


async def serve_until_told(node: EmbeddedNode, ready: Callable[[NodeAddresses], None]) -> None:
    """Start, tell ``ready``, and serve until ``stop``, SIGINT or SIGTERM; then close in order."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, node.stopped.set)
    try:
        ready(await node.start())
        await node.stopped.wait()
    finally:
        with suppress(NotImplementedError):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        await node.close()
