"""The shapes of Bitcoin Core's answers, as far as they are read."""

from __future__ import annotations

import msgspec


class BlockchainInfo(msgspec.Struct):
    """getblockchaininfo."""

    chain: str
    blocks: int
    headers: int
    bestblockhash: str
    mediantime: int
    initialblockdownload: bool = False


class Header(msgspec.Struct):
    """getblockheader."""

    confirmations: int
    height: int
    version: int
    merkleroot: str
    time: int
    nonce: int
    bits: str
    previousblockhash: str = "00" * 32


class RawTransaction(msgspec.Struct):
    """getrawtransaction, verbosity 1."""

    hex: str
    blockhash: str | None = None
    confirmations: int = 0


class Script(msgspec.Struct):
    """A script, of which the bytes alone are believed."""

    hex: str


class TxOut(msgspec.Struct):
    """gettxout."""

    value: float
    confirmations: int
    coinbase: bool
    script: Script = msgspec.field(name="scriptPubKey")


class Prevout(msgspec.Struct):
    """What an input spent, within `SpendingBlock`."""

    value: float
    script: Script = msgspec.field(name="scriptPubKey")


class SpendingInput(msgspec.Struct):
    """An input, within `SpendingBlock`."""

    txid: str = ""
    vout: int = 0
    prevout: Prevout | None = None


class SpendingTransaction(msgspec.Struct):
    """A transaction, within `SpendingBlock`."""

    vin: list[SpendingInput]


class SpendingBlock(msgspec.Struct):
    """getblock, verbosity 3."""

    tx: list[SpendingTransaction]


class Estimate(msgspec.Struct):
    """estimatesmartfee."""

    feerate: float | None = None


class MempoolInfo(msgspec.Struct):
    """getmempoolinfo."""

    size: int
    bytes: int
    total_fee: float
    mempoolminfee: float


class Fees(msgspec.Struct):
    """The fees of a mempool entry, in bitcoins."""

    base: float
    ancestor: float
    descendant: float


class MempoolEntry(msgspec.Struct):
    """getmempoolentry."""

    vsize: int
    time: int
    height: int
    ancestorcount: int
    ancestorsize: int
    descendantcount: int
    descendantsize: int
    fees: Fees


class BaseFee(msgspec.Struct):
    """The fee of a tested transaction, in bitcoins."""

    base: float


class TestedTransaction(msgspec.Struct, rename="kebab"):
    """testmempoolaccept, one of its list."""

    allowed: bool | None = None
    reject_reason: str | None = None
    vsize: int = 0
    fees: BaseFee | None = None


class ScannedOutput(msgspec.Struct):
    """scantxoutset, one of its list."""

    txid: str
    vout: int
    amount: float
    height: int
    coinbase: bool = False


class Scan(msgspec.Struct):
    """scantxoutset."""

    unspents: list[ScannedOutput]
