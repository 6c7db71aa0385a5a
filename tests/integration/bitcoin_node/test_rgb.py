"""rgb-lib, unchanged, over Esplora and over Electrum: issue, receive, send, settle."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from tests.integration.bitcoin_node.rgb_proxy import RgbProxy

rgb = pytest.importorskip("rgb_lib", reason="rgb-lib is not installed")

Call = Callable[..., Awaitable[Any]]

FEE_RATE = 2


class RgbWallet:
    """One wallet of rgb-lib on one of the node's doors. It blocks, so it works in threads."""

    def __init__(self, folder: Path, door: str) -> None:
        folder.mkdir()
        keys = rgb.generate_keys(rgb.BitcoinNetwork.REGTEST, rgb.WitnessVersion.TAPROOT)
        data = rgb.WalletData(
            data_dir=str(folder),
            bitcoin_network=rgb.BitcoinNetwork.REGTEST,
            database_type=rgb.DatabaseType.SQLITE,
            max_allocations_per_utxo=5,
            supported_schemas=[rgb.AssetSchema.NIA],
        )
        ours = rgb.SinglesigKeys(
            account_xpub_vanilla=keys.account_xpub_vanilla,
            account_xpub_colored=keys.account_xpub_colored,
            vanilla_keychain=None,
            master_fingerprint=keys.master_fingerprint,
            mnemonic=keys.mnemonic,
            witness_version=rgb.WitnessVersion.TAPROOT,
        )
        self.wallet = rgb.Wallet(data, ours)
        options = rgb.OnlineOptions(indexer_url=door, skip_consistency_check=False, vanilla_sync_lookback=20)
        self.online = self.wallet.go_online(options)

    @classmethod
    async def opened(cls, folder: Path, door: str) -> RgbWallet:
        return await asyncio.to_thread(cls, folder, door)

    async def ask(self, method: str, *arguments: Any) -> Any:
        return await asyncio.to_thread(getattr(self.wallet, method), *arguments)

    async def ask_online(self, method: str, *arguments: Any) -> Any:
        return await self.ask(method, self.online, *arguments)

    async def status(self, asset_id: str) -> Any:
        return (await self.ask("list_transfers", asset_id))[-1].status


@pytest.fixture
async def proxy() -> AsyncIterator[str]:
    started = RgbProxy()
    yield await started.start()
    await started.server.close()


@pytest.mark.parametrize("door", ["esplora", "electrum"])
async def test_an_asset_is_issued_received_sent_and_settled(
    node: EmbeddedNode, call: Call, tmp_path: Path, proxy: str, door: str
) -> None:
    url = getattr(await node.addresses(), door)
    ours = await call("getnewaddress")
    await call("generatetoaddress", 101, ours)
    issuer, holder = [await RgbWallet.opened(tmp_path / name, url) for name in ("issuer", "holder")]
    for wallet in (issuer, holder):
        await call("sendtoaddress", await wallet.ask("get_address"), 1)
    await call("generatetoaddress", 1, ours)
    for wallet in (issuer, holder):
        assert await wallet.ask_online("create_utxos", False, 5, None, FEE_RATE, False) == 5
    await call("generatetoaddress", 1, ours)

    asset = await issuer.ask("issue_asset_nia", "USDT", "Tether", 0, [1000])
    expires = int(time.time()) + 3600
    invoice = await holder.ask("blind_receive", None, rgb.Assignment.ANY(), expires, [proxy], 1)
    recipient = rgb.Recipient(
        recipient_id=invoice.recipient_id,
        witness_data=None,
        assignment=rgb.Assignment.FUNGIBLE(amount=300),
        transport_endpoints=[proxy],
    )
    sent = await issuer.ask_online("send", {asset.asset_id: [recipient]}, False, FEE_RATE, 1, expires)
    await holder.ask_online("refresh", None, [], False)
    assert sent.txid not in await call("getrawmempool")
    await issuer.ask_online("refresh", None, [], False)
    assert sent.txid in await call("getrawmempool")
    await call("generatetoaddress", 1, ours)
    for wallet in (holder, issuer):
        await wallet.ask_online("refresh", None, [], False)
        assert await wallet.status(asset.asset_id) == rgb.TransferStatus.SETTLED
    balances = [
        (await wallet.ask("get_asset_balance", asset.asset_id)).settled for wallet in (issuer, holder)
    ]
    assert balances == [700, 300]
    spendable = await issuer.ask_online("get_btc_balance", False)
    assert spendable.vanilla.settled > 0
