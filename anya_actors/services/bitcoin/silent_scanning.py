"""Looking for silent payments: the node tells what was spent, the HSM multiplies."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final

from anya_actors.domain.bitcoin.block import Block
from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.silent_receiving import may_pay_silently, tweak_to_scan
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.bitcoin.wallet import Wallet
from anya_actors.domain.machine import AnyaError, NotSupportedError, UnavailableError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc
from anya_actors.ports.signer import Signer

CACHED_BLOCKS: Final = 128
CACHED_WAITING: Final = 2000
"""Of waiting transactions so many tweaks are kept, and so many are looked at later for a wallet that
cannot be scanned now; what more there is is found when it is confirmed."""
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
        self._waiting: dict[Txid, bytes | None] = {}
        self._owed: dict[str, dict[Txid, Transaction]] = {}

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
        return await self._shared(wallet, found)

    async def shared_waiting(
        self, wallet: Wallet, fresh: Sequence[Transaction], txids: Collection[Txid]
    ) -> tuple[list[Transaction], dict[bytes, bytes]]:
        """The same of waiting transactions: the fresh ones, and those that it could not be scanned for.

        ``txids`` are all that wait. The answer holds the transactions that it is scanned for now.
        Raises `ScanHeldUpError`, after which these are looked at again, or the node's
        `UnavailableError`.
        """
        if wallet.silent is None or wallet.account is None:
            return [], {}
        asked = {
            one.txid: one
            for one in (*self._owed.get(wallet.name, {}).values(), *fresh)
            if one.txid in txids and may_pay_silently(one)
        }
        tweaks = {txid: await self._tweak_of(one) for txid, one in asked.items()}
        found = tuple((bytes(txid), tweak) for txid, tweak in tweaks.items() if tweak is not None)
        try:
            shared = await self._shared(wallet, found) if found else {}
        except ScanHeldUpError:
            self._owed[wallet.name] = dict(islice(asked.items(), CACHED_WAITING))
            raise
        self._owed.pop(wallet.name, None)
        return list(asked.values()), shared

    async def _shared(self, wallet: Wallet, found: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        if wallet.silent is None or wallet.account is None:
            return {}
        try:
            points = await self._signer.shared_points(
                wallet.account.key, [tweak for _, tweak in found], path=wallet.silent.scan_path
            )
        except AnyaError as error:  # sealed, over its rate, forbidden by now: it keeps no other wallet
            raise ScanHeldUpError(wallet.name, str(error)) from None
        return {txid: point for (txid, _), point in zip(found, points, strict=True)}

    async def _tweak_of(self, transaction: Transaction) -> bytes | None:
        """The tweak of a waiting transaction, None if it pays nobody silently, or waits no longer."""
        txid = transaction.txid
        if txid not in self._waiting:
            spent = await self._spent_by(transaction)
            if spent is None:
                return None
            tweak = tweak_to_scan(transaction, spent)
            while len(self._waiting) >= CACHED_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[txid] = None if tweak is None else tweak.serialize()
        return self._waiting[txid]

    async def _spent_by(self, transaction: Transaction) -> list[TxOutput] | None:
        """What a waiting transaction spends, if it waits still."""
        # A parent waits too, or is in a block; only some nodes find those by their txids. Asked in
        # this order, a parent that is confirmed meanwhile is not missed.
        outpoints = [spent.prevout for spent in transaction.inputs]
        parents = await self._rpc.transactions(sorted({outpoint.txid for outpoint in outpoints}))
        outputs = {one.transaction.txid: one.transaction.outputs for one in parents}
        spent = []
        for outpoint in outpoints:
            made = outputs.get(outpoint.txid, ())
            if outpoint.index < len(made):
                spent.append(made[outpoint.index])
                continue
            coin = await self._rpc.utxo(outpoint, include_mempool=False)
            if coin is None:
                return None
            spent.append(TxOutput(coin.amount_sat, coin.script_pubkey))
        return spent

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
