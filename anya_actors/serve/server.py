"""One uvicorn in a thread of its own: what a replica of the door runs."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import traceback
from collections.abc import Callable
from typing import Any, Final

import structlog
import uvicorn

from anya_actors.serve.caller import Door
from anya_actors.serve.errors import DoorDownError
from anya_actors.serve.http_protocol import MAX_HEAD_BYTES, BoundedH11Protocol, BoundedHttpProtocol
from anya_actors.serve.port import join_port
from anya_actors.serve.settings import Listen

START_TIMEOUT_S: Final = 30.0
PING_TIMEOUT_S: Final = 5.0
# An event listener has nothing to say to us.
MAX_WEBSOCKET_MESSAGE_BYTES: Final = 4096

_log = structlog.get_logger(__name__)

BuildApp = Callable[[], Any]


def uvicorn_config(app: Any, listen: Listen, *, any_method: bool = False) -> uvicorn.Config:
    """uvicorn as the door wants it: uvloop, httptools, no access log, TLS 1.3 or plain.

    httptools knows a fixed set of methods; ``any_method`` takes h11, which takes Vault's ``LIST`` too.
    """
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=BoundedH11Protocol if any_method else BoundedHttpProtocol,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        ws="none" if any_method else "websockets-sansio",
        ws_max_size=MAX_WEBSOCKET_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=listen.access_log,
        # The peer's address is what the kernel says; headers that claim another are not believed.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=listen.drain_s,
        ssl_certfile=None if listen.tls is None else str(listen.tls.certificate),
        ssl_keyfile=None if listen.tls is None else str(listen.tls.key),
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    return config


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config, began: threading.Event | asyncio.Event) -> None:
        super().__init__(config)
        self._began = began

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._began.set()


class DoorServer:
    """Runs the application on a thread with a uvloop, beside whatever loop its process has.

    So a busy control loop does not hold up requests, nor a busy door the health check's loop; and
    uvloop is there whichever loop Serve gives its replicas.
    """

    def __init__(self, build: BuildApp, listen: Listen) -> None:
        self._build = build
        self._listen = listen
        self._socket = join_port(listen.host, listen.port)
        host, port = self._socket.getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self._transit: tuple[uvicorn.Server, socket.socket] | None = None
        self._transit_socket: socket.socket | None = None
        self.transit_address: tuple[str, int] | None = None
        if listen.transit_port is not None:
            self._transit_socket = join_port(listen.host, listen.transit_port)
            host, port = self._transit_socket.getsockname()[:2]
            self.transit_address = (host, port)
        self._began = threading.Event()
        self._failure: BaseException | None = None
        self._server: uvicorn.Server | None = None
        self._door: Door | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)

    def start(self) -> None:
        """Begin to listen; raise `DoorDownError` if that fails. Blocks until it is decided."""
        self._thread.start()
        if not self._began.wait(START_TIMEOUT_S) or self._failure is not None:
            reason = "it did not start in time" if self._failure is None else str(self._failure)
            raise DoorDownError(reason) from self._failure

    async def check_health(self) -> None:
        """Return if the server's own loop turns and listens, raise `DoorDownError` if not."""
        if not self._thread.is_alive() or self._loop is None:
            raise DoorDownError("its thread has ended" if self._failure is None else str(self._failure))
        ping = asyncio.run_coroutine_threadsafe(self._ping(), self._loop)
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await asyncio.wrap_future(ping)
        except TimeoutError:
            raise DoorDownError(f"its loop did not turn for {PING_TIMEOUT_S:g} s") from None

    async def drain(self) -> None:
        """Take no new connection, let requests in flight end, then stop. Twice is no error."""
        loop, server = self._loop, self._server
        if loop is None or server is None or not self._thread.is_alive():
            return
        if self._door is not None:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._door.drain(), loop))
        server.should_exit = True
        if self._transit is not None:
            self._transit[0].should_exit = True
        await asyncio.to_thread(self._thread.join, self._listen.drain_s + 5.0)

    async def _ping(self) -> None:
        if self._server is None or not self._server.started or self._server.should_exit:
            raise DoorDownError("it does not listen")

    def _run(self) -> None:
        try:
            self._serve()
        # SystemExit is how uvicorn tells that the application's start failed.
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the thread's last resort, kept and logged
            self._failure = error
            _log.error("the HTTP server ended", trace="".join(traceback.format_exception(error)))
        finally:
            self._began.set()
            self._socket.close()
            if self._transit_socket is not None:
                self._transit_socket.close()

    def _serve(self) -> None:
        app = self._build()
        self._door = getattr(getattr(app, "state", None), "door", None)
        config = uvicorn_config(app, self._listen)
        server = self._server = _Server(config, self._began)
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            self._loop = runner.get_loop()
            runner.run(self._serve_all(server, app))

    async def _serve_all(self, server: uvicorn.Server, app: Any) -> None:
        """The API, and beside it in the same loop the Transit listener, for as long as the API."""
        transit = None
        build = getattr(getattr(app, "state", None), "build_transit", None)
        if self._transit_socket is not None and build is not None:
            config = uvicorn_config(build(), self._listen, any_method=True)
            began = asyncio.Event()
            self._transit = (_Server(config, began), self._transit_socket)
            transit = asyncio.create_task(self._transit[0].serve(sockets=[self._transit_socket]))
            # Before the API, whose start is what the platform waits for.
            waiting = asyncio.create_task(began.wait())
            await asyncio.wait((transit, waiting), return_when=asyncio.FIRST_COMPLETED)
        try:
            await server.serve(sockets=[self._socket])
        finally:
            if self._transit is not None and transit is not None:
                self._transit[0].should_exit = True
                await transit
