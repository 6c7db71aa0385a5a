"""What the node knows, as plain values."""

from __future__ import annotations

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.transaction import Transaction, TxInput
from anya_actors.domain.bitcoin.views import (
    BlockView,
    InputView,
    OutputView,
    TipView,
    TransactionView,
)
from anya_actors.ports.bitcoin_rpc import ChainInfo, FoundHeader, FoundTransaction


def tip_view(info: ChainInfo) -> TipView:
    """What callers see of the chain's tip."""
    return TipView(
        info.chain,
        info.height,
        str(info.best_hash),
        info.headers,
        info.median_time_unix_s,
        info.initial_block_download,
    )


def block_view(found: FoundHeader, block: Block) -> BlockView:
    """What callers see of a block."""
    header = block.header
    return BlockView(
        hash=str(block.hash),
        height=found.height,
        confirmations=found.confirmations,
        previous_hash=str(header.previous),
        merkle_root=header.merkle_root[::-1].hex(),
        version=header.version,
        time_unix_s=header.time_s,
        bits=f"{header.bits:08x}",
        nonce=header.nonce,
        size=block.size,
        weight=block.weight,
        txids=tuple(str(transaction.txid) for transaction in block.transactions),
    )


def transaction_view(found: FoundTransaction, network: Network) -> TransactionView:
    """What callers see of a transaction; amounts in satoshis."""
    transaction = found.transaction
    serialized = transaction.serialize()
    return TransactionView(
        txid=str(transaction.txid),
        wtxid=str(transaction.wtxid),
        version=transaction.version,
        lock_time=transaction.lock_time,
        size=len(serialized),
        vsize=transaction.vsize,
        weight=transaction.weight,
        inputs=tuple(_input_view(spent) for spent in transaction.inputs),
        outputs=_output_views(transaction, network),
        block_hash=None if found.block_hash is None else str(found.block_hash),
        confirmations=found.confirmations,
        hex=serialized.hex(),
    )


def _input_view(spent: TxInput) -> InputView:
    prevout = spent.prevout
    return InputView(
        txid=None if prevout.is_null else str(prevout.txid),
        index=prevout.index,
        sequence=spent.sequence,
        script_sig=spent.script_sig.hex(),
        witness=tuple(item.hex() for item in spent.witness),
    )


def _output_views(transaction: Transaction, network: Network) -> tuple[OutputView, ...]:
    return tuple(
        OutputView(
            index,
            output.amount_sat,
            encode_address(output.script_pubkey, network),
            output.script_pubkey.hex(),
        )
        for index, output in enumerate(transaction.outputs)
    )
