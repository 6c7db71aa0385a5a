"""All methods of the Electrum protocol by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from anya_actors.serve.electrum.context import Method
from anya_actors.serve.electrum.methods import blocks, fees, scripts, server, transactions

METHODS: Final[Mapping[str, Method]] = MappingProxyType(
    server.METHODS | blocks.METHODS | scripts.METHODS | transactions.METHODS | fees.METHODS
)
