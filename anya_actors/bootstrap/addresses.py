"""Where a platform listens."""

from __future__ import annotations

import msgspec


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ready platform listens. The node's are None when it is not the embedded one."""

    api: str
    bitcoin_rpc: str | None = None
    bitcoin_cookie: str | None = None
