"""``backupwallet`` and ``restorewallet``: a wallet as a file, and back again."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode

Call = Callable[..., Awaitable[Any]]
FOREIGN = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
KEY = "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW"


def _client_call(client: httpx.AsyncClient) -> Call:
    async def call_method(wallet: str, name: str, *params: Any) -> Any:
        body = {"id": 1, "method": name, "params": params}
        content = (await client.post(f"/wallet/{wallet}", json=body)).json()
        if content["error"] is not None:
            raise LookupError(content["error"]["code"], content["error"]["message"])
        return content["result"]

    return call_method


@pytest.fixture
def at(http: httpx.AsyncClient) -> Call:
    """Call a method of the wallet of this name."""
    return _client_call(http)


async def _refused(call: Awaitable[Any]) -> tuple[int, str]:
    with pytest.raises(LookupError) as caught:
        await call
    return caught.value.args[0], caught.value.args[1]


async def _view(at: Call, wallet: str) -> dict[str, Any]:
    """What can be seen of a wallet."""
    descriptors = (await at(wallet, "listdescriptors", True))["descriptors"]
    history = await at(wallet, "listtransactions", "*", 100)
    return {
        "descriptors": descriptors,
        "coins": await at(wallet, "listunspent", 0),
        "history": sorted(history, key=lambda item: (item["txid"], item["category"], item["vout"])),
        "locked": await at(wallet, "listlockunspent"),
        "balances": await at(wallet, "getbalances"),
        "labels": await at(wallet, "listlabels"),
    }


async def _lived_wallet(call: Call, at: Call) -> None:
    """A wallet with coins, labels, payments, a locked coin and an imported key."""
    await call("createwallet", "lived")
    address = await at("lived", "getnewaddress", "mine")
    await call("generatetoaddress", 3, address)
    await call("generatetoaddress", 100, FOREIGN)
    checksum = (await call("getdescriptorinfo", f"pkh({KEY})"))["checksum"]
    text = f"pkh({KEY})#{checksum}"
    (imported,) = await at("lived", "importdescriptors", [{"desc": text, "timestamp": "now", "label": "own"}])
    assert imported["success"], imported
    await at("lived", "sendtoaddress", FOREIGN, 1, "rent", "landlord")
    coin = (await at("lived", "listunspent"))[0]
    await at("lived", "lockunspent", False, [{"txid": coin["txid"], "vout": coin["vout"]}], True)


async def test_a_restored_wallet_is_the_same_wallet_and_pays(call: Call, at: Call, tmp_path: Path) -> None:
    await _lived_wallet(call, at)
    file = tmp_path / "lived.backup"
    assert await at("lived", "backupwallet", str(file)) is None
    assert file.stat().st_mode & 0o777 == 0o600
    assert await call("restorewallet", "again", str(file)) == {"name": "again"}
    assert await call("listwallets") == ["lived", "again"]
    assert await _view(at, "again") == await _view(at, "lived")
    # The next address of both is the same, and the copy can spend.
    assert await at("again", "getnewaddress") == await at("lived", "getnewaddress")
    txid = await at("again", "sendtoaddress", FOREIGN, 2)
    assert txid in await call("getrawmempool")
    assert [name for name in os.listdir(tmp_path) if "backup" in name] == [file.name]


async def test_backups_outlive_the_node_and_other_nodes_take_them(
    make_node: Callable[..., EmbeddedNode],
    cookie_of: Callable[[str], tuple[str, str]],
    tmp_path: Path,
) -> None:
    async def life(*calls: tuple[Any, ...]) -> list[Any]:
        node = make_node()
        addresses = await node.start()
        auth = cookie_of(addresses.bitcoin_cookie)
        try:
            async with httpx.AsyncClient(base_url=addresses.bitcoin_rpc, auth=auth, timeout=60.0) as client:
                return [await _client_call(client)(*one) for one in calls]
        finally:
            await node.close()

    folder = tmp_path / "backups"
    folder.mkdir()
    before = await life(
        ("", "getnewaddress", "first"),
        ("", "backupwallet", str(folder)),
        ("", "listdescriptors", True),
        ("", "restorewallet", "copy", str(folder / "wallet.dat")),
    )
    after = await life(("copy", "listdescriptors", True), ("copy", "getaddressinfo", before[0]))
    assert after[0]["descriptors"] == before[2]["descriptors"]
    assert after[1]["ismine"]
    assert after[1]["labels"] == ["first"]


async def test_what_is_no_backup_is_refused_in_cores_words(call: Call, at: Call, tmp_path: Path) -> None:
    await call("createwallet", "first")
    file = tmp_path / "first.backup"
    await at("first", "backupwallet", str(file))
    assert await _refused(call("restorewallet", "first", str(file))) == (
        -36,
        "Failed to restore wallet. Database file exists in 'first'.",
    )
    missing = str(tmp_path / "nothing")
    assert await _refused(call("restorewallet", "new", missing)) == (-8, "Backup file does not exist")
    assert (await _refused(call("restorewallet", "a/b", str(file))))[0] == -4
    good = file.read_bytes()
    damaged = good[:-1] + bytes([good[-1] ^ 1])
    for content in (b"", b"SQLite format 3\0", good[:-1], good[:60], damaged, good + b"\0"):
        file.write_bytes(content)
        assert await _refused(call("restorewallet", "new", str(file))) == (
            -18,
            "Wallet file verification failed. Failed to load database path 'new'. "
            "Data is not in recognized format.",
        )
    assert await call("listwallets") == ["first"]


async def test_where_nothing_can_be_written_the_backup_fails(call: Call, at: Call, tmp_path: Path) -> None:
    await call("createwallet", "first")
    for place in (str(tmp_path / "nowhere" / "file"), "", "a\0b"):
        assert await _refused(at("first", "backupwallet", place)) == (-4, "Error: Wallet backup failed!")
