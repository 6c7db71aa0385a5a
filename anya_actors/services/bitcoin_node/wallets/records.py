"""What the journal keeps of the node's wallets."""

from __future__ import annotations

import msgspec

from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.services.bitcoin_node.records import Record


class SealedKeys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Descriptors of an encrypted wallet, without their private keys, and these sealed.

    ``texts`` have the keys as they were given; ``public`` are the same descriptors in the same order, with
    hardened steps in the keys' origins. ``sealed``: nonce 12, ciphertext, tag 16.
    """

    texts: tuple[str, ...]
    public: tuple[str, ...]
    sealed: bytes


class WalletMade(Record, frozen=True):
    """A wallet was created and loaded. ``seed`` is empty where it has no keys of its own.

    The seed is in the clear; of an encrypted wallet there are ``sealed`` keys in its place.
    """

    wallet: str
    seed: bytes
    has_private_keys: bool
    made_unix_s: int
    sealed: SealedKeys | None = None

    def __repr__(self) -> str:
        return f"WalletMade({self.wallet!r}, seed=<hidden>)"


class WalletLoadedOrNot(Record, frozen=True):
    """The wallet was loaded or unloaded."""

    wallet: str
    is_loaded: bool


class WalletAddressGiven(Record, frozen=True):
    """The next address of the active descriptor of this kind was given out."""

    wallet: str
    kind: str
    is_change: bool
    label: str | None = None


class WalletDescriptorAdded(Record, frozen=True):
    """A descriptor was imported, its private keys in the text, or ``sealed`` with an empty text."""

    wallet: str
    text: str
    first: int
    last: int
    next_index: int
    since_unix_s: int
    kind: str | None = None
    is_internal: bool = False
    label: str | None = None
    sealed: SealedKeys | None = None

    def __repr__(self) -> str:
        return f"WalletDescriptorAdded({self.wallet!r}, text=<hidden>)"


class WalletEncrypted(Record, frozen=True):
    """The wallet's keys are sealed under a key of its own, and that under the passphrase (Argon2id).

    ``identity`` is drawn once; what is sealed opens in this wallet alone, whatever its name.
    """

    wallet: str
    identity: bytes
    parameters: KdfParameters
    salt: bytes
    sealed: bytes


class WalletSeedChanged(Record, frozen=True):
    """New addresses come from another seed's descriptors."""

    wallet: str
    sealed: SealedKeys
    since_unix_s: int


class WalletLabelled(Record, frozen=True):
    """A script got this label."""

    wallet: str
    script_pubkey: bytes
    label: str


class WalletSent(Record, frozen=True):
    """The wallet sent a transaction; ``replaces`` names the one whose place it took."""

    wallet: str
    raw: bytes
    sent_unix_ms: int
    comment: str = ""
    to: str = ""
    replaces: bytes = b""


class WalletAbandoned(Record, frozen=True):
    """The coins that an unconfirmed transaction spent may be spent again."""

    wallet: str
    txid: bytes


class WalletOutputLocked(Record, frozen=True):
    """An output was locked durably against spending, or unlocked."""

    wallet: str
    txid: bytes
    index: int
    is_locked: bool


WalletRecord = (
    WalletMade
    | WalletLoadedOrNot
    | WalletAddressGiven
    | WalletDescriptorAdded
    | WalletEncrypted
    | WalletSeedChanged
    | WalletLabelled
    | WalletSent
    | WalletAbandoned
    | WalletOutputLocked
)
