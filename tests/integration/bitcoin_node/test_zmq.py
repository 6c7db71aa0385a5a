"""ZMQ notifications, received by a real SUB socket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import zmq
import zmq.asyncio

from anya_actors.domain.bitcoin.core_notifications import Topic
from anya_actors.domain.bitcoin.mempool import EntryRemoved, MempoolEntry, RemovalReason
from anya_actors.domain.bitcoin.transaction import Transaction
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from anya_actors.serve.bitcoin_node.zmq_publisher import publications_of
from anya_actors.services.bitcoin_node.notices import MempoolChange

Call = Callable[..., Awaitable[Any]]
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
TOPICS = ("rawblock", "rawtx", "hashblock", "hashtx", "sequence")


class Listener:
    """A subscriber of all topics that checks their counters."""

    def __init__(self, socket: zmq.asyncio.Socket) -> None:
        self._socket = socket
        self._counters: dict[bytes, int] = {}

    async def next(self) -> tuple[str, str]:
        topic, body, counter = await self._socket.recv_multipart()
        number = int.from_bytes(counter, "little")
        assert len(counter) == 4
        assert number == self._counters.setdefault(topic, number)
        self._counters[topic] += 1
        return topic.decode(), body.hex()

    async def take(self, count: int) -> list[tuple[str, str]]:
        return [await self.next() for _ in range(count)]

    async def is_connected(self) -> bool:
        return bool(await self._socket.poll(50))

    async def drain(self) -> None:
        while await self._socket.poll(50):
            await self.next()


@pytest.fixture
async def listener(node: EmbeddedNode, call: Call) -> AsyncIterator[Listener]:
    """Subscribed and heard: a subscription takes effect some time after it is made."""
    addresses = await node.addresses()
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    for topic in TOPICS:
        socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
    socket.connect(addresses.zmq_rawblock or "")
    found = Listener(socket)
    while not await found.is_connected():
        await call("generatetoaddress", 1, ADDRESS)
    await found.drain()
    yield found
    socket.close(linger=0)
    context.term()


async def test_every_topic_has_its_address(node: EmbeddedNode, call: Call) -> None:
    addresses = await node.addresses()
    told = await call("getzmqnotifications")
    assert sorted(item["type"] for item in told) == sorted(f"pub{topic}" for topic in TOPICS)
    for item in told:
        assert item["address"] == getattr(addresses, f"zmq_{item['type'][3:]}")
        assert item["hwm"] == 1000


async def test_a_new_block_is_told_as_core_tells_it(listener: Listener, call: Call) -> None:
    (block_hash,) = await call("generatetoaddress", 1, ADDRESS)
    raw = await call("getblock", block_hash, 0)
    coinbase = (await call("getblock", block_hash, 2))["tx"][0]
    assert await listener.take(5) == [
        ("hashtx", coinbase["txid"]),
        ("rawtx", coinbase["hex"]),
        ("sequence", block_hash + b"C".hex()),
        ("hashblock", block_hash),
        ("rawblock", raw),
    ]


async def test_a_reorganisation_tells_what_went_and_one_new_tip(listener: Listener, call: Call) -> None:
    first, second = await call("generatetoaddress", 2, ADDRESS)
    await listener.drain()
    await call("invalidateblock", first)
    told = [item for item in await listener.take(6) if item[0] in ("sequence", "hashblock")]
    assert told == [("sequence", second + b"D".hex()), ("sequence", first + b"D".hex())]
    await call("reconsiderblock", first)
    told = [item for item in await listener.take(8) if item[0] in ("sequence", "hashblock")]
    assert told == [
        ("sequence", first + b"C".hex()),
        ("sequence", second + b"C".hex()),
        ("hashblock", second),
    ]


async def test_who_enters_and_leaves_the_mempool_is_told_with_cores_numbers(
    listener: Listener, call: Call
) -> None:
    address = await call("getnewaddress")
    await call("generatetoaddress", 101, address)
    await listener.drain()
    txid = await call("sendtoaddress", address, 1)
    raw = await call("getrawtransaction", txid)
    following = (await call("getrawmempool", False, True))["mempool_sequence"]
    number = (following - 1).to_bytes(8, "little").hex()
    assert await listener.take(3) == [
        ("hashtx", txid),
        ("rawtx", raw),
        ("sequence", txid + b"A".hex() + number),
    ]
    (block_hash,) = await call("generatetoaddress", 1, ADDRESS)
    told = [item for item in await listener.take(7) if item[0] == "sequence"]
    assert told == [("sequence", block_hash + b"C".hex())]  # the block tells of the transaction's leaving


@pytest.mark.parametrize("reason", list(RemovalReason))
def test_leaving_is_told_unless_a_block_tells_it(reason: RemovalReason) -> None:
    entry = MempoolEntry(Transaction(2, (), ()), 0, 0, 0)
    told = list(publications_of(MempoolChange((EntryRemoved(entry, reason, 7),))))
    expected = (Topic.SEQUENCE, entry.txid[::-1] + b"R" + (7).to_bytes(8, "little"))
    assert told == ([] if reason is RemovalReason.BLOCK else [expected])
