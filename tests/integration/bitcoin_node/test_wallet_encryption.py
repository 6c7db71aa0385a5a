"""Wallets under a passphrase, as Bitcoin Core's users know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import bitcoinrpc
import httpx
import pytest

from anya_actors.domain.bitcoin.descriptors import parse_descriptor
from anya_actors.domain.bitcoin.network import Network
from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode
from anya_actors.services.bitcoin_node.wallets.records import WalletMade

Call = Callable[..., Awaitable[Any]]
FOREIGN = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
WIF = "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW"
FIRST, SECOND = "WalletPassphrase", "SecondWalletPassphrase"
LOCKED = (-13, "Error: Please enter the wallet passphrase with walletpassphrase first.")
WRONG = (-14, "Error: The wallet passphrase entered was incorrect.")


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


async def _with_checksum(call: Call, text: str) -> str:
    return f"{text}#{(await call('getdescriptorinfo', text))['checksum']}"


async def _rich(call: Call, at: Call, wallet: str = "w") -> str:
    """A wallet with two mature coins; an address of it."""
    await call("createwallet", wallet)
    address = str(await at(wallet, "getnewaddress", "mine", "legacy"))
    await call("generatetoaddress", 2, address)
    await call("generatetoaddress", 100, FOREIGN)
    return address


async def _unlocked_until(at: Call) -> int:
    return int((await at("w", "getwalletinfo"))["unlocked_until"])


async def test_a_wallet_is_encrypted_unlocked_locked_and_rekeyed(call: Call, at: Call) -> None:
    address = await _rich(call, at)
    assert "unlocked_until" not in await at("w", "getwalletinfo")
    unencrypted = "Error: running with an unencrypted wallet, but {} was called."
    for name, params in (
        ("walletpassphrase", ("ff", 1)),
        ("walletpassphrasechange", ("ff", "ff")),
        ("walletlock", ()),
    ):
        assert await _refused(at("w", name, *params)) == (-15, unencrypted.format(name))
    assert await _refused(at("w", "encryptwallet", "")) == (-8, "passphrase cannot be empty")
    before = await at("w", "signmessage", address, "hello")
    assert (await at("w", "encryptwallet", FIRST)).startswith(
        "wallet encrypted; The keypool has been flushed"
    )
    assert await _unlocked_until(at) == 0

    assert await _refused(at("w", "signmessage", address, "hello")) == LOCKED
    encrypted = "Error: running with an encrypted wallet, but encryptwallet was called."
    assert await _refused(at("w", "encryptwallet", "ff")) == (-15, encrypted)
    empty = (-8, "passphrase cannot be empty")
    assert await _refused(at("w", "walletpassphrase", "", 1)) == empty
    assert await _refused(at("w", "walletpassphrasechange", "", "ff")) == empty
    assert await _refused(at("w", "walletpassphrasechange", FIRST, "")) == empty

    assert await at("w", "walletpassphrase", FIRST, 60) is None
    assert await at("w", "signmessage", address, "hello") == before
    assert await _refused(at("w", "walletpassphrase", FIRST + "wrong", 10)) == WRONG
    assert await at("w", "signmessage", address, "hello") == before  # a wrong one locks nothing
    assert await at("w", "walletlock") is None
    assert await _refused(at("w", "signmessage", address, "hello")) == LOCKED

    assert await _refused(at("w", "walletpassphrasechange", "no", SECOND)) == WRONG
    assert await at("w", "walletpassphrasechange", FIRST, SECOND) is None
    assert await _unlocked_until(at) == 0
    assert await _refused(at("w", "walletpassphrase", FIRST, 10)) == WRONG
    await at("w", "walletpassphrase", SECOND, 10)
    assert await at("w", "signmessage", address, "hello") == before


async def test_the_time_is_bounded_as_cores_is_and_ends_when_the_clock_says(call: Call, at: Call) -> None:
    await _rich(call, at)
    await at("w", "encryptwallet", FIRST)
    now = 2_000_000_000
    await call("setmocktime", now)
    assert await _refused(at("w", "walletpassphrase", FIRST, -10)) == (-8, "Timeout cannot be negative.")
    assert (await _refused(at("w", "walletpassphrase", FIRST, 1.5)))[0] == -1
    most = 100_000_000
    for asked, given in ((most - 600, most - 600), (most + 1000, most), (1 << 62, most), (600, 600)):
        await at("w", "walletpassphrase", FIRST, asked)
        assert await _unlocked_until(at) == now + given
    # The later call has set the time anew, so it ends in ten minutes.
    await call("mockscheduler", 599)
    assert await _unlocked_until(at) == now + 600
    await call("mockscheduler", 2)
    assert await _unlocked_until(at) == 0
    assert await _refused(at("w", "sendtoaddress", FOREIGN, 1)) == LOCKED
    for delta in (0, -1, 3601):
        text = "delta_time must be between 1 and 3600 seconds (1 hr)"
        assert await _refused(call("mockscheduler", delta)) == (-1, text)


async def test_a_passphrase_with_a_null_character_is_taken_whole(call: Call, at: Call) -> None:
    await call("createwallet", "w")
    whole = "Phrase\0with\0null characters"
    await at("w", "encryptwallet", whole)
    code, text = await _refused(at("w", "walletpassphrase", whole + "x", 10))
    assert code == -14
    assert text.startswith("Error: The wallet passphrase entered is incorrect. It contains a null character")
    code, text = await _refused(at("w", "walletpassphrasechange", whole + "x", "abc"))
    assert text.startswith("Error: The old wallet passphrase entered is incorrect. It contains a null")
    assert text.endswith("the first null character.")
    assert await _refused(at("w", "walletpassphrase", "Phrase", 10)) == WRONG
    await at("w", "walletpassphrase", whole, 10)


async def test_a_locked_wallet_shows_and_receives_and_refuses_what_needs_keys(call: Call, at: Call) -> None:
    address = await _rich(call, at)
    coin = (await at("w", "listunspent"))[0]
    raw = await call("createrawtransaction", [{"txid": coin["txid"], "vout": coin["vout"]}], {FOREIGN: 1})
    bumped = await at("w", "sendtoaddress", FOREIGN, 1)
    await at("w", "encryptwallet", FIRST)
    funded = await at("w", "walletcreatefundedpsbt", [], {FOREIGN: 2})

    private = await _with_checksum(call, f"pkh({WIF})")
    wpkh = await _with_checksum(call, f"wpkh({WIF})")
    for name, *params in (
        ("sendtoaddress", FOREIGN, 1),
        ("sendmany", "", {FOREIGN: 1}),
        ("signrawtransactionwithwallet", raw),
        ("walletprocesspsbt", funded["psbt"]),
        ("signmessage", address, "m"),
        ("bumpfee", bumped),
        ("keypoolrefill",),
        ("listdescriptors", True),
        ("importdescriptors", [{"desc": private, "timestamp": "now"}]),
        ("rescanblockchain",),
    ):
        assert await _refused(at("w", name, *params)) == LOCKED, name
    # What needs none goes on.
    for kind in ("legacy", "p2sh-segwit", "bech32", "bech32m"):
        fresh = [await at("w", "getnewaddress", "", kind) for _ in range(45)]
        assert len(set(fresh)) == 45
        info = await at("w", "getaddressinfo", fresh[-1])
        assert (info["ismine"], info["solvable"]) == (True, True)
        assert await at("w", "getrawchangeaddress", kind)
    paid = await at("w", "getnewaddress")
    await call("generateblock", paid, [])
    assert (await at("w", "getbalances"))["mine"]["immature"] > 0
    assert await at("w", "listunspent")
    assert len((await at("w", "listdescriptors"))["descriptors"]) == 16
    assert (await at("w", "walletprocesspsbt", funded["psbt"], False))["complete"] is False
    unsigned = await at("w", "send", {FOREIGN: 1})
    assert unsigned["complete"] is False
    assert (await at("w", "psbtbumpfee", bumped))["psbt"]

    await at("w", "walletpassphrase", FIRST, 600)
    done = await at("w", "walletprocesspsbt", unsigned["psbt"])
    assert done["complete"] is True
    assert (await at("w", "signrawtransactionwithwallet", raw))["complete"] is True
    assert (await at("w", "bumpfee", bumped))["txid"]
    (imported,) = await at("w", "importdescriptors", [{"desc": wpkh, "timestamp": "now"}])
    assert imported["success"], imported
    assert await at("w", "sendtoaddress", FOREIGN, 1)
    assert await at("w", "keypoolrefill") is None


async def test_what_an_unlocked_wallet_imports_is_sealed_too_and_signs_after_a_restart(
    make_node: Callable[..., EmbeddedNode], cookie_of: Callable[[str], tuple[str, str]], tmp_path: Path
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

    (made, address, info) = await life(
        ("", "createwallet", "w", False, False, FIRST),
        ("w", "getnewaddress", "", "legacy"),
        ("w", "getdescriptorinfo", f"pkh({WIF})"),
    )
    assert made == {"name": "w"}
    imported = {"desc": f"pkh({WIF})#{info['checksum']}", "timestamp": "now"}
    (single,) = parse_descriptor(f"pkh({WIF})", Network.REGTEST).descriptors
    *_, results, private, first, second = await life(
        ("w", "walletpassphrase", FIRST, 600),
        ("w", "importdescriptors", [imported]),
        ("w", "listdescriptors", True),
        ("w", "signmessage", address, "m"),
        ("w", "signmessage", single.address(), "m"),
    )
    assert results == [{"success": True}]
    secrets = _secrets(private)
    assert WIF in secrets
    assert len(secrets) == 2
    assert not _found(tmp_path, secrets)
    # A restarted node has it locked.
    with pytest.raises(LookupError, match="passphrase"):
        await life(("w", "signmessage", address, "m"))
    *_, third, fourth, again = await life(
        ("w", "walletpassphrase", FIRST, 600),
        ("w", "signmessage", address, "m"),
        ("w", "signmessage", single.address(), "m"),
        ("w", "listdescriptors", True),
    )
    assert (third, fourth, again) == (first, second, private)


def _secrets(private: dict[str, Any]) -> set[str]:
    """The private keys of `listdescriptors true`, as text."""
    found: set[str] = set()
    for one in private["descriptors"]:
        keys = parse_descriptor(one["desc"], Network.REGTEST).private_keys
        found |= {key.reveal() for key in keys.extended.values()}
        found |= {WIF for _ in keys.single}
    return found


def _raw(secret: str) -> bytes:
    """The 32 bytes of a private key."""
    ring = parse_descriptor(f"pkh({secret})", Network.REGTEST).private_keys
    return bytes(ring.secrets[0].buffer)


def _found(folder: Path, secrets: set[str]) -> set[str]:
    """Those that stand in a file, as text or as bytes."""
    contents = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    assert contents
    return {one for one in secrets if any(one.encode() in held or _raw(one) in held for held in contents)}


async def test_after_encrypting_no_file_of_the_node_holds_a_key_and_all_old_coins_are_spent(
    call: Call, at: Call, tmp_path: Path
) -> None:
    await _rich(call, at)
    private = await _with_checksum(call, f"pkh({WIF})")
    await at("w", "importdescriptors", [{"desc": private, "timestamp": "now"}])
    await call("createwallet", "other")
    before = await at("w", "listdescriptors", True)
    secrets, others = _secrets(before), _secrets(await at("other", "listdescriptors", True))
    # An imported key stands there as text; a seed's does not, but its seed does.
    assert _found(tmp_path, secrets) == {WIF}
    seeds = {text for text in secrets if text != WIF}
    await at("w", "encryptwallet", FIRST)
    assert not _found(tmp_path, secrets)
    await at("w", "walletpassphrase", FIRST, 600)
    after = await at("w", "listdescriptors", True)
    kept = {one["desc"] for one in after["descriptors"]}
    assert kept >= {one["desc"] for one in before["descriptors"]}
    fresh = _secrets(after) - secrets
    assert len(fresh) == 1
    assert not _found(tmp_path, fresh | secrets)
    assert seeds
    # New addresses come from the new seed, and the old one's coins can be spent.
    address = await at("w", "getnewaddress")
    info = await at("w", "getaddressinfo", address)
    assert all(one["desc"].split("#")[0] != info["parent_desc"] for one in before["descriptors"])
    sent = await at("w", "sendall", [FOREIGN])
    assert sent["complete"] is True
    assert await call("generatetoaddress", 1, FOREIGN)
    assert (await at("w", "getbalances"))["mine"]["trusted"] == 0
    # The other wallet is as it was.
    assert _secrets(await at("other", "listdescriptors", True)) == others
    assert "unlocked_until" not in await at("other", "getwalletinfo")


async def test_no_seed_of_an_encrypted_wallet_stays_in_the_journal(
    node: EmbeddedNode, call: Call, at: Call, tmp_path: Path
) -> None:
    await call("createwallet", "w")
    service = node._node
    assert service is not None
    found = [record async for _, record in service._journal.all()]
    seeds = [record.seed for record in found if isinstance(record, WalletMade)]
    assert len(seeds) == 1

    def held() -> bool:
        return any(seeds[0] in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())

    assert held()
    await at("w", "encryptwallet", FIRST)
    assert not held()


async def test_a_backup_of_an_encrypted_wallet_is_encrypted_and_opens_with_its_passphrase(
    call: Call, at: Call, tmp_path: Path
) -> None:
    address = await _rich(call, at)
    await at("w", "encryptwallet", FIRST)
    await at("w", "walletpassphrase", FIRST, 600)
    signed = await at("w", "signmessage", address, "m")
    private = await at("w", "listdescriptors", True)
    file = tmp_path / "w.backup"
    await at("w", "backupwallet", str(file))  # while it is unlocked
    assert not _found(tmp_path, _secrets(private))
    await at("w", "walletpassphrasechange", FIRST, SECOND)
    await call("restorewallet", "copy", str(file))
    assert await at("copy", "getbalances") == await at("w", "getbalances")
    assert await _refused(at("copy", "signmessage", address, "m")) == LOCKED
    assert await _refused(at("copy", "walletpassphrase", SECOND, 60)) == WRONG
    await at("copy", "walletpassphrase", FIRST, 60)
    assert await at("copy", "signmessage", address, "m") == signed
    assert (await at("copy", "listdescriptors", True))["descriptors"] == private["descriptors"]
    assert not _found(tmp_path, _secrets(private))


async def test_wallets_are_made_encrypted_blank_or_refused(call: Call, at: Call) -> None:
    assert await call("createwallet", "w", False, False, FIRST) == {"name": "w"}
    assert await _unlocked_until(at) == 0
    assert await at("w", "getnewaddress")
    assert await _refused(at("w", "signmessage", await at("w", "getnewaddress", "", "legacy"), "m")) == LOCKED
    warned = await call("createwallet", "clear", False, False, "")
    text = "Empty string given as passphrase, wallet will not be encrypted."
    assert warned == {"name": "clear", "warnings": [text]}
    assert "unlocked_until" not in await at("clear", "getwalletinfo")
    code, text = await _refused(call("createwallet", "watch", True, False, FIRST))
    assert (code, text[:52]) == (-4, "Passphrase provided but private keys are disabled. A")
    await call("createwallet", "watch", True)
    nothing = (-16, "Error: wallet does not contain private keys, nothing to encrypt.")
    assert await _refused(at("watch", "encryptwallet", "x")) == nothing
    # A blank one stays blank.
    await call("createwallet", "blank", False, True, FIRST)
    await call("createwallet", "later", False, True)
    await at("later", "encryptwallet", FIRST)
    for name in ("blank", "later"):
        assert (await at(name, "listdescriptors"))["descriptors"] == []
        no_keys = (-4, "Error: This wallet has no available keys")
        assert await _refused(at(name, "getnewaddress")) == no_keys
        await at(name, "walletpassphrase", FIRST, 60)
    assert (await _refused(call("createwallet", "w", False, False, FIRST)))[0] == -36


async def test_a_wallet_that_was_made_blank_keeps_its_descriptors_and_gets_no_seed(
    call: Call, at: Call
) -> None:
    await call("createwallet", "w")
    (wpkh,) = (
        one
        for one in (await at("w", "listdescriptors", True))["descriptors"]
        if one["desc"].startswith("wpkh(") and not one["internal"]
    )
    await call("createwallet", "blank", False, True)
    request = [{"desc": wpkh["desc"], "timestamp": "now", "active": True, "range": [0, 20]}]
    assert (await at("blank", "importdescriptors", request))[0]["success"]
    before = await at("blank", "listdescriptors")
    await at("blank", "encryptwallet", FIRST)
    assert await at("blank", "listdescriptors") == before
    assert await at("blank", "getnewaddress")  # while it is locked
    await at("blank", "walletpassphrase", FIRST, 60)
    private = await at("blank", "listdescriptors", True)
    assert [one["desc"] for one in private["descriptors"]] == [wpkh["desc"]]


async def test_a_range_of_hardened_keys_is_refused_and_nothing_is_changed(call: Call, at: Call) -> None:
    await call("createwallet", "w")
    (one, *_) = (await at("w", "listdescriptors", True))["descriptors"]
    key = one["desc"].partition("(")[2].partition("/")[0].rpartition("(")[2]
    hardened = await _with_checksum(call, f"wpkh({key}/7h/*h)")
    request = [{"desc": hardened, "timestamp": "now", "range": [0, 5]}]
    assert (await at("w", "importdescriptors", request))[0]["success"]
    code, text = await _refused(at("w", "encryptwallet", FIRST))
    assert code == -16
    assert "range of hardened keys" in text
    assert "unlocked_until" not in await at("w", "getwalletinfo")
    assert await at("w", "getnewaddress")
    await call("createwallet", "sealed", False, False, FIRST)
    await at("sealed", "walletpassphrase", FIRST, 60)
    (refused,) = await at("sealed", "importdescriptors", request)
    assert (refused["success"], refused["error"]["code"]) == (False, -4)


async def test_an_unloaded_wallet_is_locked(call: Call, at: Call) -> None:
    await call("createwallet", "w", False, False, FIRST)
    await at("w", "walletpassphrase", FIRST, 600)
    await call("unloadwallet", "w")
    await call("loadwallet", "w")
    assert await _unlocked_until(at) == 0
    assert await _refused(at("w", "listdescriptors", True)) == LOCKED


async def test_pythons_client_of_bitcoin_core_unlocks_and_pays(
    node: EmbeddedNode, call: Call, at: Call, cookie_of: Callable[[str], tuple[str, str]]
) -> None:
    await _rich(call, at)
    addresses = await node.addresses()
    user, password = cookie_of(addresses.bitcoin_cookie)
    async with bitcoinrpc.BitcoinRPC.from_config(
        f"{addresses.bitcoin_rpc}/wallet/w", (user, password)
    ) as rpc:
        assert "wallet encrypted" in await rpc.acall("encryptwallet", [FIRST])
        with pytest.raises(bitcoinrpc.RPCError) as refused:
            await rpc.acall("sendtoaddress", [FOREIGN, 1])
        assert refused.value.error["code"] == -13
        await rpc.acall("walletpassphrase", [FIRST, 60])
        txid = await rpc.acall("sendtoaddress", [FOREIGN, 1])
        assert txid in await rpc.acall("getrawmempool", [])
        await rpc.acall("walletlock", [])
