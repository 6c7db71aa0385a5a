"""What every transaction must obey whatever it spends (Core, ``consensus/tx_check.cpp``)."""

from __future__ import annotations

from collections.abc import Sequence

from anya_actors.domain.bitcoin.amount import MAX_MONEY_SAT
from anya_actors.domain.bitcoin.block import MAX_BLOCK_WEIGHT
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.mempool_policy import format_money
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE, Transaction


def verify_transaction(transaction: Transaction) -> None:
    """Raise `RejectedTransactionError` with Core's reason for the first rule broken."""
    if not transaction.inputs:
        raise RejectedTransactionError("bad-txns-vin-empty")
    if not transaction.outputs:
        raise RejectedTransactionError("bad-txns-vout-empty")
    if len(transaction.serialize_stripped()) * WITNESS_SCALE > MAX_BLOCK_WEIGHT:
        raise RejectedTransactionError("bad-txns-oversize")
    _verify_outputs(transaction)
    prevouts = [tx_input.prevout for tx_input in transaction.inputs]
    if len(set(prevouts)) != len(prevouts):
        raise RejectedTransactionError("bad-txns-inputs-duplicate")
    if transaction.is_coinbase:
        if not 2 <= len(transaction.inputs[0].script_sig) <= 100:
            raise RejectedTransactionError("bad-cb-length")
    elif any(prevout.is_null for prevout in prevouts):
        raise RejectedTransactionError("bad-txns-prevout-null")


def _verify_outputs(transaction: Transaction) -> None:
    total_sat = 0
    for output in transaction.outputs:
        if output.amount_sat < 0:
            raise RejectedTransactionError("bad-txns-vout-negative")
        if output.amount_sat > MAX_MONEY_SAT:
            raise RejectedTransactionError("bad-txns-vout-toolarge")
        total_sat += output.amount_sat
        if total_sat > MAX_MONEY_SAT:
            raise RejectedTransactionError("bad-txns-txouttotal-toolarge")


def verify_amounts(transaction: Transaction, coins: Sequence[Coin], height: int) -> int:
    """The fee; raises `RejectedTransactionError` for immature coins and amounts that do not add up."""
    for coin in coins:
        if not coin.is_mature_at(height):
            detail = f"tried to spend coinbase at depth {height - coin.height}"
            raise RejectedTransactionError("bad-txns-premature-spend-of-coinbase", detail)
    paid_in = sum(coin.amount_sat for coin in coins)
    paid_out = sum(output.amount_sat for output in transaction.outputs)
    if paid_in > MAX_MONEY_SAT:
        raise RejectedTransactionError("bad-txns-inputvalues-outofrange")
    if paid_in < paid_out:
        detail = f"value in ({format_money(paid_in)}) < value out ({format_money(paid_out)})"
        raise RejectedTransactionError("bad-txns-in-belowout", detail)
    return paid_in - paid_out
