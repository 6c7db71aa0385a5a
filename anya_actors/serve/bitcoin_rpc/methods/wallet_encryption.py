"""Wallets under a passphrase: encrypting, unlocking and locking them."""

from __future__ import annotations

from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from anya_actors.domain.keys.secret import Secret
from anya_actors.serve.bitcoin_rpc.arguments import INT64, Arguments
from anya_actors.serve.bitcoin_rpc.context import Method, RpcContext, method
from anya_actors.serve.bitcoin_rpc.errors import RpcCode, RpcError
from anya_actors.serve.bitcoin_rpc.wallets import find_wallet
from anya_actors.services.bitcoin_node.wallets.locks import (
    WrongEncryptionStateError,
    WrongWalletPassphraseError,
)
from anya_actors.services.bitcoin_node.wallets.sealing import HardenedRangeError
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

_ENCRYPTED: Final = (
    "wallet encrypted; The keypool has been flushed and a new HD seed was generated. "
    "You need to make a new backup with the backupwallet RPC."
)
_WRONG: Final = "Error: The wallet passphrase entered was incorrect."
_NULL: Final = (
    "Error: The {0}wallet passphrase entered is incorrect. It contains a null character (ie - a zero byte). "
    "If the {0}passphrase was set with a version of this software prior to 25.0, please try again with only "
    "the characters up to — but not including — the first null character."
)
_NULL_OPENING: Final = (
    " If this is successful, please set a new passphrase to avoid this issue in the future."
)


def _verify_state(wallet: Wallet, *, encrypted: bool, called: str) -> None:
    """Raise `RpcError` with Core's words unless the wallet is encrypted, or is not, as the call needs it."""
    is_encrypted = wallet.encryption is not None
    if is_encrypted is not encrypted:
        raise _wrong_state(called, is_encrypted=is_encrypted)


def _wrong_state(called: str, *, is_encrypted: bool) -> RpcError:
    state = "an encrypted" if is_encrypted else "an unencrypted"
    text = f"Error: running with {state} wallet, but {called} was called."
    return RpcError(RpcCode.WALLET_WRONG_ENCRYPTION_STATE, text)


@contextmanager
def passphrase_of(text: str) -> Iterator[Secret]:
    """A passphrase as bytes, wiped at the end; raises `RpcError` if it is empty."""
    if not text:
        raise RpcError(RpcCode.INVALID_PARAMETER, "passphrase cannot be empty")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise RpcError(RpcCode.INVALID_PARAMETER, "passphrase is not valid Unicode") from None
    with Secret.taken(encoded) as passphrase:
        yield passphrase


async def _opened(opening: Awaitable[None], passphrase: str, called: str, null: str = _WRONG) -> None:
    """Await it, with Core's words for what it may raise."""
    try:
        await opening
    except WrongWalletPassphraseError as error:
        text = null if "\0" in passphrase else _WRONG
        raise RpcError(RpcCode.WALLET_PASSPHRASE_INCORRECT, text) from error
    except WrongEncryptionStateError as error:
        raise _wrong_state(called, is_encrypted=error.is_encrypted) from error
    except HardenedRangeError as error:
        text = f"Error: Failed to encrypt the wallet: {error}"
        raise RpcError(RpcCode.WALLET_ENCRYPTION_FAILED, text) from error


async def encryptwallet(context: RpcContext, arguments: Arguments) -> Any:
    """Seal a wallet's private keys under a passphrase; from then on what needs them needs it unlocked.

    The keys are taken out of the node's files. Backups that were made before have them in the clear.
    """
    wallet, text = await find_wallet(context), arguments.text("passphrase")
    if not wallet.has_private_keys:
        words = "Error: wallet does not contain private keys, nothing to encrypt."
        raise RpcError(RpcCode.WALLET_ENCRYPTION_FAILED, words)
    _verify_state(wallet, encrypted=False, called="encryptwallet")
    with passphrase_of(text) as passphrase:
        await _opened(context.node.locks.encrypt(wallet, passphrase), text, "encryptwallet")
    return _ENCRYPTED


async def walletpassphrase(context: RpcContext, arguments: Arguments) -> Any:
    """Unlock a wallet for so many seconds, at most 100000000; calling it again sets the time anew."""
    wallet, text = await find_wallet(context), arguments.text("passphrase")
    _verify_state(wallet, encrypted=True, called="walletpassphrase")
    timeout_s = arguments.integer("timeout", within=INT64)
    if timeout_s < 0:
        raise RpcError(RpcCode.INVALID_PARAMETER, "Timeout cannot be negative.")
    with passphrase_of(text) as passphrase:
        unlocking = context.node.locks.unlock(wallet, passphrase, timeout_s)
        await _opened(unlocking, text, "walletpassphrase", _NULL.format("") + _NULL_OPENING)


async def walletpassphrasechange(context: RpcContext, arguments: Arguments) -> Any:
    """Let another passphrase open a wallet; it stays locked, or unlocked, as it is."""
    wallet, text = await find_wallet(context), arguments.text("oldpassphrase")
    _verify_state(wallet, encrypted=True, called="walletpassphrasechange")
    with passphrase_of(text) as old, passphrase_of(arguments.text("newpassphrase")) as new:
        changing = context.node.locks.change_passphrase(wallet, old, new)
        await _opened(changing, text, "walletpassphrasechange", _NULL.format("old "))


async def walletlock(context: RpcContext, _: Arguments) -> Any:
    """Wipe a wallet's keys from memory before its time has passed."""
    wallet = await find_wallet(context)
    _verify_state(wallet, encrypted=True, called="walletlock")
    context.node.locks.lock(wallet)


METHODS: Final[dict[str, Method]] = dict(
    [
        method(encryptwallet, "passphrase:string", required=1),
        method(walletpassphrase, "passphrase:string", "timeout:number", required=2),
        method(walletpassphrasechange, "oldpassphrase:string", "newpassphrase:string", required=2),
        method(walletlock),
    ]
)
