"""The keys of an encrypted wallet, closed and opened.

passphrase --Argon2id--> sealing key --opens--> master key --opens--> the private keys of each record

The master key never changes with the passphrase. What is sealed names the wallet's identity, and the
descriptors that its keys belong to, as associated data: nothing opens in another place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.descriptors import DerivationError, ParsedDescriptor, parse_descriptor
from anya_actors.domain.bitcoin.descriptors.key_ring_bytes import KeyRingError, read_key_ring, write_key_ring
from anya_actors.domain.bitcoin.descriptors.keys import KeyRing
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.sealing import Cipher, PassphraseKdf, UnopenableError
from anya_actors.services.bitcoin_node.wallets.keys import (
    NETWORK,
    OwnDescriptor,
    read_own,
    seed_descriptors,
)
from anya_actors.services.bitcoin_node.wallets.records import (
    SealedKeys,
    WalletDescriptorAdded,
    WalletEncrypted,
    WalletMade,
    WalletRecord,
)

IDENTITY_BYTES: Final = 16
SALT_BYTES: Final = 16
MASTER_BYTES: Final = 32
# RFC 9106's second recommendation: wallets are unlocked more often than the HSM.
_COST: Final = KdfParameters(memory_kib=64 * 1024, iterations=3, lanes=4)
_MOST_MEMORY_KIB: Final = 1 << 20
_MOST_ITERATIONS: Final = 64
_MOST_LANES: Final = 16


class HardenedRangeError(AnyaError):
    """A descriptor whose next address only its private key can tell; encrypted wallets keep that closed."""

    code = "hardened-range"
    message = "an encrypted wallet cannot have a descriptor with a range of hardened keys"
    remedy = "Import a descriptor whose range is not hardened, or keep it in a wallet without encryption."


class DamagedKeysError(AnyaError):
    """Keys of an encrypted wallet were altered where they are stored."""

    code = "damaged-wallet-keys"
    message = "the sealed keys of the wallet {!r} are damaged"
    remedy = "Restore the wallet from a backup."

    def __init__(self, wallet: str) -> None:
        super().__init__(wallet)


@dataclass(frozen=True, slots=True)
class WalletSeals:
    """What closes wallets. ``parameters`` are the cost of a passphrase's key from now on."""

    kdf: PassphraseKdf
    cipher: Cipher
    parameters: KdfParameters = _COST


def verify_sane(record: WalletEncrypted) -> None:
    """Raise ``ValueError`` for a record that this node never writes and whose opening could cost anything."""
    ours = record.parameters
    lengths = (len(record.identity), len(record.salt), len(record.sealed))
    is_sane = (
        lengths == (IDENTITY_BYTES, SALT_BYTES, 12 + MASTER_BYTES + 16)
        and 1 <= ours.lanes <= _MOST_LANES
        and 8 * ours.lanes <= ours.memory_kib <= _MOST_MEMORY_KIB
        and 1 <= ours.iterations <= _MOST_ITERATIONS
    )
    if not is_sane:
        raise ValueError("the wallet's encryption is not of this node's making")


def _context(*parts: object) -> bytes:
    return msgspec.msgpack.encode(("anya-node-wallet", 1, *parts))


def _master_context(identity: bytes, parameters: KdfParameters, salt: bytes) -> bytes:
    return _context("master", identity, parameters.memory_kib, parameters.iterations, parameters.lanes, salt)


def _keys_context(identity: bytes, texts: Sequence[str], public: Sequence[str]) -> bytes:
    return _context("keys", identity, tuple(texts), tuple(public))


async def close_master(
    seals: WalletSeals, wallet: str, identity: bytes, salt: bytes, passphrase: Secret, master: Secret
) -> WalletEncrypted:
    """The master key under a passphrase."""
    context = _master_context(identity, seals.parameters, salt)
    with await seals.kdf.derive(passphrase, salt, seals.parameters) as key:
        sealed = seals.cipher.seal(key, master.buffer, context)
    return WalletEncrypted(wallet, identity, seals.parameters, salt, sealed)


