"""`BitcoinRpc` over Bitcoin Core's JSON-RPC.

Blocks and transactions are read as raw bytes and parsed here, so that no amount passes through
JSON's numbers; where Core gives bitcoins as a number, its shortest text is read as a decimal, which
is exact for every amount that can exist. What a node says of a hash is checked against the hash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx

from anya_actors.adapters.bitcoin_rpc import answers
from anya_actors.adapters.bitcoin_rpc.calls import Calls, split_url
from anya_actors.adapters.bitcoin_rpc.credentials import CookieAuth, PasswordAuth
from anya_actors.adapters.bitcoin_rpc.refusals import (
    DESERIALIZATION_ERROR,
    INVALID_ADDRESS_OR_KEY,
    INVALID_PARAMETER,
    MISC_ERROR,
    VERIFY_ALREADY_IN_UTXO_SET,
    VERIFY_ERROR,
    VERIFY_REJECTED,
)
from anya_actors.domain.bitcoin.amount import parse_btc
from anya_actors.domain.bitcoin.block import Block, BlockHeader, block_merkle_root, parse_block
from anya_actors.domain.bitcoin.errors import AmountError, MalformedBlockError, MalformedTransactionError
from anya_actors.domain.bitcoin.hashes import BlockHash, HashError, Txid
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput, parse_transaction_hex
from anya_actors.domain.machine import AnyaError, NotSupportedError
from anya_actors.ports.bitcoin_rpc import (
    Acceptance,
    BlockNotFoundError,
    BroadcastRejectedError,
    ChainInfo,
    FoundHeader,
    FoundTransaction,
    MalformedReplyError,
    MempoolInfo,
    RpcRefusedError,
    TransactionNotFoundError,
    UnspentOutput,
    Utxo,
    WaitingTransaction,
)
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness

_REJECTIONS: Final = (DESERIALIZATION_ERROR, VERIFY_ERROR, VERIFY_REJECTED)
_ALREADY_THERE: Final = ("txn-already-in-mempool", "txn-already-known", "already in block chain")

TIMEOUT_S: Final = 30.0
MINING_TIMEOUT_S: Final = 300.0
SCAN_TIMEOUT_S: Final = 600.0
_PARSE_IN_THREAD: Final = 200_000


class CoreBitcoinRpc:
    """One node at ``url`` (``http://[user:password@]host:port``), or with its cookie file."""

    def __init__(
        self,
        url: str,
        *,
        cookie_path: Path | None = None,
        clock: Clock,
        randomness: Randomness,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        bare_url, user, password = split_url(url)
        auth: httpx.Auth | None = None
        if cookie_path is not None:
            auth = CookieAuth(bare_url, cookie_path)
        elif user:
            auth = PasswordAuth(bare_url, user, password)
        self._calls = Calls(
            bare_url, auth, clock=clock, randomness=randomness, timeout_s=timeout_s, transport=transport
        )

    def __repr__(self) -> str:
        return f"CoreBitcoinRpc({self._calls.url})"

    async def chain_info(self) -> ChainInfo:
        info = await self._calls.call(answers.BlockchainInfo, "getblockchaininfo")
        return ChainInfo(
            chain=info.chain,
            height=info.blocks,
            headers=info.headers,
            best_hash=self._block_hash(info.bestblockhash),
            median_time_unix_s=info.mediantime,
            initial_block_download=info.initialblockdownload,
        )

    async def block_hash(self, height: int) -> BlockHash:
        try:
            return self._block_hash(await self._calls.call(str, "getblockhash", height))
        except RpcRefusedError as error:
            raise _not_found(error, str(height)) from None

    async def block_hashes(self, heights: range) -> list[BlockHash]:
        asked = [(height,) for height in heights]
        hashes = []
        for answer in await self._calls.call_many(str, "getblockhash", asked):
            if isinstance(answer, RpcRefusedError) and answer.args[2] == INVALID_PARAMETER:
                break  # above the tip
            if isinstance(answer, AnyaError):
                raise answer
            hashes.append(self._block_hash(answer))
        return hashes

    async def header(self, block_hash: BlockHash) -> FoundHeader:
        try:
            found = await self._calls.call(answers.Header, "getblockheader", str(block_hash), True)
        except RpcRefusedError as error:
            raise _not_found(error, str(block_hash)) from None
        header = self._header(found)
        self._check(header.hash == block_hash, "a header that has not the hash asked for")
        return FoundHeader(header, found.height, found.confirmations)

    async def block(self, block_hash: BlockHash) -> Block:
        try:
            text = await self._calls.call(str, "getblock", str(block_hash), 0)
        except RpcRefusedError as error:
            raise _not_found(error, str(block_hash)) from None
        try:
            if len(text) > _PARSE_IN_THREAD:
                block = await asyncio.to_thread(_parse_block, text)
            else:
                block = _parse_block(text)
        except (ValueError, MalformedBlockError) as error:
            raise MalformedReplyError(self._calls.url, f"getblock: {error}") from None
        self._check(block.hash == block_hash, "a block that has not the hash asked for")
        return block

    async def spent_by(self, block: Block) -> list[tuple[TxOutput, ...]]:
        try:
            found = await self._calls.call(answers.SpendingBlock, "getblock", str(block.hash), 3)
        except RpcRefusedError as error:
            raise _not_found(error, str(block.hash)) from None
        told = [one.vin for one in found.tx]
        have = [one.inputs for one in block.transactions]
        self._check([*map(len, told)] == [*map(len, have)], "a block of other transactions than it has")
        return [
            ()
            if transaction.is_coinbase
            else tuple(map(self._spent_output, (one.prevout for one in transaction.inputs), inputs))
            for transaction, inputs in zip(block.transactions, told, strict=True)
        ]

    async def transaction(self, txid: Txid) -> FoundTransaction:
        try:
            found = await self._calls.call(answers.RawTransaction, "getrawtransaction", str(txid), True)
        except RpcRefusedError as error:
            raise _no_transaction(error, txid) from None
        return self._found(txid, found)

    async def transactions(self, txids: Sequence[Txid]) -> list[FoundTransaction]:
        asked = [(str(txid), True) for txid in txids]
        given = await self._calls.call_many(answers.RawTransaction, "getrawtransaction", asked)
        found = []
        for txid, answer in zip(txids, given, strict=True):
            if isinstance(answer, RpcRefusedError) and answer.args[2] == INVALID_ADDRESS_OR_KEY:
                continue
            if isinstance(answer, AnyaError):
                raise answer
            found.append(self._found(txid, answer))
        return found

    def _found(self, txid: Txid, found: answers.RawTransaction) -> FoundTransaction:
        try:
            transaction = parse_transaction_hex(found.hex)
        except MalformedTransactionError as error:
            raise MalformedReplyError(self._calls.url, f"getrawtransaction: {error}") from None
        self._check(transaction.txid == txid, "a transaction that has not the txid asked for")
        home = None if found.blockhash is None else self._block_hash(found.blockhash)
        return FoundTransaction(transaction, home, found.confirmations)

    async def broadcast(self, transaction: Transaction) -> None:
        try:
            await self._calls.call(str, "sendrawtransaction", transaction.serialize().hex())
        except RpcRefusedError as error:
            _, reason, code = error.args
            if code == VERIFY_ALREADY_IN_UTXO_SET or any(words in reason for words in _ALREADY_THERE):
                return
            if code in _REJECTIONS:
                raise BroadcastRejectedError(str(transaction.txid), reason) from None
            raise

    async def test_acceptance(self, transaction: Transaction) -> Acceptance:
        asked = [transaction.serialize().hex()]
        tested = await self._calls.call(list[answers.TestedTransaction], "testmempoolaccept", asked)
        self._check(len(tested) == 1, "a test of another number of transactions")
        if not tested[0].allowed or tested[0].fees is None:
            reason = tested[0].reject_reason or "it gives no reason"
            raise BroadcastRejectedError(str(transaction.txid), reason)
        return Acceptance(self._amount_sat(tested[0].fees.base), tested[0].vsize)

    async def mempool_info(self) -> MempoolInfo:
        info = await self._calls.call(answers.MempoolInfo, "getmempoolinfo")
        return MempoolInfo(
            info.size, info.bytes, self._amount_sat(info.total_fee), self._amount_sat(info.mempoolminfee)
        )

    async def waiting(self, txid: Txid) -> WaitingTransaction:
        try:
            entry = await self._calls.call(answers.MempoolEntry, "getmempoolentry", str(txid))
        except RpcRefusedError as error:
            raise _no_transaction(error, txid) from None
        return WaitingTransaction(
            txid=txid,
            vsize=entry.vsize,
            fee_sat=self._amount_sat(entry.fees.base),
            entered_unix_s=entry.time,
            height=entry.height,
            ancestor_count=entry.ancestorcount,
            ancestor_vsize=entry.ancestorsize,
            ancestor_fee_sat=self._amount_sat(entry.fees.ancestor),
            descendant_count=entry.descendantcount,
            descendant_vsize=entry.descendantsize,
            descendant_fee_sat=self._amount_sat(entry.fees.descendant),
        )

    async def unspent_of(self, script_pubkey: bytes) -> list[UnspentOutput]:
        objects = [f"raw({script_pubkey.hex()})"]
        scan = await self._calls.call(
            answers.Scan, "scantxoutset", "start", objects, timeout_s=SCAN_TIMEOUT_S
        )
        found = [
            UnspentOutput(
                Outpoint(self._txid(one.txid), one.vout),
                self._amount_sat(one.amount),
                one.height,
                one.coinbase,
            )
            for one in scan.unspents
        ]
        return sorted(found, key=lambda one: (one.height, one.outpoint))

    async def mempool_txids(self) -> frozenset[Txid]:
        return frozenset(map(self._txid, await self._calls.call(list[str], "getrawmempool")))

    async def utxo(self, outpoint: Outpoint, *, include_mempool: bool = True) -> Utxo | None:
        found = await self._calls.call_optional(
            answers.TxOut, "gettxout", str(outpoint.txid), outpoint.index, include_mempool
        )
        if found is None:
            return None
        amount_sat = self._amount_sat(found.value)
        return Utxo(amount_sat, self._bytes(found.script.hex), found.coinbase, found.confirmations)

    async def estimate_feerate(self, target_blocks: int) -> int | None:
        estimate = await self._calls.call(answers.Estimate, "estimatesmartfee", target_blocks)
        if estimate.feerate is None or estimate.feerate <= 0:
            return None
        sat_per_kvb = self._amount_sat(estimate.feerate)
        return max(1, -(-sat_per_kvb // 1000))

    async def generate_to_address(self, blocks: int, address: str) -> list[BlockHash]:
        mined = await self._calls.call(
            list[str], "generatetoaddress", blocks, address, once=True, timeout_s=MINING_TIMEOUT_S
        )
        return [self._block_hash(text) for text in mined]

    async def close(self) -> None:
        await self._calls.close()

    # -- reading what the node says -----------------------------------------------------------

    def _check(self, holds: bool, what: str) -> None:
        if not holds:
            raise MalformedReplyError(self._calls.url, f"it answers {what}")

    def _block_hash(self, text: str) -> BlockHash:
        try:
            return BlockHash.from_hex(text)
        except HashError as error:
            raise MalformedReplyError(self._calls.url, str(error)) from None

    def _txid(self, text: str) -> Txid:
        try:
            return Txid.from_hex(text)
        except HashError as error:
            raise MalformedReplyError(self._calls.url, str(error)) from None

    def _bytes(self, text: str) -> bytes:
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise MalformedReplyError(self._calls.url, "it answers text that is not hexadecimal") from None

    def _amount_sat(self, value: float) -> int:
        try:
            return amount_sat_of(value)
        except AmountError as error:
            raise MalformedReplyError(self._calls.url, str(error)) from None

    def _spent_output(self, outpoint: Outpoint, told: answers.SpendingInput) -> TxOutput:
        same = outpoint == Outpoint(self._txid(told.txid), told.vout)
        self._check(same, "a block whose inputs spend others than they do")
        if told.prevout is None:
            what = "reading what a block's inputs spent"
            raise NotSupportedError(what, "the node has pruned it, or is older than Bitcoin Core 23")
        script = self._bytes(told.prevout.script.hex)
        return TxOutput(self._amount_sat(told.prevout.value), script)

    def _header(self, found: answers.Header) -> BlockHeader:
        try:
            return BlockHeader(
                found.version,
                BlockHash.from_hex(found.previousblockhash),
                bytes.fromhex(found.merkleroot)[::-1],
                found.time,
                int(found.bits, 16),
                found.nonce,
            )
        except (ValueError, HashError) as error:
            raise MalformedReplyError(self._calls.url, f"getblockheader: {error}") from None


def amount_sat_of(value: float) -> int:
    """Satoshis of a number of bitcoins out of JSON; raises `AmountError`.

    Doubles below 2**26 stand closer together than satoshis, so each amount has its own double, and
    the shortest decimal of that double is the amount as Core wrote it.
    """
    return parse_btc(repr(value))


def _parse_block(text: str) -> Block:
    block = parse_block(bytes.fromhex(text))
    if block_merkle_root(block.transactions) != block.header.merkle_root:
        raise MalformedBlockError("the block", "its transactions are not those of its header")
    return block


def _no_transaction(error: RpcRefusedError, txid: Txid) -> Exception:
    return TransactionNotFoundError(str(txid)) if error.args[2] == INVALID_ADDRESS_OR_KEY else error


def _not_found(error: RpcRefusedError, block: str) -> Exception:
    _, reason, code = error.args
    missing = code in (INVALID_ADDRESS_OR_KEY, INVALID_PARAMETER)
    pruned = code == MISC_ERROR and "not available" in reason
    return BlockNotFoundError(block) if missing or pruned else error
