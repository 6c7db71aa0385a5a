"""Hostile blocks and transactions against the real kernel: refused, never the end of the process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anya_actors.adapters.bitcoinkernel.engine import KernelEngine, verify_scripts
from anya_actors.domain.bitcoin.block import (
    REGTEST_BITS,
    REGTEST_GENESIS_HASH,
    Block,
    block_merkle_root,
    parse_block,
)
from anya_actors.domain.bitcoin.errors import MalformedBlockError, RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mining import coinbase_transaction, solve, unsolved_block
from anya_actors.domain.bitcoin.transaction import NULL_OUTPOINT, Outpoint, Transaction, TxInput, TxOutput
from anya_actors.ports.consensus import Standing

txids = st.binary(min_size=32, max_size=32).map(Txid)
scripts = st.binary(max_size=60) | st.sampled_from(
    [
        b"\x51",
        b"\x51\x20" + bytes(32),
        b"\x00\x14" + bytes(20),
        b"\x00\x20" + bytes(32),
        b"\xa9\x14" + bytes(20) + b"\x87",
    ]
)
outpoints = st.builds(Outpoint, txids, st.integers(0, 0xFFFFFFFF)) | st.just(NULL_OUTPOINT)
inputs = st.builds(
    TxInput,
    outpoints,
    st.binary(max_size=40),
    st.integers(0, 0xFFFFFFFF),
    st.lists(st.binary(max_size=70), max_size=4).map(tuple),
)
outputs = st.builds(TxOutput, st.integers(-(1 << 63), (1 << 63) - 1), scripts)
transactions = st.builds(
    Transaction,
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.lists(inputs, max_size=3).map(tuple),
    st.lists(outputs, max_size=3).map(tuple),
    st.integers(0, 0xFFFFFFFF),
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelEngine]:
    opened = KernelEngine(tmp_path_factory.mktemp("kernel"), wipe=True, in_memory=True)
    yield opened
    opened.close()


def _block(*others: Transaction) -> Block:
    coinbase = coinbase_transaction(1, b"\x51", 0, others)
    block = solve(unsolved_block(REGTEST_GENESIS_HASH, 1_296_688_700, REGTEST_BITS, (coinbase, *others)))
    assert block is not None
    return block


GOOD = _block()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), repair=st.booleans())
def test_a_block_with_changed_bytes_is_judged(
    engine: KernelEngine, data: st.DataObject, repair: bool
) -> None:
    raw = bytearray(GOOD.serialize())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        block = parse_block(bytes(raw))
    except MalformedBlockError:
        return
    if repair:
        root = block_merkle_root(block.transactions)
        header = msgspec.structs.replace(
            block.header, merkle_root=root, previous=REGTEST_GENESIS_HASH, bits=REGTEST_BITS
        )
        block = solve(Block(header, block.transactions)) or block
    verdict = engine.process_block(block.serialize())
    assert (verdict.standing is Standing.INVALID) == bool(verdict.reason)
    assert engine.tip()[1] <= 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(others=st.lists(transactions, max_size=3))
def test_a_block_of_any_transactions_is_judged(engine: KernelEngine, others: list[Transaction]) -> None:
    verdict = engine.process_block(_block(*others).serialize())
    assert (verdict.standing is Standing.INVALID) == bool(verdict.reason)


@settings(max_examples=300, deadline=None)
@given(transaction=transactions, data=st.data())
def test_any_spend_passes_or_is_refused(transaction: Transaction, data: st.DataObject) -> None:
    spent = data.draw(st.lists(outputs, min_size=len(transaction.inputs), max_size=len(transaction.inputs)))
    with contextlib.suppress(RejectedTransactionError):
        verify_scripts(transaction, spent)
