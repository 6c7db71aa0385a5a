"""From a payment's bare transaction to a signed one: what each key signs, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.payment import PaymentInput
from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.bitcoin.sighash import p2wpkh_script_code, segwit_v0_sighash
from anya_actors.domain.bitcoin.transaction import Transaction, TxInput

_BARE_INPUT_WEIGHT: Final = 41 * 4  # outpoint, empty script, sequence


def signing_digests(transaction: Transaction, inputs: tuple[PaymentInput, ...]) -> tuple[bytes, ...]:
    """The 32 bytes that each input's key signs (BIP143, SIGHASH_ALL)."""
    return tuple(
        segwit_v0_sighash(transaction, index, p2wpkh_script_code(hash160(spent.public_key)), spent.amount_sat)
        for index, spent in enumerate(inputs)
    )


def with_witnesses(
    transaction: Transaction, inputs: tuple[PaymentInput, ...], signatures: tuple[bytes, ...]
) -> Transaction:
    """The transaction with each input's signature (with its type byte) and key (BIP141)."""
    signed = tuple(
        TxInput(bare.prevout, b"", bare.sequence, (signature, spent.public_key))
        for bare, spent, signature in zip(transaction.inputs, inputs, signatures, strict=True)
    )
    return Transaction(transaction.version, signed, transaction.outputs, transaction.lock_time)


def estimated_vsize(transaction: Transaction, input_weights: Sequence[int]) -> int:
    """Virtual bytes once signed by inputs of these greatest weights; the signed one is never larger."""
    bare = 4 * len(transaction.serialize_stripped()) - _BARE_INPUT_WEIGHT * len(transaction.inputs)
    return (bare + 2 + sum(input_weights) + 3) // 4
