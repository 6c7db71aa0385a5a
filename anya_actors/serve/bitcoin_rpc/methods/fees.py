"""Feerates estimated from what was confirmed."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.confirmation_statistics import FeerateRange
from anya_actors.domain.bitcoin.fee_estimator import MAX_TARGET, FeeEstimator, Horizon
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError

_MODES: Final = ("unset", "economical", "conservative")


def _target(arguments: Arguments) -> int:
    target = arguments.integer("conf_target")
    if not 1 <= target <= MAX_TARGET:
        text = f"Invalid conf_target, must be between 1 and {MAX_TARGET}"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    return target


async def estimatesmartfee(context: RpcContext, arguments: Arguments) -> Any:
    target = _target(arguments)
    mode = arguments.text("estimate_mode", "economical").lower()
    if mode not in _MODES:
        text = 'Invalid estimate_mode parameter, must be one of: "unset", "economical", "conservative"'
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    found = context.node.fees.smart(target, is_conservative=mode == "conservative")
    if found.feerate_sat_per_kvb is None:
        return {"errors": ["Insufficient data or no feerate found"], "blocks": found.blocks}
    least = context.node.mempool_policy.min_relay_feerate_sat_per_kvb
    rate = max(found.feerate_sat_per_kvb, least, context.node.mempool_floor_sat_per_kvb())
    return {"feerate": btc(rate), "blocks": found.blocks}


async def estimaterawfee(context: RpcContext, arguments: Arguments) -> Any:
    target = _target(arguments)
    threshold = float(arguments.raw("threshold")) if arguments.has("threshold") else 0.95
    if not 0 <= threshold <= 1:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Invalid threshold")
    return {
        horizon.value: _raw(context.node.fees, target, threshold, horizon)
        for horizon, statistics in context.node.fees.horizons.items()
        if target <= statistics.max_target
    }


def _raw(fees: FeeEstimator, target: int, threshold: float, horizon: Horizon) -> dict[str, Any]:
    statistics = fees.horizons[horizon]
    found = fees.raw(target, threshold, horizon)
    facts: dict[str, Any] = {}
    if found.feerate_sat_per_kvb is not None:
        facts["feerate"] = btc(round(found.feerate_sat_per_kvb))
    facts |= {"decay": statistics.decay, "scale": statistics.scale}
    if found.feerate_sat_per_kvb is not None and found.passed is not None:
        facts["pass"] = _range(found.passed)
        if found.failed is not None:
            facts["fail"] = _range(found.failed)
        return facts
    if found.failed is not None:
        facts["fail"] = _range(found.failed)
    facts["errors"] = ["Insufficient data or no feerate found which meets threshold"]
    return facts


def _range(found: FeerateRange) -> dict[str, Any]:
    counts = {
        "withintarget": found.within_target,
        "totalconfirmed": found.total_confirmed,
        "inmempool": found.in_mempool,
        "leftmempool": found.left_mempool,
    }
    bounds = {"startrange": found.start, "endrange": found.end}
    # The last bucket has no upper bound: Core shows 1e+99.
    shown: dict[str, Any] = {name: round(bound) if bound < 1e18 else bound for name, bound in bounds.items()}
    return shown | {name: round(count, 2) for name, count in counts.items()}


UTIL: Final[dict[str, Method]] = dict(
    [method(estimatesmartfee, "conf_target:number", "estimate_mode:string", required=1)]
)
HIDDEN: Final[dict[str, Method]] = dict(
    [method(estimaterawfee, "conf_target:number", "threshold:number", required=1)]
)
