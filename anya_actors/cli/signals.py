"""Ctrl-C, SIGTERM and the closed terminal: each asks the platform to stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Final, NoReturn, Self

# One that was ignored when we were started stays so: nohup and `&` mean it.
STOPPING: Final = tuple(
    number
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    if signal.getsignal(number) is not signal.SIG_IGN
)


class ForcedStop(BaseException):
    """A second Ctrl-C: stop asking and end it."""


def interrupt_on_signals() -> None:
    """Let each of them raise `KeyboardInterrupt` in the main thread."""
    _install(_interrupt)


def ignore_signals() -> None:
    """What is left to do is short and must be done."""
    _install(signal.SIG_IGN)


class SignalRecord:
    """Remembers that a signal came, between `__enter__` and `__exit__`, whoever handled it.

    An exception that a handler raises inside a library's callback may be lost there, and Ray
    installs a handler of its own while it starts. The wake-up descriptor sees every signal.
    """

    def __enter__(self) -> Self:
        interrupt_on_signals()
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._asked = False
        signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(-1)
        interrupt_on_signals()
        self._read.close()
        self._write.close()

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if a stop was asked for."""
        with contextlib.suppress(BlockingIOError):
            self._asked = self._asked or bool(set(self._read.recv(4096)) & set(STOPPING))
        if self._asked:
            raise KeyboardInterrupt


class StopEvents:
    """The signals as something that a coroutine waits for. The second one forces."""

    def __enter__(self) -> Self:
        self._asked, self._forced = asyncio.Event(), asyncio.Event()
        for number in STOPPING:
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in STOPPING:
            asyncio.get_running_loop().remove_signal_handler(number)
        interrupt_on_signals()

    async def before(self, other: asyncio.Future[Any]) -> bool:
        """Wait for ``other`` or a signal; whether ``other`` came first."""
        asked = asyncio.ensure_future(self._asked.wait())
        both: list[asyncio.Future[Any]] = [asked, other]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        return other.done()

    async def unless_forced(self, work: Coroutine[Any, Any, None], timeout_s: float) -> None:
        """Let ``work`` finish, at most for its time; raise `ForcedStop` at a second signal."""
        self._asked.set()
        working = asyncio.ensure_future(work)
        forced = asyncio.ensure_future(self._forced.wait())
        both: list[asyncio.Future[Any]] = [working, forced]
        await asyncio.wait(both, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        forced.cancel()
        if self._forced.is_set():
            working.cancel()
            raise ForcedStop
        if not working.done():
            working.cancel()  # the clean-up ends what is left
            return
        working.result()

    def _on_signal(self) -> None:
        (self._forced if self._asked.is_set() else self._asked).set()


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _install(handler: Callable[[int, FrameType | None], Any] | signal.Handlers) -> None:
    for number in STOPPING:
        signal.signal(number, handler)
