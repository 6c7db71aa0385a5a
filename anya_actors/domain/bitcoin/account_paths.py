"""Where wallets keep their accounts: BIP44, BIP49, BIP84 and BIP86."""

from __future__ import annotations

import enum

from anya_actors.domain.bitcoin.descriptors.checksum import with_checksum
from anya_actors.domain.bitcoin.descriptors.errors import DerivationError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.extended import ExtendedPublicKey
from anya_actors.domain.keys.key_origin import HARDENED, KeyOrigin, KeyPath, format_step


class AccountKind(enum.Enum):
    """The kinds of accounts, by the scripts that they pay to."""

    LEGACY = "pkh"
    NESTED_SEGWIT = "sh(wpkh)"
    SEGWIT = "wpkh"
    TAPROOT = "tr"

    @property
    def purpose(self) -> int:
        """The number of the BIP that defines it, the first step of its path."""
        return {"pkh": 44, "sh(wpkh)": 49, "wpkh": 84, "tr": 86}[self.value]


def account_path(kind: AccountKind, network: Network, account: int = 0) -> KeyPath:
    """``m / purpose' / coin' / account'``; the testnets share coin 1 (SLIP44)."""
    if not 0 <= account < HARDENED:
        raise DerivationError(f"the account {account} is not between 0 and {HARDENED - 1}")
    coin = 0 if network is Network.MAINNET else 1
    return (kind.purpose | HARDENED, coin | HARDENED, account | HARDENED)


def account_descriptor(
    kind: AccountKind, account_key: ExtendedPublicKey, origin: KeyOrigin, branches: str = "<0;1>"
) -> str:
    """The descriptor of an account's receive (0) and change (1) addresses, with its checksum."""
    steps = "/".join((origin.fingerprint.hex(), *(format_step(step) for step in origin.path)))
    key = f"[{steps}]{account_key}/{branches}/*"
    name, _, inner = kind.value.partition("(")
    return with_checksum(f"{name}({inner[:-1]}({key}))" if inner else f"{name}({key})")
