"""The embedded node as a whole: data directory, engine, journal, service and JSON-RPC server."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

import msgspec

from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.machine import NotSupportedError, UnavailableError
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.clock import Clock
from anya_actors.ports.consensus import ConsensusEngines
from anya_actors.ports.randomness import Randomness
from anya_actors.serve.bitcoin_rpc.context import RpcContext
from anya_actors.serve.bitcoin_rpc.errors import NodeDirectoryInUseError
from anya_actors.serve.bitcoin_rpc.http_server import HttpLimits, HttpServer
from anya_actors.serve.bitcoin_rpc.json_rpc import JsonRpc
from anya_actors.serve.bitcoin_rpc.methods import METHODS
from anya_actors.services.bitcoin_node.addresses import NodeAddresses
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

COOKIE_USER: Final = "__cookie__"


@dataclass(frozen=True, slots=True)
class EmbeddedNodeSettings:
    """Where the node lives. ``rpc_port`` 0 takes a free port once, and keeps it for ever."""

    data_dir: Path
    rpc_host: str = "127.0.0.1"
    rpc_port: int = 0
    network: str = "regtest"
    limits: HttpLimits = field(default_factory=HttpLimits)


class CleanStop(msgspec.Struct, frozen=True):
    """Written last at an orderly stop: how many journal records the engine had seen."""

    records: int


class NodeDirectory:
    """The files of a node beside its journal: lock, cookie, port and clean-stop mark."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock: IO[bytes] = (path / "node.lock").open("ab")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise NodeDirectoryInUseError(str(path)) from error

    @property
    def cookie(self) -> Path:
        return self._path / ".cookie"

    def write_cookie(self, password: str) -> None:
        """Put user and password where clients read them, readable by this user alone."""
        self._replace(".cookie", f"{COOKIE_USER}:{password}".encode())

    def kept_port(self) -> int:
        """The port of earlier starts, 0 if there was none."""
        try:
            return int((self._path / "rpc_port").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def keep_port(self, port: int) -> None:
        self._replace("rpc_port", str(port).encode())

    def take_clean_stop(self) -> CleanStop | None:
        """The mark of the last stop, removed, durably, before anything is opened."""
        mark = self._path / "clean_stop"
        try:
            found = msgspec.json.decode(mark.read_bytes(), type=CleanStop)
        except (FileNotFoundError, msgspec.MsgspecError):
            found = None
        mark.unlink(missing_ok=True)
        self._sync()
        return found

    def mark_clean_stop(self, records: int) -> None:
        self._replace("clean_stop", msgspec.json.encode(CleanStop(records)))

    def _replace(self, name: str, content: bytes) -> None:
        fresh = self._path / f"{name}.new"
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path / name)
        self._sync()

    def _sync(self) -> None:
        descriptor = os.open(self._path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        self.cookie.unlink(missing_ok=True)
        self._lock.close()


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
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        if settings.network != Network.REGTEST.value:
            raise NotSupportedError(
                f"an embedded node on {settings.network}", "it has no peers: use Bitcoin Core"
            )
        self._settings = settings
        self._engines = engines
        self._open_journal = open_journal
        self._clock = clock
        self._randomness = randomness
        self._directory: NodeDirectory | None = None
        self._node: BitcoinNodeService | None = None
        self._server: HttpServer | None = None
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
        mark = await loop.run_in_executor(None, directory.take_clean_stop)
        log = await self._open_journal()
        self._node = BitcoinNodeService(
            engines=self._engines, log=log, clock=self._clock, randomness=self._randomness
        )
        await self._node.start(clean=mark is not None and mark.records == self._node.records)
        password = self._randomness.token_bytes(32).hex()
        context = RpcContext(self._node, self._clock, self.stopped.set)
        rpc = JsonRpc(context, METHODS)
        credentials = f"{COOKIE_USER}:{password}".encode()
        self._server = HttpServer(rpc.answer, credentials, self._clock, self._settings.limits)
        host = self._settings.rpc_host
        port = await self._server.start(host, self._settings.rpc_port or directory.kept_port())
        await loop.run_in_executor(None, directory.keep_port, port)
        await loop.run_in_executor(None, directory.write_cookie, password)
        place = f"[{host}]" if ":" in host else host
        self._addresses = NodeAddresses(f"http://{place}:{port}", str(directory.cookie.absolute()))
        return self._addresses

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
        if self._node is None or self._server is None or self.stopped.is_set():
            raise UnavailableError("the embedded Bitcoin node", "it is stopped")
        await self._node.check_health()

    async def close(self) -> None:
        """Stop serving, flush the engine, and mark the stop as clean."""
        await self._release(orderly=True)

    async def _release(self, *, orderly: bool) -> None:
        self._addresses = None
        self.stopped.set()
        server, self._server = self._server, None
        if server is not None:
            await server.close()
        node, self._node = self._node, None
        directory, self._directory = self._directory, None
        if node is not None:
            records = node.records
            is_whole = node.chain.is_open and not node.chain.has_failed
            await node.close()
            if directory is not None and orderly and is_whole:
                directory.mark_clean_stop(records)
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
