"""``server.*``: who serves, and in which version of the protocol."""

from __future__ import annotations

import re
from typing import Any, Final

from anya_actors.domain.bitcoin.block import REGTEST_GENESIS_HASH
from anya_actors.serve.electrum.arguments import bad_request, shown
from anya_actors.serve.electrum.context import (
    NEWEST,
    OLDEST,
    SOFTWARE,
    Method,
    Session,
    Version,
    method,
    version_text,
)

_VERSION: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4}){0,3}", re.ASCII)


async def version(
    session: Session,
    /,
    client_name: Any = "",
    protocol_version: Any = "1.4",
    *_: Any,
    **__: Any,
) -> Any:
    """Agree on the protocol's version; more arguments are ignored, as the protocol asks."""
    if session.has_introduced_itself:
        raise bad_request("server.version already sent")
    session.has_introduced_itself = True
    try:
        session.protocol = _agreed(protocol_version)
    except ValueError:
        # "There is no protocol version in common and the server must close the connection."
        session.is_over = True
        raise bad_request(f"unsupported protocol version: {shown(protocol_version)}") from None
    return [SOFTWARE, version_text(session.protocol)]


def _agreed(wanted: Any) -> Version:
    """The highest version both speak; raises ``ValueError`` if there is none."""
    least, most = wanted if isinstance(wanted, list) and len(wanted) == 2 else (wanted, wanted)
    chosen = min(_parsed(most), NEWEST)
    if chosen < max(_parsed(least), OLDEST):
        raise ValueError
    return chosen


def _parsed(text: Any) -> Version:
    if not isinstance(text, str) or _VERSION.fullmatch(text) is None:
        raise ValueError
    parts = [int(part) for part in text.split(".")]
    while len(parts) > 2 and not parts[-1]:
        parts.pop()
    return tuple(parts)


async def banner(_: Session, /) -> Any:
    return "The embedded regtest node of anya_actors. Its coins are worth nothing."


async def donation_address(_: Session, /) -> Any:
    return ""


async def features(session: Session, /) -> Any:
    """What a server must tell of itself."""
    return {
        "genesis_hash": str(REGTEST_GENESIS_HASH),
        "hosts": {session.host: {"tcp_port": session.port, "ssl_port": None}},
        "protocol_max": version_text(NEWEST),
        "protocol_min": version_text(OLDEST),
        "pruning": None,
        "server_version": SOFTWARE,
        "hash_function": "sha256",
    }


async def peers(_: Session, /) -> Any:
    """None: it stands alone."""
    return []


async def add_peer(_: Session, /, features: Any = None) -> Any:
    """Refused: it keeps no list of peers."""
    return False


async def ping(_: Session, /) -> Any:
    return None


METHODS: Final[dict[str, Method]] = dict(
    [
        method("server.version", version),
        method("server.banner", banner),
        method("server.donation_address", donation_address),
        method("server.features", features),
        method("server.peers.subscribe", peers),
        method("server.add_peer", add_peer),
        method("server.ping", ping),
    ]
)
