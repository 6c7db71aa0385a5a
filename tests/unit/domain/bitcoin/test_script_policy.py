"""Which inputs the judge of policy must look at, beside the vectors in tests/integration."""

from __future__ import annotations

import pytest

from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import hash160, p2tr_script, p2wpkh_script, witness_script
from anya_actors.domain.bitcoin.script_policy import doubtful_inputs, verify_standard_scripts
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.testing.spending_key import SpendingKey

COIN = Outpoint(Txid(b"\x01" * 32), 0)
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY = SpendingKey(b"policy")
SPENT = TxOutput(10_000, KEY.script_pubkey)


def _spend(*witness: bytes, script_sig: bytes = b"") -> Transaction:
    paid = (TxOutput(9_000, p2wpkh_script(bytes(20))),)
    return Transaction(2, (TxInput(COIN, script_sig, witness=witness),), paid)


def _signed() -> tuple[bytes, bytes]:
    signature, key = KEY.witness(_spend(), 0, [SPENT])
    return signature, key


def _with_s(signature: bytes, change: int) -> bytes:
    """The same signature with S replaced by the order less S (``change`` 1), in strict DER."""
    size = signature[3]
    value = int.from_bytes(signature[6 + size : -1], "big")
    value = ORDER - value if change else value
    encoded = value.to_bytes((value.bit_length() + 8) // 8, "big")
    body = signature[2 : 4 + size] + b"\x02" + bytes([len(encoded)]) + encoded
    return b"\x30" + bytes([len(body)]) + body + signature[-1:]


def test_a_wallets_own_spends_need_no_second_judge() -> None:
    signature, key = _signed()
    spend = _spend(signature, key)
    assert doubtful_inputs(spend, [SPENT]) == []
    verify_standard_scripts(spend, [SPENT])
    assert doubtful_inputs(_spend(bytes(64)), [TxOutput(1, p2tr_script(bytes(32)))]) == []


def test_the_other_s_is_valid_and_not_relayed() -> None:
    signature, key = _signed()
    assert _with_s(signature, 0) == signature
    spend = _spend(_with_s(signature, 1), key)
    assert doubtful_inputs(spend, [SPENT]) == [0]
    with pytest.raises(RejectedTransactionError, match="S value is unnecessarily high"):
        verify_standard_scripts(spend, [SPENT])


def test_whatever_is_unusual_is_looked_at() -> None:
    signature, key = _signed()
    long_key = b"\x04" + bytes(64)
    cases = [
        (_spend(signature[:-1] + b"\x04", key), SPENT),  # an unknown kind of signature
        (_spend(signature, long_key), TxOutput(1, p2wpkh_script(hash160(long_key)))),
        (_spend(b"", key), SPENT),
        (_spend(b"\x30", key), SPENT),
        (_spend(signature, key, script_sig=b"\x00"), SPENT),
        (_spend(bytes(64), b"\x50"), TxOutput(1, p2tr_script(bytes(32)))),
        (_spend(b"\x51"), TxOutput(1, witness_script(0, bytes(32)))),
        (_spend(), TxOutput(1, b"\x51")),
    ]
    for spend, output in cases:
        assert doubtful_inputs(spend, [output]) == [0]
