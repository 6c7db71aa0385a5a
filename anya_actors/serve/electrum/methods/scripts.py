"""``blockchain.scripthash.*``."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.serve.electrum.arguments import script_name
from anya_actors.serve.electrum.context import Method, Session, method


async def get_balance(session: Session, /, scripthash: Any) -> Any:
    """Satoshis confirmed, and what waits on top of them (or takes from them)."""
    confirmed, waiting = session.context.lookups.balance(script_name(scripthash))
    return {"confirmed": confirmed, "unconfirmed": waiting}


async def get_history(session: Session, /, scripthash: Any) -> Any:
    """Confirmed transactions in blockchain order, then the waiting ones."""
    name = script_name(scripthash)
    history = session.context.node.chain.index.history(name)
    return [{"tx_hash": str(touch.txid), "height": touch.height} for touch in history] + _waiting(
        session, name
    )


def _waiting(session: Session, name: bytes) -> list[dict[str, Any]]:
    return [
        {"tx_hash": str(touch.txid), "height": touch.height, "fee": touch.fee_sat}
        for touch in session.context.lookups.waiting_touches(name)
    ]


async def get_mempool(session: Session, /, scripthash: Any) -> Any:
    return _waiting(session, script_name(scripthash))


async def listunspent(session: Session, /, scripthash: Any) -> Any:
    """Unspent outputs, those without a block with height 0."""
    return [
        {
            "tx_hash": str(outpoint.txid),
            "tx_pos": outpoint.index,
            "height": 0 if node is None else node.height,
            "value": output.amount_sat,
        }
        for outpoint, output, node in session.context.lookups.unspent(script_name(scripthash))
    ]


async def subscribe(session: Session, /, scripthash: Any) -> Any:
    """The script's status now, and every other one from now on."""
    return session.context.subscriptions.subscribe(session.listening, script_name(scripthash))


async def unsubscribe(session: Session, /, scripthash: Any) -> Any:
    return session.context.subscriptions.unsubscribe(session.listening, script_name(scripthash))


METHODS: Final[dict[str, Method]] = dict(
    [
        method("blockchain.scripthash.get_balance", get_balance),
        method("blockchain.scripthash.get_history", get_history),
        method("blockchain.scripthash.get_mempool", get_mempool),
        method("blockchain.scripthash.listunspent", listunspent),
        method("blockchain.scripthash.subscribe", subscribe),
        # Of version 1.4.2, but harmless in 1.4: electrs serves it there too.
        method("blockchain.scripthash.unsubscribe", unsubscribe),
    ]
)
