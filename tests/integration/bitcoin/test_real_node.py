"""The bitcoin service against a whole node: real consensus rules, real JSON-RPC, real restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from anya_actors.adapters.bitcoin_rpc import CoreBitcoinRpc
from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.files.append_log import FileAppendLog
from anya_actors.adapters.files.disk import SystemDisk
from anya_actors.adapters.memory.event_bus import MemoryEventBus
from anya_actors.adapters.memory.keyring import MemoryKeyring
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.events import BitcoinTransactionSeen
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.rules import EVENT
from anya_actors.ports.bitcoin_rpc import NodeUnreachableError
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode, EmbeddedNodeSettings
from anya_actors.services.bitcoin import BitcoinService, BitcoinSettings

REWARD_SAT = 50 * 100_000_000
PAYEE = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


class Setting:
    """One data directory with a node that stops and starts, and the service that uses it."""

    def __init__(self, data_dir: Path) -> None:
        self.clock, self.randomness = SystemClock(), SystemRandomness()
        self.data_dir = data_dir
        self.keyring, self.stores, self.bus = MemoryKeyring(), MemoryStateStores(), MemoryEventBus()
        self.node = self._new_node()

    def _new_node(self) -> EmbeddedNode:
        async def open_journal() -> FileAppendLog:
            return await FileAppendLog.open(SystemDisk(self.data_dir), "journal")

        return EmbeddedNode(
            EmbeddedNodeSettings(self.data_dir),
            engines=KernelEngines(self.data_dir / "kernel", Network.REGTEST),
            open_journal=open_journal,
            indexes=RocksdbChainIndexes(self.data_dir / "indexes"),
            clock=self.clock,
            randomness=self.randomness,
        )

    async def start_node(self) -> None:
        self.node = self._new_node()
        await self.node.start()

    async def start_service(self) -> BitcoinService:
        addresses = await self.node.addresses()
        service = BitcoinService(
            store=await self.stores.activate("bitcoin/main"),
            rpc=CoreBitcoinRpc(
                addresses.bitcoin_rpc,
                cookie_path=Path(addresses.bitcoin_cookie),
                clock=self.clock,
                randomness=self.randomness,
                timeout_s=10.0,
            ),
            signer=self.keyring,
            actors=self.keyring,
            clock=self.clock,
            randomness=self.randomness,
            bus=self.bus,
            settings=BitcoinSettings(poll_interval_s=0.2, mempool_interval_s=0.2),
        )
        await service.resume()
        return service


@pytest.fixture
async def setting(tmp_path: Path) -> AsyncIterator[Setting]:
    setting = Setting(tmp_path)
    await setting.node.start()
    yield setting
    await setting.node.close()


async def test_the_whole_way_of_money(setting: Setting) -> None:
    service = await setting.start_service()
    wallet = await service.create_wallet("main", message_id="w")
    await service.generate(wallet.address, 101, message_id="g1")
    balance = await service.balance("main")
    assert (balance.confirmed_sat, balance.immature_sat) == (REWARD_SAT, 100 * REWARD_SAT)
    promised = await service.send("main", PAYEE, 123_456_789, None, message_id="p")
    await service.settled("main")
    assert (await service.payment(promised.payment_id)).phase == "broadcast"
    (block_hash,) = await service.generate(wallet.address, 1, message_id="g2")
    confirmed = await service.payment(promised.payment_id)
    assert (confirmed.phase, confirmed.txid) == ("confirmed", promised.txid)
    shown = await service.transaction(promised.txid)
    assert shown.block_hash == block_hash
    assert [output.amount_sat for output in shown.outputs if output.address == PAYEE] == [123_456_789]
    assert promised.txid in (await service.block(block_hash)).txids
    await service.close()


async def test_a_payment_outlives_the_death_of_the_node_and_of_the_service(setting: Setting) -> None:
    service = await setting.start_service()
    wallet = await service.create_wallet("main", message_id="w")
    await service.generate(wallet.address, 101, message_id="g1")
    await setting.node.close()
    promised = await service.send("main", PAYEE, 1_000_000, 5, message_id="p")
    with pytest.raises(NodeUnreachableError):
        await service.tip()
    await service.close()
    await setting.start_node()
    service = await setting.start_service()
    await service.settled("main")
    assert (await service.payment(promised.payment_id)).phase == "broadcast"
    await service.generate(wallet.address, 6, message_id="g2")
    assert (await service.payment(promised.payment_id)).phase == "settled"
    assert await service.send("main", PAYEE, 1_000_000, 5, message_id="p") == promised
    assert (await service.balance("main")).pending_sat == 0
    await service.close()


async def test_the_service_finds_a_restarted_node_again_by_its_new_cookie(setting: Setting) -> None:
    service = await setting.start_service()
    wallet = await service.create_wallet("main", message_id="w")
    await service.generate(wallet.address, 3, message_id="g1")
    await setting.node.close()
    await setting.start_node()
    await setting.clock.sleep(1.1)  # the adapter may have found out, and leaves the node in peace
    assert (await service.tip()).height == 3
    await service.generate(wallet.address, 1, message_id="g2")
    assert (await service.balance("main")).immature_sat == 4 * REWARD_SAT
    await service.close()


async def test_a_silent_payment_is_seen_while_it_waits_replaced_and_confirmed(setting: Setting) -> None:
    service = await setting.start_service()
    wallet = await service.create_wallet("main", message_id="w")
    await service.create_wallet("receiver", message_id="r")
    silent = (await service.wallet_book.silent_address("receiver", "s")).address
    await service.generate(wallet.address, 101, message_id="g1")
    promised = await service.send("main", silent, 1_000_000, 2, message_id="p")
    await service.settled("main")
    await service.follow()
    assert (await service.balance("receiver")).pending_sat == 1_000_000
    raised = await service.bump_payment(promised.payment_id, 9, message_id="b")
    await service.settled("main")
    await service.follow()
    assert (await service.balance("receiver")).pending_sat == 1_000_000
    # This one spends the change of the one before, which waits too.
    await service.send("main", silent, 2_000_000, 2, message_id="p2")
    await service.settled("main")
    await service.follow()
    assert (await service.balance("receiver")).pending_sat == 3_000_000
    await service.generate(wallet.address, 1, message_id="g2")
    balance = await service.balance("receiver")
    assert (balance.pending_sat, balance.confirmed_sat) == (0, 3_000_000)
    told = [EVENT.decode(one.event) for one in await setting.bus.events_after(0, 1000, 0)]
    seen = [one.txid for one in told if isinstance(one, BitcoinTransactionSeen) and one.wallet == "receiver"]
    assert seen[:2] == [promised.txid, raised.txid]
    assert len(set(seen)) == len(seen) == 3
    await service.close()
