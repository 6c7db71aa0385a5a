"""Fees: estimates, the least that is relayed, and what waiting transactions pay."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.fee_histogram import fee_histogram
from anya_actors.serve.bitcoin_rpc.errors import RpcError
from anya_actors.serve.electrum.arguments import whole_number
from anya_actors.serve.electrum.context import Method, Session, method
from anya_actors.serve.electrum.methods.transactions import daemon_error

_MAX_TARGET: Final = 1008


async def estimatefee(session: Session, /, number: Any, mode: Any = None) -> Any:
    """BTC per 1,000 vB to be confirmed within so many blocks; -1 without an estimate."""
    asked = [min(max(whole_number(number), 1), _MAX_TARGET), *([] if mode is None else [mode])]
    try:
        estimate = await session.context.call("estimatesmartfee", asked)
    except RpcError as error:
        raise daemon_error(error) from error
    return estimate.get("feerate", -1)


async def relayfee(session: Session, /) -> Any:
    """The least feerate that is relayed, in BTC per 1,000 vB."""
    return (await session.context.call("getmempoolinfo", []))["minrelaytxfee"]


async def get_info(session: Session, /) -> Any:
    info = await session.context.call("getmempoolinfo", [])
    return {name: info[name] for name in ("mempoolminfee", "minrelaytxfee", "incrementalrelayfee")}


async def get_fee_histogram(session: Session, /) -> Any:
    entries = session.context.node.pool.entries.values()
    return fee_histogram((entry.fee_sat, entry.vsize) for entry in entries)


METHODS: Final[dict[str, Method]] = dict(
    [
        method("blockchain.estimatefee", estimatefee),
        # Gone from 1.6, but rust-electrum-client agrees on 1.6 and calls it all the same.
        method("blockchain.relayfee", relayfee),
        method("mempool.get_fee_histogram", get_fee_histogram),
        method("mempool.get_info", get_info, since=(1, 6)),
    ]
)
