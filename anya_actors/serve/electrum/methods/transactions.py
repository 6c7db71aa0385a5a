"""``blockchain.transaction.*``."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.merkle_proof import make_branch
from anya_actors.serve.bitcoin_rpc.errors import RpcError
from anya_actors.serve.electrum.arguments import bad_request, flag, hex_text, txid_of, whole_number
from anya_actors.serve.electrum.context import Method, Session, method
from anya_actors.serve.electrum.methods.blocks import node_at
from anya_actors.serve.electrum.wire import ElectrumCode, ElectrumError


def daemon_error(error: RpcError) -> ElectrumError:
    """Core's refusal as ElectrumX hands it on."""
    facts = {"code": error.rpc_code, "message": error.text}
    return ElectrumError(ElectrumCode.DAEMON_ERROR, f"daemon error: DaemonError({facts!r})")


async def broadcast(session: Session, /, raw_tx: Any) -> Any:
    """Give a transaction to the node; its txid."""
    text = hex_text(raw_tx)
    try:
        return await session.context.call("sendrawtransaction", [text])
    except RpcError as error:
        reason = f"the transaction was rejected by network rules.\n\n{error.text}\n[{text}]"
        raise bad_request(reason) from error


async def broadcast_package(session: Session, /, raw_txs: Any, verbose: Any = False) -> Any:
    """Give a child with its parents to the node."""
    is_verbose = flag(verbose, "verbose")
    if not isinstance(raw_txs, list):
        raise bad_request("raw_txs should be a list")
    try:
        result = await session.context.call("submitpackage", [[hex_text(raw) for raw in raw_txs]])
    except RpcError as error:
        raise bad_request(f"the tx package was rejected by network rules.\n\n{error.text}.") from error
    if is_verbose:
        return result
    answer: dict[str, Any] = {"success": result["package_msg"] == "success"}
    errors = [
        {"txid": found["txid"], "error": found["error"]}
        for found in result["tx-results"].values()
        if "error" in found
    ]
    return answer | ({"errors": errors} if errors else {})


async def get(session: Session, /, tx_hash: Any, verbose: Any = False) -> Any:
    """A transaction in hexadecimal, or with all that Core says of it."""
    arguments = [str(txid_of(tx_hash)), flag(verbose, "verbose")]
    try:
        return await session.context.call("getrawtransaction", arguments)
    except RpcError as error:
        raise daemon_error(error) from error


async def _block_at(session: Session, height: Any) -> tuple[int, Block]:
    node = node_at(session, height)
    return node.height, await session.context.node.chain.read_block(node)


def _branch(block: Block, place: int) -> list[str]:
    branch = make_branch([transaction.txid for transaction in block.transactions], place)
    return [item[::-1].hex() for item in branch.hashes]


async def get_merkle(session: Session, /, tx_hash: Any, height: Any) -> Any:
    """The merkle branch of a confirmed transaction."""
    txid = txid_of(tx_hash)
    found_height, block = await _block_at(session, height)
    places = (at for at, transaction in enumerate(block.transactions) if transaction.txid == txid)
    place = next(places, None)
    if place is None:
        raise bad_request(f"tx {txid} not in block at height {found_height:,d}")
    return {"block_height": found_height, "merkle": _branch(block, place), "pos": place}


async def id_from_pos(session: Session, /, height: Any, tx_pos: Any, merkle: Any = False) -> Any:
    """The txid at a place of a block, if wanted with its merkle branch."""
    place, is_proven = whole_number(tx_pos), flag(merkle, "merkle")
    found_height, block = await _block_at(session, height)
    if place >= len(block.transactions):
        raise bad_request(f"no tx at position {place:,d} in block at height {found_height:,d}")
    txid = str(block.transactions[place].txid)
    return {"tx_hash": txid, "merkle": _branch(block, place)} if is_proven else txid


METHODS: Final[dict[str, Method]] = dict(
    [
        method("blockchain.transaction.broadcast", broadcast),
        method("blockchain.transaction.broadcast_package", broadcast_package, since=(1, 6)),
        method("blockchain.transaction.get", get),
        method("blockchain.transaction.get_merkle", get_merkle),
        method("blockchain.transaction.id_from_pos", id_from_pos),
    ]
)
