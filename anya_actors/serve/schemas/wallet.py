"""Request bodies of `/api/v1/wallet`. Amounts are whole satoshis, never floats."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anya_actors.serve.schemas.bitcoin import MAX_MONEY_SAT
from anya_actors.serve.shapes import Body

OutpointText = Annotated[str, Field(pattern=r"^[0-9a-f]{64}:(0|[1-9][0-9]{0,9})$", description="txid:index")]
DescriptorText = Annotated[str, Field(max_length=20_000, description="Output descriptor with public keys")]
AddressText = Annotated[str, Field(min_length=1, max_length=128, description="Base58 or bech32(m) address")]
Feerate = Annotated[
    int | None, Field(ge=1, le=10_000, description="Satoshis a virtual byte; null asks the node's estimate")
]
FeeCap = Annotated[
    int | None, Field(ge=1, le=MAX_MONEY_SAT, description="Refuse to pay a higher fee; needed on mainnet")
]


class NewAccount(Body):
    """A wallet: of a kind of address under a new key in the HSM, or of descriptors.

    With descriptors, ``key`` names the HSM's key among theirs; without one it is watch-only.
    """

    name: str = Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    kind: Literal["wpkh", "tr", "sh-wpkh", "pkh"] = "wpkh"
    account: int = Field(0, ge=0, le=0x7FFFFFFF)
    descriptor: DescriptorText = ""
    change_descriptor: DescriptorText = ""
    key: str = Field("", max_length=128, description="Name of a bip32 key in the HSM")
    gap_limit: int = Field(20, ge=1, le=1000)
    birth_height: int | None = Field(None, ge=0, le=500_000_000, description="First block that may pay it")


class NewAddress(Body):
    """Which of the wallet's branches the address is of."""

    change: bool = False


class Receiver(Body):
    """Who is paid how much; with ``send_all`` the amount is 0."""

    address: AddressText
    amount_sat: int = Field(ge=0, le=MAX_MONEY_SAT)


class NewWalletPayment(Body):
    """A payment to one or several addresses."""

    recipients: list[Receiver] = Field(min_length=1, max_length=1000)
    feerate_sat_per_vb: Feerate = None
    max_fee_sat: FeeCap = None
    inputs: list[OutpointText] = Field([], max_length=1000, description="Coins that must be spent")
    only_inputs: bool = Field(False, description="Spend no other coins")
    subtract_fee: bool = Field(False, description="The receivers pay the fee")
    send_all: bool = Field(False, description="Send everything; amounts are 0")


class Replacement(Body):
    """At what fee a payment is replaced; null for the least that nodes take."""

    feerate_sat_per_vb: Feerate = None
    max_fee_sat: FeeCap = None


class LabelBody(Body):
    """A label (BIP329); without text, and spendable, it is taken away."""

    type: Literal["tx", "addr", "pubkey", "input", "output", "xpub"]
    ref: str = Field(min_length=1, max_length=255)
    label: str = Field("", max_length=255)
    origin: str = Field("", max_length=255)
    spendable: bool | None = None


class LabelList(Body):
    """Labels to set."""

    labels: list[LabelBody] = Field(min_length=1, max_length=1000)


class LabelFile(Body):
    """A BIP329 file."""

    jsonl: str = Field(max_length=2_000_000)


class Freeze(Body):
    """Coins to keep, or to spend again."""

    outpoints: list[OutpointText] = Field(min_length=1, max_length=1000)
    frozen: bool = True


class Rescan(Body):
    """From which block on."""

    from_height: int = Field(ge=0, le=500_000_000)


class KeyPathBody(Body):
    """A path below the wallet's key, such as ``m/48h/1h/0h/2h``."""

    path: str = Field(max_length=200, pattern=r"^m(/[0-9]{1,10}[h']?)*$")


class MessageToSign(Body):
    """A message, and the address of the wallet that signs it."""

    address: AddressText
    message: str = Field(max_length=10_000)


class MessageToVerify(Body):
    """A signed message (BIP322)."""

    address: AddressText
    message: str = Field(max_length=10_000)
    signature: str = Field(min_length=1, max_length=400_000)


PsbtText = Annotated[str, Field(min_length=1, max_length=2_000_000, description="PSBT in base64")]


class NewPsbt(NewWalletPayment):
    """A payment that others sign."""

    version: Literal[0, 2] = 0
    reserve: bool = False


class PsbtToSign(Body):
    """A PSBT for the wallet's key to sign."""

    psbt: PsbtText
    max_fee_sat: FeeCap = None


class PsbtBody(Body):
    """A PSBT."""

    psbt: PsbtText


class PsbtToSend(Body):
    """A PSBT with all its signatures."""

    psbt: PsbtText
    max_fee_sat: FeeCap = None


class PsbtToDecode(Body):
    """A PSBT, and the wallet that looks at it."""

    psbt: PsbtText
    wallet: str | None = Field(None, max_length=64)


class PsbtList(Body):
    """PSBTs of one transaction."""

    psbts: list[PsbtText] = Field(min_length=1, max_length=20)
