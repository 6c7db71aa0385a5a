"""Waiting for the chain: for any new tip, for a block, for a height."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError


async def wait_until(context: RpcContext, is_reached: Callable[[], bool], timeout_s: float | None) -> None:
    """Return when a change of the node made it true, or after the time."""
    changed = asyncio.Event()
    end = context.node.subscribe(lambda _: changed.set())
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not is_reached():
                    changed.clear()
                    await changed.wait()
    finally:
        end()


async def _wait(context: RpcContext, arguments: Arguments, is_reached: Callable[[], bool]) -> Any:
    timeout_ms = arguments.integer("timeout", 0)
    if timeout_ms < 0:
        raise RpcError(RpcCode.MISC_ERROR, "Negative timeout")
    await wait_until(context, is_reached, timeout_ms / 1000 if timeout_ms else None)
    tip = context.node.chain.tip
    return {"hash": str(tip.hash), "height": tip.height}


async def waitfornewblock(context: RpcContext, arguments: Arguments) -> Any:
    """Wait until the tip is another than now, or than the one named; 0 waits for ever."""
    chain = context.node.chain
    old = arguments.hash("current_tip", BlockHash) if arguments.has("current_tip") else chain.tip.hash
    return await _wait(context, arguments, lambda: chain.tip.hash != old)


async def waitforblock(context: RpcContext, arguments: Arguments) -> Any:
    """Wait until this block is the tip; 0 waits for ever."""
    wanted = arguments.hash("blockhash", BlockHash)
    return await _wait(context, arguments, lambda: context.node.chain.tip.hash == wanted)


async def waitforblockheight(context: RpcContext, arguments: Arguments) -> Any:
    """Wait until the chain has at least this height; 0 waits for ever."""
    wanted = arguments.integer("height")
    return await _wait(context, arguments, lambda: context.node.chain.tip.height >= wanted)


METHODS: Final[dict[str, Method]] = dict(
    [
        method(waitfornewblock, "timeout:number", "current_tip:string"),
        method(waitforblock, "blockhash:string", "timeout:number", required=1),
        method(waitforblockheight, "height:number", "timeout:number", required=1),
    ]
)
