"""A wallet on BDK, unchanged, over Esplora and over Electrum."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode

bdk = pytest.importorskip("bdkpython", reason="bdkpython is not installed")

Call = Callable[..., Awaitable[Any]]

WORDS = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about"
STOP_GAP = 20


class BdkWallet:
    """A BIP86 wallet on one of the node's doors. BDK blocks, so it works in threads: `opened` too."""

    @classmethod
    async def opened(cls, door: str) -> BdkWallet:
        return await asyncio.to_thread(cls, door)

    def __init__(self, door: str) -> None:
        secret = bdk.DescriptorSecretKey(bdk.NetworkKind.TEST, bdk.Mnemonic.from_string(WORDS), None)
        kinds = (bdk.KeychainKind.EXTERNAL, bdk.KeychainKind.INTERNAL)
        pair = [bdk.Descriptor.new_bip86(secret, kind, bdk.NetworkKind.TEST) for kind in kinds]
        self.wallet = bdk.Wallet(*pair, bdk.Network.REGTEST, bdk.Persister.new_in_memory())
        self.is_esplora = door.startswith("http")
        self.client = bdk.EsploraClient(door) if self.is_esplora else bdk.ElectrumClient(door)

    def address(self) -> str:
        return str(self.wallet.reveal_next_address(bdk.KeychainKind.EXTERNAL).address)

    async def full_scan(self) -> None:
        request = self.wallet.start_full_scan().build()
        last = (1,) if self.is_esplora else (10, True)
        self.wallet.apply_update(await asyncio.to_thread(self.client.full_scan, request, STOP_GAP, *last))

    async def sync(self) -> None:
        request = self.wallet.start_sync_with_revealed_spks().build()
        last = (1,) if self.is_esplora else (10, True)
        self.wallet.apply_update(await asyncio.to_thread(self.client.sync, request, *last))

    async def pay(self, address: str, amount_sat: int) -> str:
        script = bdk.Address(address, bdk.Network.REGTEST).script_pubkey()
        builder = bdk.TxBuilder().add_recipient(script, bdk.Amount.from_sat(amount_sat))
        # BDK's own lock time, the height of now, would keep it from waiting after a reorganisation.
        builder = builder.nlocktime(bdk.LockTime.BLOCKS(0))
        psbt = builder.fee_rate(bdk.FeeRate.from_sat_per_vb(3)).finish(self.wallet)
        assert self.wallet.sign(psbt)
        transaction = psbt.extract_tx()
        send = self.client.broadcast if self.is_esplora else self.client.transaction_broadcast
        await asyncio.to_thread(send, transaction)
        return str(transaction.compute_txid())

    def block_of(self, txid: str) -> str | None:
        """The block that the wallet has seen the transaction in, None while it waits."""
        found = next(tx for tx in self.wallet.transactions() if str(tx.transaction.compute_txid()) == txid)
        position = found.chain_position
        return str(position.confirmation_block_time.block_id.hash) if position.is_confirmed() else None

    @property
    def balance_sat(self) -> tuple[int, int]:
        """Confirmed; and waiting, trusted or not."""
        balance = self.wallet.balance()
        waiting = balance.trusted_pending.to_sat() + balance.untrusted_pending.to_sat()
        return balance.confirmed.to_sat(), waiting