async def open_master(seals: WalletSeals, record: WalletEncrypted, passphrase: Secret) -> Secret:
    """The master key; the caller wipes it. Raises `UnopenableError`."""
    context = _master_context(record.identity, record.parameters, record.salt)
    with await seals.kdf.derive(passphrase, record.salt, record.parameters) as key:
        return seals.cipher.open(key, record.sealed, context)


@dataclass(frozen=True, slots=True)
class OpenSeal:
    """A wallet's master key while it is open. Its repr shows nothing of it."""

    cipher: Cipher
    identity: bytes
    master: Secret

    def close(self, found: Sequence[OwnDescriptor]) -> SealedKeys:
        """Descriptors with their private keys sealed; these are wiped here. Raises `HardenedRangeError`."""
        texts = tuple(str(own.descriptor) for own in found)
        public = tuple(str(own.public) for own in found)
        for text in public:
            verify_public(text)
        ring = KeyRing()
        for own in found:
            ring.extended |= own.parsed.private_keys.extended
            ring.single |= own.parsed.private_keys.single
        with write_key_ring(ring) as keys:
            sealed = self.cipher.seal(self.master, keys.buffer, _keys_context(self.identity, texts, public))
        for own in found:
            own.parsed.private_keys.wipe()
        return SealedKeys(texts, public, sealed)

    def open(self, keys: SealedKeys, ring: KeyRing) -> None:
        """Put the private keys into the ring; raises `UnopenableError` or `KeyRingError`."""
        context = _keys_context(self.identity, keys.texts, keys.public)
        with self.cipher.open(self.master, keys.sealed, context) as opened:
            read_key_ring(opened, ring)

    def closed_record(self, record: WalletRecord) -> WalletRecord:
        """The record without private keys in the clear, or itself. Raises `HardenedRangeError`."""
        if isinstance(record, WalletMade) and record.seed:
            sealed = self.close(seed_descriptors(record.seed, record.made_unix_s))
            return replace(record, seed=b"", sealed=sealed)
        if isinstance(record, WalletDescriptorAdded) and record.sealed is None:
            return replace(record, text="", sealed=self.close(read_own(record.text, NETWORK, since_unix_s=0)))
        return record

    def wipe(self) -> None:
        self.master.wipe()


def verify_public(text: str) -> None:
    """Raise `HardenedRangeError` unless a descriptor gives all its scripts without private keys."""
    descriptor = parse_descriptor(text, NETWORK).single
    try:
        descriptor.expand(0)
    except DerivationError as error:
        raise HardenedRangeError from error


def read_sealed(keys: SealedKeys, since_unix_s: int) -> tuple[list[OwnDescriptor], KeyRing]:
    """The descriptors, and the ring of their private keys, which is empty; raises ``ValueError`` and more."""
    ring = KeyRing()
    found: list[OwnDescriptor] = []
    for text, public in zip(keys.texts, keys.public, strict=True):
        parsed, known = (parse_descriptor(one, NETWORK) for one in (text, public))
        if parsed.has_private_keys or known.has_private_keys:
            raise ValueError("an encrypted wallet has private keys in the clear")
        own = ParsedDescriptor(parsed.descriptors, ring)
        found.append(OwnDescriptor(own, parsed.single, since_unix_s, known_public=known.single))
    return found, ring


def opened_all(wallet: str, seal: OpenSeal, closed: Sequence[tuple[SealedKeys, KeyRing]]) -> None:
    """Fill every ring, or none; raises `DamagedKeysError`."""
    try:
        for keys, ring in closed:
            seal.open(keys, ring)
    except (UnopenableError, KeyRingError) as error:
        for _, ring in closed:
            ring.wipe()
        raise DamagedKeysError(wallet) from error
