"""The server itself: help, time, memory, and stopping it."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.core_notifications import HIGH_WATER_MARK, Topic
from anya_actors.domain.bitcoin.node_time import MAX_MOCK_TIME_S
from anya_actors.serve.bitcoin_rpc.arguments import INT64, Arguments, require
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError

_MOST_FORWARD_S: Final = 3600
_ECHOED: Final = tuple(f"arg{place}" for place in range(10))


async def help(context: RpcContext, arguments: Arguments) -> Any:
    """All methods by category, or how to use one of them."""
    wanted = arguments.text("command")
    if wanted:
        found = context.methods.get(wanted)
        return found.help_text if found is not None else f"help: unknown command: {wanted}"
    lines: list[str] = []
    shown = (found for found in context.methods.values() if found.category != "hidden")
    category = ""
    for found in sorted(shown, key=lambda found: (found.category, found.name)):
        if found.category != category:
            lines += (
                ["", f"== {found.category.capitalize()} =="]
                if category
                else [f"== {found.category.capitalize()} =="]
            )
            category = found.category
        lines.append(found.signature.usage(found.name))
    return "\n".join(lines)


async def uptime(context: RpcContext, _: Arguments) -> Any:
    """Seconds since the node was started, by the clock that it goes by."""
    return context.clock.now_unix_ms() // 1000 - context.node.started_s


async def setmocktime(context: RpcContext, arguments: Arguments) -> Any:
    """Let the node's time stand at this second, for its rules as for its answers; 0: let it go on."""
    time_s = arguments.integer("timestamp", within=INT64)
    if not 0 <= time_s <= MAX_MOCK_TIME_S:
        text = f"Mocktime must be in the range [0, {MAX_MOCK_TIME_S}], not {time_s}."
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    await context.node.set_time(time_s)


async def mockscheduler(context: RpcContext, arguments: Arguments) -> Any:
    """Do now what the node would do within so many seconds (1 to 3600): lock wallets whose time ends."""
    delta_s = arguments.integer("delta_time", within=INT64)
    if not 1 <= delta_s <= _MOST_FORWARD_S:
        text = "delta_time must be between 1 and 3600 seconds (1 hr)"
        raise RpcError(RpcCode.MISC_ERROR, text)
    context.node.scheduler.advance(delta_s)


async def stop(context: RpcContext, _: Arguments) -> Any:
    """End the node in order: nothing that was acknowledged is lost."""
    context.on_stop()
    return "Bitcoin node stopping"


async def getrpcinfo(context: RpcContext, _: Arguments) -> Any:
    """The calls under way. There is no log file of the node's own."""
    now_s = context.clock.monotonic_s()
    active = [
        {"method": running.method, "duration": int((now_s - running.started_s) * 1_000_000)}
        for running in context.memory.running
    ]
    return {"active_commands": active, "logpath": ""}


async def getmemoryinfo(_: RpcContext, arguments: Arguments) -> Any:
    """Memory locked against swapping: this node locks none, its regtest keys are worth nothing."""
    mode = arguments.text("mode", "stats")
    if mode == "mallocinfo":
        raise RpcError(RpcCode.INVALID_PARAMETER, "mallocinfo mode not available")
    if mode != "stats":
        raise RpcError(RpcCode.INVALID_PARAMETER, f"unknown mode {mode}")
    names = ("used", "free", "total", "locked", "chunks_used", "chunks_free")
    return {"locked": dict.fromkeys(names, 0)}


async def logging(_: RpcContext, arguments: Arguments) -> Any:
    """The debug categories: this node has none that could be switched on or off."""
    for name in [*arguments.items("include"), *arguments.items("exclude")]:
        text = f"unknown logging category {require(name, str)}"
        raise RpcError(RpcCode.INVALID_PARAMETER, text)
    return {}


async def echo(_: RpcContext, arguments: Arguments) -> Any:
    """The arguments as they came; for testing clients."""
    return [arguments.raw(name) for name in arguments.members()]


async def echojson(_: RpcContext, arguments: Arguments) -> Any:
    """The arguments as they came; for testing clients that convert them."""
    return [arguments.raw(name) for name in arguments.members()]


async def getzmqnotifications(context: RpcContext, _: Arguments) -> Any:
    """Where the node publishes its changes, by topic."""
    if context.zmq_address is None:
        return []
    return [
        {"type": f"pub{topic.value}", "address": context.zmq_address, "hwm": HIGH_WATER_MARK}
        for topic in Topic
    ]


METHODS: Final[dict[str, Method]] = dict(
    [
        method(help, "command:string"),
        method(uptime),
        method(stop, "wait:number"),
        method(getrpcinfo),
        method(getmemoryinfo, "mode:string"),
        method(logging, "include:array", "exclude:array"),
    ]
)
ZMQ: Final[dict[str, Method]] = dict([method(getzmqnotifications)])
HIDDEN: Final[dict[str, Method]] = dict(
    [
        method(echo, *_ECHOED),
        method(echojson, *_ECHOED),
        method(setmocktime, "timestamp:number", required=1),
        method(mockscheduler, "delta_time:number", required=1),
    ]
)
