"""Transactions: what is read comes back byte for byte; digests of any input can be made."""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["anya_actors.domain"]):
    from anya_actors.domain.bitcoin.errors import MalformedTransactionError, RejectedTransactionError
    from anya_actors.domain.bitcoin.sighash import legacy_sighash, segwit_v0_sighash
    from anya_actors.domain.bitcoin.transaction import parse_transaction
    from anya_actors.domain.bitcoin.transaction_rules import verify_transaction

from fuzz.engine import run, vector_strings


def one_input(data: bytes) -> None:
    try:
        transaction = parse_transaction(data)
    except MalformedTransactionError:
        return
    assert transaction.serialize() == data
    assert transaction.weight >= 3 * len(transaction.serialize_stripped())
    kind = data[-1]
    for index in range(min(2, len(transaction.inputs))):
        script = transaction.inputs[index].script_sig
        assert len(legacy_sighash(transaction, index, script, kind)) == 32
        assert len(segwit_v0_sighash(transaction, index, script, 1, kind)) == 32
    try:
        verify_transaction(transaction)
    except RejectedTransactionError as error:
        assert error.reason


if __name__ == "__main__":
    texts = vector_strings("core_tx_valid", "core_tx_invalid", "core_sighash")
    hexadecimal = [text for text in texts if len(text) > 100 and set(text) <= set("0123456789abcdef")]
    run(one_input, [bytes.fromhex(text) for text in hexadecimal])
