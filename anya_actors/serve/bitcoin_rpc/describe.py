"""Transactions and blocks as Bitcoin Core writes them in JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.amount import format_btc
from anya_actors.domain.bitcoin.block import Block, difficulty_of, target_of
from anya_actors.domain.bitcoin.block_tree import BlockNode, BlockTree
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.descriptors.infer import describe_script
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import ScriptEndsError, classify, disassemble, iterate_operations
from anya_actors.domain.bitcoin.transaction import Transaction, TxInput

NETWORK: Final = Network.REGTEST

SIGHASH_WORDS: Final = {
    0x01: "ALL",
    0x02: "NONE",
    0x03: "SINGLE",
    0x81: "ALL|ANYONECANPAY",
    0x82: "NONE|ANYONECANPAY",
    0x83: "SINGLE|ANYONECANPAY",
}
"""Signature types by Core's names, as far as signatures of scripts may have them."""


def btc(amount_sat: int) -> msgspec.Raw:
    """Bitcoins as a JSON number with exactly 8 digits after the point, never through a float."""
    return msgspec.Raw(format_btc(amount_sat).encode())


def describe_output_script(script: bytes, redeem: bytes | None = None) -> dict[str, Any]:
    """``scriptPubKey``; ``redeem`` is the script behind its hash, if known."""
    facts: dict[str, Any] = {
        "asm": disassemble(script),
        "desc": describe_script(script, NETWORK, redeem),
        "hex": script.hex(),
    }
    address = encode_address(script, NETWORK)
    if address is not None:
        facts["address"] = address
    facts["type"] = classify(script).value
    return facts


def script_sig_words(script: bytes) -> str:
    """``asm`` of a ``scriptSig``: signatures show their type in words."""
    words = disassemble(script).split(" ") if script else []
    try:
        pushes = [data for _, data in iterate_operations(script)]
    except ScriptEndsError:
        return " ".join(words)
    for place, data in enumerate(pushes):
        if data is not None and _looks_like_signature(data):
            words[place] = f"{data[:-1].hex()}[{SIGHASH_WORDS[data[-1]]}]"
    return " ".join(words)


def _looks_like_signature(data: bytes) -> bool:
    return (
        9 <= len(data) <= 73
        and data[0] == 0x30
        and data[1] == len(data) - 3
        and data[2] == 0x02
        and 5 + data[3] < len(data)
        and data[4 + data[3]] == 0x02
        and data[3] + data[5 + data[3]] + 7 == len(data)
        and data[-1] in SIGHASH_WORDS
    )


def _describe_input(tx_input: TxInput, coin: Coin | None, *, with_prevout: bool) -> dict[str, Any]:
    if tx_input.prevout.is_null:
        facts: dict[str, Any] = {"coinbase": tx_input.script_sig.hex()}
    else:
        script_sig = {"asm": script_sig_words(tx_input.script_sig), "hex": tx_input.script_sig.hex()}
        facts = {
            "txid": str(tx_input.prevout.txid),
            "vout": tx_input.prevout.index,
            "scriptSig": script_sig,
        }
    if tx_input.witness:
        facts["txinwitness"] = [item.hex() for item in tx_input.witness]
    if with_prevout and coin is not None:
        facts["prevout"] = {
            "generated": coin.is_coinbase,
            "height": coin.height,
            "value": btc(coin.amount_sat),
            "scriptPubKey": describe_output_script(coin.script_pubkey),
        }
    facts["sequence"] = tx_input.sequence
    return facts


def describe_transaction(
    transaction: Transaction,
    spent: Sequence[Coin] | None = None,
    *,
    with_prevouts: bool = False,
    with_hex: bool = True,
) -> dict[str, Any]:
    """A decoded transaction; with the coins it spent, also its fee and, if wanted, its prevouts."""
    coins: list[Coin | None] = list(spent) if spent is not None else [None] * len(transaction.inputs)
    facts: dict[str, Any] = {
        "txid": str(transaction.txid),
        "hash": str(transaction.wtxid),
        "version": transaction.version & 0xFFFFFFFF,
        "size": len(transaction.serialize()),
        "vsize": transaction.vsize,
        "weight": transaction.weight,
        "locktime": transaction.lock_time,
        "vin": [
            _describe_input(tx_input, coin, with_prevout=with_prevouts)
            for tx_input, coin in zip(transaction.inputs, coins, strict=True)
        ],
        "vout": [
            {
                "value": btc(output.amount_sat),
                "n": n,
                "scriptPubKey": describe_output_script(output.script_pubkey),
            }
            for n, output in enumerate(transaction.outputs)
        ],
    }
    if spent is not None:
        paid_sat = sum(output.amount_sat for output in transaction.outputs)
        facts["fee"] = btc(sum(coin.amount_sat for coin in spent) - paid_sat)
    if with_hex:
        facts["hex"] = transaction.serialize().hex()
    return facts


def confirmations(tree: BlockTree, node: BlockNode) -> int:
    """Blocks from this one to the tip, both counted; -1 off the active branch."""
    return tree.tip.height - node.height + 1 if tree.is_active(node) else -1


def describe_header(tree: BlockTree, node: BlockNode) -> dict[str, Any]:
    """What ``getblockheader`` says."""
    header = node.header
    facts: dict[str, Any] = {
        "hash": str(node.hash),
        "confirmations": confirmations(tree, node),
        "height": node.height,
        "version": header.version,
        "versionHex": f"{header.version & 0xFFFFFFFF:08x}",
        "merkleroot": header.merkle_root[::-1].hex(),
        "time": header.time_s,
        "mediantime": node.median_time_past_s(),
        "nonce": header.nonce,
        "bits": f"{header.bits:08x}",
        "target": f"{target_of(header.bits):064x}",
        "difficulty": difficulty_of(header.bits),
        "chainwork": f"{node.work:064x}",
        "nTx": node.transactions,
    }
    if node.parent is not None:
        facts["previousblockhash"] = str(node.parent.hash)
    child = tree.child_on_active(node)
    if child is not None:
        facts["nextblockhash"] = str(child.hash)
    return facts


def describe_block(
    tree: BlockTree, node: BlockNode, block: Block, transactions: Sequence[Any]
) -> dict[str, Any]:
    """What ``getblock`` says; ``transactions`` as the verbosity wants them."""
    facts = describe_header(tree, node)
    facts["strippedsize"] = block.stripped_size
    facts["size"] = block.size
    facts["weight"] = block.weight
    facts["tx"] = list(transactions)
    return facts
