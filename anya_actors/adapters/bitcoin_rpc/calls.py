"""One JSON-RPC call: time-outs, repetitions, the circuit breaker, and errors by their names.

Repeated are only calls that may be made twice, after a lost connection, a time-out or a full
queue. Errors by their codes stand in ``refusals``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar, cast

import httpx
import msgspec
from bitcoinrpc import BitcoinRPC, RPCError

from anya_actors.adapters.bitcoin_rpc.breaker import CircuitBreaker
from anya_actors.adapters.bitcoin_rpc.refusals import refusal_of
from anya_actors.domain.machine import AnyaError, InvalidInputError, UnavailableError
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.bitcoin_rpc import (
    MalformedReplyError,
    NodeAuthenticationError,
    NodeBusyError,
    NodeUnreachableError,
    RpcRefusedError,
)
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness

REPETITIONS: Final = 3
CONNECTIONS: Final = 16
CONNECT_TIMEOUT_S: Final = 5.0
BATCH: Final = 100
"""Calls that travel in one request at most: an answer stays small and a node's worker free."""

T = TypeVar("T")
Params = tuple[Any, ...]


def split_url(url: str) -> tuple[str, str, str]:
    """The URL without credentials, the user name and the password; raises `InvalidInputError`."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        # Not quoted: it may hold a password.
        raise InvalidInputError("bitcoin.rpc_url", "it cannot be read as a URL") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInputError("bitcoin.rpc_url", "it does not begin with http://host or https://host")
    return str(parsed.copy_with(username=None, password=None)), parsed.username, parsed.password


class Calls:
    """The connections to one node. Errors name ``url``, which holds no credentials."""

    def __init__(
        self,
        url: str,
        auth: httpx.Auth | None,
        *,
        clock: Clock,
        randomness: Randomness,
        timeout_s: float,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._clock = clock
        self._randomness = randomness
        self._timeout_s = timeout_s
        self._breaker = CircuitBreaker(clock)
        self._backoff = Backoff(first_s=0.05, longest_s=1.0)
        # trust_env: a proxy named in the environment must not see what we tell our node.
        self._client = BitcoinRPC.from_config(
            url,
            None,
            transport=transport,
            trust_env=False,
            timeout=self._limits(timeout_s),
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            event_hooks={"response": [self._refuse_when_busy]},
        )
        self._client.client.auth = auth

    @property
    def url(self) -> str:
        return self._url

    async def call(
        self, shape: type[T], method: str, *params: Any, once: bool = False, timeout_s: float | None = None
    ) -> T:
        """The result as ``shape``; raises `MalformedReplyError` if it has another."""
        ask = partial(self._ask, method, params, timeout_s or self._timeout_s)
        return self._shaped(shape, method, await self._repeated(ask, once=once))

    async def call_optional(self, shape: type[T], method: str, *params: Any) -> T | None:
        """As `call`, where the node may answer null."""
        return await self.call(cast("type[T]", shape | None), method, *params)

    async def call_many(self, shape: type[T], method: str, params: Sequence[Params]) -> list[T | AnyaError]:
        """The results of one method for many parameters, in order; a refused one is its error.

        They travel in batches, each repeated as a whole: the method must be one that may be made twice.
        """
        results: list[T | AnyaError] = []
        for start in range(0, len(params), BATCH):
            batch = params[start : start + BATCH]
            for answer in await self._repeated(partial(self._ask_many, method, batch)):
                results.append(
                    answer if isinstance(answer, AnyaError) else self._shaped(shape, method, answer)
                )
        return results

    async def close(self) -> None:
        await self._client.aclose()

    def _shaped(self, shape: type[T], method: str, result: Any) -> T:
        try:
            return msgspec.convert(result, shape)
        except msgspec.ValidationError as error:
            raise MalformedReplyError(self._url, f"{method}: {error}") from error

    async def _repeated(self, ask: Callable[[], Awaitable[T]], *, once: bool = False) -> T:
        tries = 0
        while True:
            self._breaker.check(self._url)
            try:
                result = await ask()
            except (NodeUnreachableError, NodeBusyError) as error:
                if isinstance(error, NodeUnreachableError):
                    self._breaker.failed()
                if once or tries == REPETITIONS:
                    raise
            except RpcRefusedError:
                self._breaker.succeeded()
                raise
            else:
                self._breaker.succeeded()
                return result
            await self._clock.sleep(self._backoff.delay_s(tries, self._randomness.uniform()))
            tries += 1

    async def _ask(self, method: str, params: Params, timeout_s: float) -> Any:
        async with self._named_faults(method, timeout_s):
            try:
                return await self._client.acall(method, list(params), timeout=self._limits(timeout_s))
            except RPCError as error:
                raise self._refusal(method, error.error) from None

    async def _ask_many(self, method: str, batch: Sequence[Params]) -> list[Any]:
        calls = [
            {"jsonrpc": "2.0", "id": at, "method": method, "params": params}
            for at, params in enumerate(batch)
        ]
        async with self._named_faults(method, self._timeout_s):
            # The client speaks no batches; its connections do.
            response = await self._client.client.post(
                self._url, content=msgspec.json.encode(calls), timeout=self._limits(self._timeout_s)
            )
            if not response.content:
                response.raise_for_status()
            answers = {answer["id"]: answer for answer in msgspec.json.decode(response.content)}
            return [self._answer(method, answers[at]) for at in range(len(batch))]

    def _answer(self, method: str, answer: dict[str, Any]) -> Any:
        error = answer.get("error")
        if error is None:
            return answer["result"]
        refusal = self._refusal(method, error)
        if isinstance(refusal, UnavailableError):
            raise refusal  # what holds for one of a batch holds for all
        return refusal

    @asynccontextmanager
    async def _named_faults(self, method: str, timeout_s: float) -> AsyncIterator[None]:
        """Give what httpx and bitcoinrpc raise its name among our errors."""
        try:
            yield
        except httpx.TimeoutException:
            raise NodeUnreachableError(self._url, f"no answer within {timeout_s:g} s") from None
        except httpx.HTTPStatusError as error:
            raise self._status_error(error.response.status_code) from None
        except httpx.TransportError as error:
            raise NodeUnreachableError(self._url, str(error) or type(error).__name__) from None
        except (ValueError, LookupError, TypeError, AttributeError):
            raise MalformedReplyError(self._url, f"its answer to {method} is no JSON-RPC") from None

    @staticmethod
    def _limits(timeout_s: float) -> httpx.Timeout:
        return httpx.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s))

    def _refusal(self, method: str, error: Any) -> AnyaError:
        code, reason = (error.get("code"), error.get("message")) if isinstance(error, dict) else (0, None)
        if not isinstance(code, int) or not isinstance(reason, str):
            return MalformedReplyError(self._url, f"its error to {method} is no JSON-RPC error")
        return refusal_of(self._url, method, code, reason)

    def _status_error(self, status: int) -> Exception:
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return NodeAuthenticationError(self._url, f"HTTP status {status}")
        return MalformedReplyError(self._url, f"HTTP status {status}")

    async def _refuse_when_busy(self, response: httpx.Response) -> None:
        # Core answers a full work queue with this status and plain text.
        if response.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            raise NodeBusyError(self._url, "its queue of calls is full")
