"""Peers and traffic, of which this node has none; what needs them says so in Core's words."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from anya_actors.domain.bitcoin.mempool_policy import MIN_RELAY_FEERATE_SAT_PER_KVB
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import VERSION, Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.describe import btc
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.methods.blocks import node_of

_NETWORKS: Final = ("ipv4", "ipv6", "onion", "i2p", "cjdns")
_DAY_S: Final = 86_400


def _no_peers() -> NoReturn:
    text = "Error: Peer-to-peer functionality missing or disabled"
    raise RpcError(RpcCode.CLIENT_P2P_DISABLED, text)


async def getnetworkinfo(_: RpcContext, __: Arguments) -> Any:
    """Version, fees of relay, and the networks: none is reachable, the node has no peers."""
    unreachable = {"limited": True, "reachable": False, "proxy": "", "proxy_randomize_credentials": False}
    return {
        "version": VERSION,
        "subversion": "/Satoshi:30.0.0(anya-actors)/",
        "protocolversion": 70016,
        "localservices": "0000000000000000",
        "localservicesnames": [],
        "localrelay": False,
        "timeoffset": 0,
        "networkactive": False,
        "connections": 0,
        "connections_in": 0,
        "connections_out": 0,
        "networks": [{"name": name, **unreachable} for name in _NETWORKS],
        "relayfee": btc(MIN_RELAY_FEERATE_SAT_PER_KVB),
        "incrementalfee": btc(MIN_RELAY_FEERATE_SAT_PER_KVB),
        "localaddresses": [],
        "warnings": [],
    }


async def getconnectioncount(_: RpcContext, __: Arguments) -> Any:
    """How many peers: none."""
    return 0


async def getpeerinfo(_: RpcContext, __: Arguments) -> Any:
    """The peers: none."""
    return []


async def getnettotals(context: RpcContext, _: Arguments) -> Any:
    """Traffic with peers: none."""
    target = {
        "timeframe": _DAY_S,
        "target": 0,
        "target_reached": False,
        "serve_historical_blocks": True,
        "bytes_left_in_cycle": 0,
        "time_left_in_cycle": 0,
    }
    now_ms = context.clock.now_unix_ms()
    return {"totalbytesrecv": 0, "totalbytessent": 0, "timemillis": now_ms, "uploadtarget": target}


async def getaddednodeinfo(_: RpcContext, arguments: Arguments) -> Any:
    """Peers added by hand: none can be."""
    if arguments.has("node"):
        text = "Error: Node has not been added."
        raise RpcError(RpcCode.CLIENT_NODE_NOT_ADDED, text)
    return []


async def getnodeaddresses(_: RpcContext, arguments: Arguments) -> Any:
    """Known addresses of peers: none."""
    if arguments.integer("count", 1) < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Address count out of range")
    network = arguments.text("network")
    if network and network not in _NETWORKS:
        raise RpcError(RpcCode.INVALID_PARAMETER, f"Network not recognized: {network}")
    return []


async def listbanned(_: RpcContext, __: Arguments) -> Any:
    """Banned peers: none."""
    return []


async def addnode(_: RpcContext, arguments: Arguments) -> Any:
    """Refused: this node has no peers."""
    if arguments.text("command") not in ("onetry", "add", "remove"):
        raise RpcError(RpcCode.MISC_ERROR, 'addnode "node" "command" ( v2transport )')
    _no_peers()


async def disconnectnode(_: RpcContext, __: Arguments) -> Any:
    """Refused: this node has no peers."""
    _no_peers()


async def setban(_: RpcContext, __: Arguments) -> Any:
    """Refused: this node has no peers."""
    _no_peers()


async def clearbanned(_: RpcContext, __: Arguments) -> Any:
    """Refused: this node has no peers."""
    _no_peers()


async def setnetworkactive(_: RpcContext, __: Arguments) -> Any:
    """Refused: this node has no peers."""
    _no_peers()


async def ping(_: RpcContext, __: Arguments) -> Any:
    """Refused: this node has no peers."""
    _no_peers()


async def getblockfrompeer(context: RpcContext, arguments: Arguments) -> Any:
    """Refused: this node has no peers."""
    node_of(context, arguments)
    _no_peers()


METHODS: Final[dict[str, Method]] = dict(
    [
        method(getnetworkinfo),
        method(getconnectioncount),
        method(getpeerinfo),
        method(getnettotals),
        method(getaddednodeinfo, "node:string"),
        method(getnodeaddresses, "count:number", "network:string"),
        method(listbanned),
        method(addnode, "node:string", "command:string", "v2transport:bool", required=2),
        method(disconnectnode, "address:string", "nodeid:number"),
        method(setban, "subnet:string", "command:string", "bantime:number", "absolute:bool", required=2),
        method(clearbanned),
        method(setnetworkactive, "state:bool", required=1),
        method(ping),
    ]
)
BLOCKCHAIN: Final[dict[str, Method]] = dict(
    [method(getblockfrompeer, "blockhash:string", "peer_id:number", required=2)]
)