@pytest.mark.parametrize("door", ["esplora", "electrum"])
async def test_bdk_scans_receives_spends_and_sees_a_reorganisation(
    node: EmbeddedNode, call: Call, door: str
) -> None:
    url = getattr(await node.addresses(), door)
    ours = await call("getnewaddress")
    await call("generatetoaddress", 101, ours)
    wallet = await BdkWallet.opened(url)
    first = await call("sendtoaddress", wallet.address(), 1)
    await wallet.full_scan()
    assert wallet.balance_sat == (0, 100_000_000)
    (block_hash,) = await call("generatetoaddress", 1, ours)
    await wallet.sync()
    assert wallet.balance_sat == (100_000_000, 0)
    assert wallet.block_of(first) == block_hash

    sent = await wallet.pay(ours, 40_000_000)
    assert sent in await call("getrawmempool")
    await call("generatetoaddress", 1, ours)
    await wallet.sync()
    confirmed, waiting = wallet.balance_sat
    assert (59_990_000 < confirmed < 60_000_000, waiting) == (True, 0)

    # A fresh wallet of the same words finds all of it.
    again = await BdkWallet.opened(url)
    await again.full_scan()
    assert again.balance_sat == (confirmed, 0)

    # The block of the first payment goes, and all after it; both wait, then another block has them.
    # (Over Electrum, BDK takes no notice of a branch that is lower than what it has seen.)
    await call("invalidateblock", block_hash)
    for _ in range(2):
        await call("generateblock", ours, [])
    await wallet.sync()
    assert (wallet.block_of(first), wallet.block_of(sent)) == (None, None)
    (other,) = await call("generatetoaddress", 1, ours)
    await wallet.sync()
    assert wallet.block_of(first) == wallet.block_of(sent) == other
    assert wallet.balance_sat == (confirmed, 0)


async def test_bdks_smaller_questions_over_esplora(node: EmbeddedNode, call: Call) -> None:
    ours = await call("getnewaddress")
    hashes = await call("generatetoaddress", 101, ours)
    txid = await call("sendtoaddress", ours, 1)
    client = bdk.EsploraClient((await node.addresses()).esplora)

    async def ask(method: str, *arguments: Any) -> Any:
        return await asyncio.to_thread(getattr(client, method), *arguments)

    assert await ask("get_height") == 101
    assert str(await ask("get_tip_hash")) == str(await ask("get_block_hash", 101)) == hashes[-1]
    named = bdk.Txid.from_string(txid)
    assert str((await ask("get_tx", named)).compute_txid()) == txid
    assert (await ask("get_tx_info", named)).status.confirmed is False
    await call("generatetoaddress", 1, ours)
    assert (await ask("get_tx_status", named)).confirmed is True
    assert (await ask("get_merkle_proof", named)).pos == 1
    assert (await ask("get_output_status", named, 0)).spent is False
    assert await ask("get_tx", bdk.Txid.from_string("00" * 32)) is None
    assert isinstance(await ask("get_fee_estimates"), dict)
    block_hash = bdk.BlockHash.from_string(hashes[0])
    assert str((await ask("get_header_by_hash", block_hash)).prev_blockhash)
    assert (await ask("get_block_by_hash", block_hash)) is not None
    assert str(await ask("get_txid_at_block_index", block_hash, 0))
    assert len(await ask("get_address_txs", bdk.Address(ours, bdk.Network.REGTEST), None)) == 25


async def test_bdks_smaller_questions_over_electrum(node: EmbeddedNode, call: Call) -> None:
    ours = await call("getnewaddress")
    await call("generatetoaddress", 101, ours)
    txid = await call("sendtoaddress", ours, 1)
    client = await asyncio.to_thread(bdk.ElectrumClient, (await node.addresses()).electrum)

    async def ask(method: str, *arguments: Any) -> Any:
        return await asyncio.to_thread(getattr(client, method), *arguments)

    await ask("ping")
    assert (await ask("server_features")).hash_function == "sha256"
    assert (await ask("block_headers_subscribe")).height == 101
    await call("generatetoaddress", 1, ours)
    news = None
    while news is None:  # the client takes in what was sent when it is asked for something
        await ask("ping")
        news = await ask("block_headers_pop")
    assert news.height == 102
    named = bdk.Txid.from_string(txid)
    assert str((await ask("fetch_tx", named)).compute_txid()) == txid
    assert len(await ask("transaction_get_raw", named)) > 60
    assert await ask("relay_fee") > 0
    assert isinstance(await ask("estimate_fee", 6), float)
    assert (await ask("block_header", 5)).version
