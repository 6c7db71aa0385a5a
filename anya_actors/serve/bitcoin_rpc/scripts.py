"""Scripts that a call names by descriptors or addresses."""

from __future__ import annotations

from typing import Any

from anya_actors.domain.bitcoin.descriptor import DescriptorError, script_of_descriptor
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError


def scanned_scripts(items: list[Any]) -> list[tuple[bytes, str]]:
    """The scripts of scan objects, each a descriptor or an object with ``desc`` and ``range``."""
    return [(_scanned_script(item), "") for item in items]


def _scanned_script(item: Any) -> bytes:
    text = item.get("desc") if isinstance(item, dict) else item
    if not isinstance(text, str):
        raise RpcError(RpcCode.INVALID_PARAMETER, "Scan object needs to be either a string or an object")
    try:
        return script_of_descriptor(text, NETWORK)
    except DescriptorError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, str(error)) from error
