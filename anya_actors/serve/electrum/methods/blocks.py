"""Headers of the active branch, with proofs against a checkpoint."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.block_tree import BlockNode
from anya_actors.domain.bitcoin.merkle_proof import make_branch
from anya_actors.serve.electrum.arguments import bad_request, whole_number
from anya_actors.serve.electrum.context import Method, Session, method

MAX_HEADERS: Final = 2016
_LISTED_SINCE: Final = (1, 6)


def _active(session: Session) -> list[BlockNode]:
    return session.context.node.chain.tree.active


def node_at(session: Session, height: Any) -> BlockNode:
    """The active block of a height; raises `ElectrumError`."""
    active = _active(session)
    wanted = whole_number(height)
    if wanted >= len(active):
        raise bad_request(f"height {wanted:,d} out of range")
    return active[wanted]


def _hex(node: BlockNode) -> str:
    return node.header.serialize().hex()


def _proof(session: Session, height: int, checkpoint: int) -> dict[str, Any]:
    """The branch from a header to the root over all headers up to the checkpoint."""
    active = _active(session)
    if not height <= checkpoint < len(active):
        raise bad_request(
            f"require header height {height:,d} <= cp_height {checkpoint:,d} <= "
            f"chain height {len(active) - 1:,d}"
        )
    hashes = [node.hash for node in active[: checkpoint + 1]]
    branch = make_branch(hashes, height)
    return {
        "branch": [item[::-1].hex() for item in branch.hashes],
        "root": branch.root(hashes[height])[::-1].hex(),
    }


async def header(session: Session, /, height: Any, cp_height: Any = 0) -> Any:
    """One header, in hexadecimal; with a checkpoint also the proof."""
    node, checkpoint = node_at(session, height), whole_number(cp_height)
    if not checkpoint:
        return _hex(node)
    return {"header": _hex(node), **_proof(session, node.height, checkpoint)}


async def headers(session: Session, /, start_height: Any, count: Any, cp_height: Any = 0) -> Any:
    """A run of headers, as many as there are and one answer may hold."""
    start, wanted, checkpoint = whole_number(start_height), whole_number(count), whole_number(cp_height)
    found = _active(session)[start : start + min(wanted, MAX_HEADERS)]
    result: dict[str, Any] = {"count": len(found), "max": MAX_HEADERS}
    texts = [_hex(node) for node in found]
    if session.protocol >= _LISTED_SINCE:
        result["headers"] = texts
    else:
        result["hex"] = "".join(texts)
    if found and checkpoint:
        result |= _proof(session, found[-1].height, checkpoint)
    return result


def describe_tip(session: Session) -> dict[str, Any]:
    """What subscribers of headers are told."""
    tip = session.context.node.chain.tip
    return {"hex": _hex(tip), "height": tip.height}


async def subscribe(session: Session, /) -> Any:
    """The tip now, and every new one from now on."""
    session.listening.hears_headers = True
    return describe_tip(session)


METHODS: Final[dict[str, Method]] = dict(
    [
        method("blockchain.block.header", header),
        method("blockchain.block.headers", headers),
        method("blockchain.headers.subscribe", subscribe),
    ]
)
