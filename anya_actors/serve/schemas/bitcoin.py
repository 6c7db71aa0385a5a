"""Request bodies and path parts of `/api/v1/bitcoin`. Amounts are whole satoshis, never floats."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import Path
from pydantic import Field

from anya_actors.serve.shapes import Body

MAX_MONEY_SAT: Final = 21_000_000 * 100_000_000

WalletName = Annotated[
    str, Path(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", description="Wallet")
]
BlockName = Annotated[
    str,
    Path(pattern=r"^([0-9a-f]{64}|0|[1-9][0-9]{0,8})$", description="Hash as Core shows it, or height"),
]
Txid = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="Transaction id in hex as Core shows it")]
PaymentId = Annotated[str, Path(min_length=1, max_length=256, description="Payment id")]


class NewWallet(Body):
    """A wallet whose key is made in the HSM."""

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")


class NewPayment(Body):
    """A payment from a wallet to an address."""

    address: str = Field(min_length=1, max_length=128, description="Base58 or bech32(m) address")
    amount_sat: int = Field(ge=1, le=MAX_MONEY_SAT)
    feerate_sat_per_vb: int | None = Field(
        None, ge=1, le=10_000, description="Satoshis a virtual byte; null asks the node's estimate"
    )
    max_fee_sat: int | None = Field(
        None, ge=1, le=MAX_MONEY_SAT, description="Refuse to pay a higher fee; needed on mainnet"
    )


class NewBlocks(Body):
    """Blocks to make at once, their reward going to the address. Regtest alone."""

    address: str = Field(min_length=1, max_length=128)
    blocks: int = Field(ge=1, le=1000)


SubscriptionId = Annotated[str, Path(pattern=r"^[0-9a-f]{24}$", description="Subscription id")]
OutputIndex = Annotated[int, Path(ge=0, le=0xFFFFFFFE, description="Place among the outputs")]
Address = Annotated[str, Path(min_length=1, max_length=128, description="Base58 or bech32(m) address")]


class RawTransaction(Body):
    """A signed transaction for the node."""

    hex: str = Field(min_length=2, max_length=800_000, description="The transaction, hexadecimal")
    max_fee_sat: int | None = Field(
        None, ge=0, le=MAX_MONEY_SAT, description="Do not send one that pays a higher fee; needed on mainnet"
    )


class Proof(Body):
    """A proof of inclusion, as `GET …/transactions/{txid}/proof` gives it."""

    proof: str = Field(min_length=2, max_length=1_000_000, description="Hexadecimal")


class PaymentRequest(Body):
    """A URI that somebody wants to be paid by."""

    uri: str = Field(min_length=8, max_length=16_384, description="A `bitcoin:` URI (BIP21, BIP321)")


class Payee(Body):
    """A name and the proof of what it stands for."""

    name: str = Field(min_length=3, max_length=255, description="₿user@domain, with or without ₿")
    proof: str = Field(
        min_length=2, max_length=131_070, description="RFC 9102 `AuthenticationChain` records, hexadecimal"
    )


class NewSubscription(Body):
    """Whom to wait for. Events on the bus carry the subscription's id."""

    subject: Literal["transaction", "address", "script", "outpoint"]
    value: str = Field(
        min_length=1, max_length=20_000, description="A txid, an address, a script in hex, or txid:index"
    )
    confirmations: int = Field(1, ge=1, le=144, description="When to tell that it is confirmed")
