"""What a rescan forgets of a wallet's coins, and what it keeps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from anya_actors.domain.bitcoin.wallet import WalletCoin


def confirmed_above(coins: Iterable[WalletCoin], height: int) -> Iterator[tuple[bytes, int]]:
    """What made and what spent these coins in blocks above this height."""
    for coin in coins:
        if coin.height > height:
            yield coin.txid, coin.height
        if coin.spent_height is not None and coin.spent_height > height:
            yield coin.spent_by, coin.spent_height


def unspent_above(coin: WalletCoin, height: int) -> WalletCoin:
    """The coin as it stood at this height."""
    if coin.spent_height is None or coin.spent_height <= height:
        return coin
    return replace(coin, spent_height=None, spent_by=b"")
