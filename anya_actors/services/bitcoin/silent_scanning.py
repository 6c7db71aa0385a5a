"""Looking for silent payments in blocks: the node tells what was spent, the HSM multiplies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.silent_receiving import may_pay_silently, tweak_to_scan
from anya_actors.domain.bitcoin.wallet import Wallet
from anya_actors.domain.machine import AnyaError, NotSupportedError, UnavailableError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc
from anya_actors.ports.signer import Signer

CACHED_BLOCKS: Final = 128
_TURN: Final = 64  # transactions between two looks at what else waits

Tweaks = tuple[tuple[bytes, bytes], ...]


class ScanHeldUpError(UnavailableError):
    """A wallet cannot look for silent payments now, so it waits with the blocks that may hold some."""

    code = "silent-scan-held-up"
    message = "the wallet {} waits to be scanned for silent payments: {}"
    remedy = "Unseal the HSM and let its key derive; the wallet follows as soon as it can be scanned."


class SilentScanner:
    """Makes what a wallet's scanner needs, keeping the tweaks of blocks while several wallets want them."""

    def __init__(self, rpc: BitcoinRpc, signer: Signer) -> None:
        self._rpc, self._signer = rpc, signer
        self._tweaks: dict[BlockHash, Tweaks] = {}

    async def shared(self, wallet: Wallet, blocks: Sequence[Block]) -> dict[bytes, bytes]:
        """By txid in wire order, the scan key times the tweak of each transaction that may pay the wallet.

        Nothing is asked for a wallet that receives no silent payments. Raises `ScanHeldUpError`, or
        the node's `UnavailableError`.
        """
        if wallet.silent is None or wallet.account is None:
            return {}
        try:
            found = [one for block in blocks for one in await self._tweaks_of(block)]
        except NotSupportedError as error:
            raise ScanHeldUpError(wallet.name, str(error)) from None
        try:
            points = await self._signer.shared_points(
                wallet.account.key, [tweak for _, tweak in found], path=wallet.silent.scan_path
            )
        except AnyaError as error:  # sealed, over its rate, forbidden by now: it keeps no other wallet
            raise ScanHeldUpError(wallet.name, str(error)) from None
        return {txid: point for (txid, _), point in zip(found, points, strict=True)}

    async def _tweaks_of(self, block: Block) -> Tweaks:
        block_hash = block.hash
        known = self._tweaks.get(block_hash)
        if known is None:
            known = await self._read(block)
            while len(self._tweaks) >= CACHED_BLOCKS:
                del self._tweaks[next(iter(self._tweaks))]
            self._tweaks[block_hash] = known
        return known

    async def _read(self, block: Block) -> Tweaks:
        if not any(map(may_pay_silently, block.transactions)):
            return ()
        found = []
        spent = await self._rpc.spent_by(block)
        for at, (transaction, outputs) in enumerate(zip(block.transactions, spent, strict=True), 1):
            tweak = tweak_to_scan(transaction, outputs)
            if tweak is not None:
                found.append((bytes(transaction.txid), tweak.serialize()))
            if at % _TURN == 0:
                await asyncio.sleep(0)
        return tuple(found)
