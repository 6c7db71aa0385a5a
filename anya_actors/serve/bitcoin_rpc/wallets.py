"""The wallet that a call means, and what all wallet methods share."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import RpcContext
from anya_actors.serve.bitcoin_rpc.describe import NETWORK
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind, OwnScript
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

_NO_WALLET: Final = (
    "No wallet is loaded. Load a wallet using loadwallet or create a new one with createwallet. "
    "(Note: A default wallet is no longer automatically created)"
)
_SEVERAL: Final = (
    "Multiple wallets are loaded. Please select which wallet to use by requesting the RPC through the "
    '/wallet/<walletname> URI path. Or for the CLI, specify the "-rpcwallet=<walletname>" option '
    'before the command (run "bitcoin-cli -h" for help or "bitcoin-cli listwallets" to see which '
    "wallets are currently loaded)."
)


async def find_wallet(context: RpcContext) -> Wallet:
    """The wallet of the request's path, or the only one loaded.

    Unlike Core's, this node makes an unnamed wallet when one is needed and none was ever made.
    """
    wallets = context.node.wallets
    if context.wallet is not None and (context.wallet or wallets.all):
        found = wallets.loaded.get(context.wallet)
        if found is None:
            text = "Requested wallet does not exist or is not loaded"
            raise RpcError(RpcCode.WALLET_NOT_FOUND, text)
        return found
    loaded = list(wallets.loaded.values())
    if len(loaded) == 1:
        return loaded[0]
    if loaded:
        raise RpcError(RpcCode.WALLET_NOT_SPECIFIED, _SEVERAL)
    if wallets.all:
        raise RpcError(RpcCode.WALLET_NOT_FOUND, _NO_WALLET)
    return await context.node.in_turn(wallets.default)


def verify_name(name: str) -> None:
    """Raise `RpcError` unless a new wallet may have this name."""
    if "/" in name or "\0" in name or len(name) > 200:
        raise RpcError(RpcCode.WALLET_ERROR, "Wallet file verification failed. Invalid wallet name.")


def parse_kind(text: str) -> AddressKind:
    """An address type by Core's name; raises `RpcError`."""
    try:
        return AddressKind(text)
    except ValueError:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, f"Unknown address type '{text}'") from None


def parse_label(arguments: Arguments, name: str) -> str:
    """A label; ``*`` means all and names none."""
    label = arguments.text(name)
    if label == "*":
        raise RpcError(RpcCode.WALLET_INVALID_LABEL_NAME, "Invalid label name")
    return label


def own_address(script: bytes) -> str:
    """The address of a script of a wallet, or nothing for a script without one."""
    return encode_address(script, NETWORK) or ""


def read_address(text: str, words: str = "Invalid Bitcoin address") -> bytes:
    """The script of an address; raises `RpcError`."""
    try:
        return parse_address(text, NETWORK)
    except AddressError as error:
        raise RpcError(RpcCode.INVALID_ADDRESS_OR_KEY, words) from error


def own_script(wallet: Wallet, script: bytes) -> OwnScript:
    """The wallet's knowledge of a script; raises `RpcError`."""
    own = wallet.scripts.get(script)
    if own is None:
        raise RpcError(RpcCode.WALLET_ERROR, "Address not found in wallet")
    return own


def last_processed(context: RpcContext) -> dict[str, Any]:
    """The block up to which a wallet's answer holds."""
    tip = context.node.chain.tip
    return {"hash": str(tip.hash), "height": tip.height}
