"""Descriptors, addresses and messages over JSON-RPC; the examples are those of Core's functional tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

Call = Callable[..., Awaitable[Any]]
TPRV = (
    "tprv8ZgxMBicQKsPd7Uf69XL1XwhmjHopUGep8GuEiJDZmbQz6o58LninorQ"
    "AfcKZWARbtRtfnLcJ5MQ2AtHcQJCCRUcMRvmDUjyEmNUWwx8UbK"
)
TPUB = (
    "tpubD6NzVbkrYhZ4WaWSyoBvQwbpLkojyoTZPRsgXELWz3Popb3qkjcJyJUG"
    "LnL4qHHoQvao8ESaAstxYSnhyswJ76uZPStJRJCTKvosUCJZL5B"
)
KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"


async def test_descriptors_are_told_and_derived(call: Call) -> None:
    text = f"wpkh({TPRV}/1/1/0)#t6wfjs64"
    assert await call("deriveaddresses", text) == ["bcrt1qjqmxmkpmxt80xz4y3746zgt0q3u3ferr34acd5"]
    ranged = f"wpkh({TPRV}/1/1/*)#kft60nuy"
    assert await call("deriveaddresses", ranged, [1, 2]) == [
        "bcrt1qhku5rq7jz8ulufe2y6fkcpnlvpsta7rq4442dy",
        "bcrt1qpgptk2gvshyl0s9lqshsmx932l9ccsv265tvaq",
    ]
    info = await call("getdescriptorinfo", f"wpkh({TPRV}/1/1/*)")
    assert info["descriptor"].startswith(f"wpkh({TPUB}/1/1/*)#")
    assert (info["checksum"], info["isrange"], info["issolvable"], info["hasprivatekeys"]) == (
        "kft60nuy",
        True,
        True,
        True,
    )
    pair = f"wpkh({TPUB}/<0;1>/*)"
    info = await call("getdescriptorinfo", pair)
    assert len(info["multipath_expansion"]) == 2
    lists = await call("deriveaddresses", f"{pair}#{info['checksum']}", 1)
    assert [len(addresses) for addresses in lists] == [2, 2]
    for params, code, words in (
        ((f"wpkh({TPRV}/1/1/0)",), -5, "Missing checksum"),
        ((text, [0, 2]), -8, "Range should not be specified for an un-ranged descriptor"),
        ((ranged,), -8, "Range must be specified for a ranged descriptor"),
        ((ranged, 10_000_000_000), -8, "End of range is too high"),
        ((ranged, [1_000_000_000, 2_000_000_000]), -8, "Range is too large"),
        ((ranged, [2, 0]), -8, "Range specified as [begin,end] must not have begin after end"),
        ((ranged, [-1, 0]), -8, "Range should be greater or equal than 0"),
        ((ranged, "x"), -8, "Range must be specified as end or as [begin,end]"),
        (("raw(51)#8lvh9jxk",), -5, "Descriptor does not have a corresponding address"),
    ):
        with pytest.raises(LookupError) as caught:
            await call("deriveaddresses", *params)
        assert (caught.value.args[0], words in caught.value.args[1]) == (code, True), caught.value
    with pytest.raises(LookupError, match="-5"):
        await call("getdescriptorinfo", "pkh(nonsense)")


async def test_a_scan_by_descriptors_finds_coins(call: Call) -> None:
    (address,) = await call("deriveaddresses", f"wpkh({TPRV}/1/1/0)#t6wfjs64")
    await call("generatetoaddress", 1, address)
    await call("generatetodescriptor", 1, f"pkh({KEY})")
    scan = await call("scantxoutset", "start", [{"desc": f"wpkh({TPUB}/1/1/*)", "range": 5}])
    assert [item["scriptPubKey"] for item in scan["unspents"]] == [
        (await call("validateaddress", address))["scriptPubKey"]
    ]
    scan = await call("scantxoutset", "start", [f"combo({KEY})", f"wpkh({TPUB}/1/1/0)"])
    assert (scan["total_amount"], scan["txouts"]) == (100, 2)
    for items, words in (([{}], "Descriptor needs to be provided"), ([5], "needs to be either a string")):
        with pytest.raises(LookupError, match=words):
            await call("scantxoutset", "start", items)


async def test_multisig_addresses_of_sorted_keys(call: Call, vectors: Callable[[str], Any]) -> None:
    for vector in vectors("core_rpc_bip67.json"):
        made = await call("createmultisig", 2, vector["sorted_keys"])
        assert (made["address"], made["redeemScript"]) == (vector["address"], vector["script"])
        sortedmulti = f"sh(sortedmulti(2,{','.join(vector['keys'])}))"
        checksum = (await call("getdescriptorinfo", sortedmulti))["checksum"]
        assert await call("deriveaddresses", f"{sortedmulti}#{checksum}") == [vector["address"]]
    made = await call("createmultisig", 1, [KEY], "p2sh-segwit")
    assert made["descriptor"].startswith(f"sh(wsh(multi(1,{KEY})))#")
    long = f"04{KEY[2:]}483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    made = await call("createmultisig", 1, [long], "bech32")
    assert made["address"].startswith("2")
    assert len(made["warnings"]) == 1
    for params, words in (
        ((0, [KEY]), "must require at least one key to redeem"),
        ((2, [KEY]), "not enough keys supplied"),
        ((1, ["zz"]), "must be a hex string"),
        ((1, ["00"]), "must have a length of either 33 or 65 bytes"),
        ((1, ["02" + "ff" * 32]), "must be cryptographically valid"),
        ((1, [KEY] * 21), "Reduce the number"),
        ((1, [KEY] * 16), "redeemScript exceeds size limit: 547 > 520"),
        ((1, [KEY], "bech32m"), "cannot create bech32m multisig addresses"),
        ((1, [KEY], "x"), "Unknown address type 'x'"),
    ):
        with pytest.raises(LookupError, match=words):
            await call("createmultisig", *params)


async def test_messages_are_signed_and_verified(call: Call) -> None:
    # From rpc_signmessagewithprivkey.py.
    message = "This is just a test message"
    address = "mpLQjfK79b7CCV4VMJWEWAj5Mpx8Up5zxB"
    expected = "INbVnW4e6PeRmsv2Qgu8NuopvrVjkcxob+sX8OcZG0SALhWybUjzMLPdAsXI46YZGb0KQTRii+wWIQzRpG/U+S0="
    signature = await call(
        "signmessagewithprivkey", "cUeKHd5orzT3mz8P9pxyREHfsWtVfgsfDjiZZBcjUBAaGk1BTj7N", message
    )
    assert signature == expected
    assert await call("verifymessage", address, signature, message) is True
    assert await call("verifymessage", address, signature, "another") is False
    assert await call("verifymessage", address, "AAAA", message) is False
    for params, code, words in (
        (("invalid", signature, message), -5, "Invalid address"),
        (("mpLQjfK79b7CCV4VMJWEWAj5Mpx8Up5zxB", "!!", message), -3, "Malformed base64 encoding"),
        (
            ("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080", signature, message),
            -3,
            "Address does not refer to key",
        ),
    ):
        with pytest.raises(LookupError) as caught:
            await call("verifymessage", *params)
        assert (caught.value.args[0], words in caught.value.args[1]) == (code, True)
    with pytest.raises(LookupError, match="Invalid private key"):
        await call("signmessagewithprivkey", "nonsense", message)
