"""The node's ZMQ notifications: one PUB socket on loopback for all of Core's topics."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator

import zmq

from anya_actors.domain.bitcoin.core_notifications import (
    HIGH_WATER_MARK,
    Publication,
    Topic,
    of_chain_change,
    of_entry,
    of_removal,
)
from anya_actors.domain.bitcoin.mempool import EntryAdded, RemovalReason
from anya_actors.domain.machine import InvalidInputError
from anya_actors.serve.bitcoin_node.errors import BusyPortError
from anya_actors.services.bitcoin_node.chain import ChainChange
from anya_actors.services.bitcoin_node.notices import Notice
from anya_actors.services.bitcoin_node.service import BitcoinNodeService


class ZmqPublisher:
    """Publishes how the node changes, from `start` to `close`.

    A message has three parts: topic, body, and a little-endian counter of the topic's messages,
    by which a subscriber sees that it missed some. Sending never waits.
    """

    def __init__(self, node: BitcoinNodeService) -> None:
        self._node = node
        self._socket: zmq.Socket[bytes] | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._end: Callable[[], None] | None = None
        self._sent: Counter[Topic] = Counter()

    async def start(self, host: str, port: int) -> int:
        """Listen; the port that was bound. Raises `BusyPortError`; refuses hosts beyond loopback."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            address = None
        if address is None or not address.is_loopback:
            raise InvalidInputError("the node's host", f"{host} is not a loopback address such as 127.0.0.1")
        self._context = zmq.Context()
        socket = self._context.socket(zmq.PUB)
        socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.IPV6, address.version == 6)
        self._socket = socket
        try:
            socket.bind(f"tcp://{f'[{host}]' if address.version == 6 else host}:{port or '*'}")
        except zmq.ZMQError as error:
            self._release()
            raise BusyPortError(host, port) from error
        self._end = self._node.subscribe(self._tell)
        return int(socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0").rpartition(":")[2])

    async def close(self) -> None:
        """Stop publishing and close the socket."""
        if self._end is not None:
            self._end()
            self._end = None
        self._release()

    def _release(self) -> None:
        socket, self._socket = self._socket, None
        context, self._context = self._context, None
        if socket is not None:
            socket.close()
        if context is not None:
            context.term()

    def _tell(self, notice: Notice) -> None:
        for topic, body in publications_of(notice):
            self._publish(topic, body)

    def _publish(self, topic: Topic, body: bytes) -> None:
        if self._socket is None:
            return
        counter = self._sent[topic] & 0xFFFFFFFF
        self._sent[topic] += 1
        parts = [topic.value.encode(), body, counter.to_bytes(4, "little")]
        self._socket.send_multipart(parts, flags=zmq.NOBLOCK)


def publications_of(notice: Notice) -> Iterator[Publication]:
    """What Core would publish of this change."""
    if isinstance(notice, ChainChange):
        yield from of_chain_change(notice.disconnected, notice.connected)
        return
    for change in notice.notices:
        if isinstance(change, EntryAdded):
            yield from of_entry(change.entry.transaction, change.sequence)
        elif change.reason is not RemovalReason.BLOCK:
            yield of_removal(change.entry.txid, change.sequence)
