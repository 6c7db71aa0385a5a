"""Wallets as files: written by ``backupwallet``, read by ``restorewallet``. Not in Core's format."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path
from typing import Any, Final

from anya_actors.serve.bitcoin_rpc.arguments import Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.wallets import find_wallet, verify_name
from anya_actors.serve.replaced_file import replace_file
from anya_actors.services.bitcoin_node.wallets.backup import BadWalletBackupError

_MOST_BYTES: Final = 256 << 20


async def backupwallet(context: RpcContext, arguments: Arguments) -> Any:
    """Write a wallet, its private keys included, to a file, or to a file of its name in a folder.

    The file is readable by this user alone; ``restorewallet`` of this node reads it, Core does not.
    """
    wallet, destination = await find_wallet(context), arguments.text("destination")
    data = await context.node.in_turn(lambda: context.node.wallets.backup(wallet))
    try:
        await asyncio.to_thread(_write, destination, wallet.name, data)
    except (OSError, ValueError) as error:
        raise RpcError(RpcCode.WALLET_ERROR, "Error: Wallet backup failed!") from error


def _write(place: str, wallet: str, data: bytes) -> None:
    if not place:
        raise FileNotFoundError(place)  # not the folder that the node was started in
    destination = Path(place)
    if destination.is_dir():
        destination /= f"{wallet or 'wallet'}.dat"
    fresh = destination.with_name(f".{destination.name}.{secrets.token_hex(8)}")
    replace_file(destination, data, fresh=fresh)


async def restorewallet(context: RpcContext, arguments: Arguments) -> Any:
    """A new, loaded wallet from a file that this node's ``backupwallet`` wrote."""
    name, file = arguments.text("wallet_name"), Path(arguments.text("backup_file"))
    verify_name(name)
    data = await asyncio.to_thread(_read, file)
    if data is None:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Backup file does not exist")
    wallets = context.node.wallets

    async def restore() -> None:
        if name in wallets.all:
            text = f"Failed to restore wallet. Database file exists in '{name}'."
            raise RpcError(RpcCode.WALLET_ALREADY_EXISTS, text)
        await wallets.restore(name, data)

    try:
        await context.node.in_turn(restore)
    except BadWalletBackupError as error:
        text = f"Failed to load database path '{name}'. Data is not in recognized format."
        raise RpcError(RpcCode.WALLET_NOT_FOUND, f"Wallet file verification failed. {text}") from error
    return {"name": name}


def _read(file: Path) -> bytes | None:
    """What the file holds, nothing of one that is too large, None where there is none."""
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
    except (OSError, ValueError):
        return None
    return data if len(data) <= _MOST_BYTES else b""


METHODS: Final[dict[str, Method]] = dict(
    [
        method(backupwallet, "destination:string", required=1),
        method(restorewallet, "wallet_name:string", "backup_file:string", "load_on_startup:bool", required=2),
    ]
)
