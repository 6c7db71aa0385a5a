"""Those who saw it: the node itself, asked past the platform, and the events over the WebSocket."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from anya_actors.cli.faults import NotAnsweringError

_EVENTS: Final = "/api/v1/events"


class Node:
    """The embedded node's JSON-RPC, as any Bitcoin tool would use it."""

    def __init__(self, url: str, cookie_file: Path) -> None:
        user, _, password = cookie_file.read_text(encoding="utf-8").strip().partition(":")
        self._http = httpx.Client(base_url=url, auth=(user, password), timeout=20.0)

    def call(self, method: str, *parameters: Any) -> Any:
        """The result; raises `NotAnsweringError` with the node's own error."""
        request = {"jsonrpc": "1.0", "id": "tour", "method": method, "params": parameters}
        try:
            answer = self._http.post("/", json=request).json()
        except (httpx.HTTPError, ValueError) as error:
            raise NotAnsweringError(f"the node's {method}", type(error).__name__) from None
        if answer.get("error"):
            raise NotAnsweringError(f"the node's {method}", str(answer["error"].get("message")))
        return answer["result"]

    def transactions_paying(self, address: str, *, since_height: int) -> list[str]:
        """Ids of all transactions to ``address``, in blocks above the height and in the mempool."""
        found = []
        for height in range(since_height + 1, self.call("getblockcount") + 1):
            block = self.call("getblock", self.call("getblockhash", height), 2)
            found += [tx["txid"] for tx in block["tx"] if _pays(tx, address)]
        for txid in self.call("getrawmempool"):
            if _pays(self.call("getrawtransaction", txid, True), address):
                found.append(txid)
        return found

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()


class EventListener:
    """Keeps every event that the WebSocket brings, from `__enter__` to `__exit__`."""

    def __init__(self, api: str, token: str) -> None:
        self._url = api.replace("http", "ws", 1) + _EVENTS
        self._token = token
        self._heard: list[dict[str, Any]] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Self:
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            self._socket: ClientConnection = connect(self._url, additional_headers=headers)
        except OSError as error:
            raise NotAnsweringError(self._url, type(error).__name__) from None
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._thread.join(timeout=5)

    def first(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """The first event heard so far that is wanted."""
        return next((event for event in tuple(self._heard) if wanted(event)), None)

    def count(self) -> int:
        """How many events came."""
        return len(self._heard)

    def _listen(self) -> None:
        try:
            for message in self._socket:
                self._heard.append(json.loads(message))
        except ConnectionClosed:
            return


def mentions(event: dict[str, Any], word: str) -> bool:
    """Whether the word (a transaction id, say) stands anywhere in the event."""
    return word in json.dumps(event)


def _pays(transaction: dict[str, Any], address: str) -> bool:
    return any(output["scriptPubKey"].get("address") == address for output in transaction["vout"])
