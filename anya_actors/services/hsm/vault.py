"""The unsealed HSM in memory: opens and closes wrapped keys."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from anya_actors.domain.hsm.errors import AlteredKeyError, WrongPassphraseError
from anya_actors.domain.hsm.root import (
    KdfParameters,
    Root,
    Seal,
    WrappedKek,
    kek_context,
    key_context,
    seal_context,
)
from anya_actors.domain.hsm.slots import PLATFORM_OWNER, KeySlot, KeyVersion
from anya_actors.domain.keys.secret import HANDLE_PREFIX, Secret
from anya_actors.ports.key_algorithms import KeyAlgorithms, SigningKey
from anya_actors.ports.process_guard import ProcessGuard
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import Cipher, PassphraseKdf, UnopenableError


class Vault:
    """Holds the key-encryption keys, locked in memory, until it is wiped."""

    def __init__(self, cipher: Cipher, algorithms: KeyAlgorithms, keks: dict[int, Secret]) -> None:
        self._cipher = cipher
        self._algorithms = algorithms
        self._keks = keks

    def __repr__(self) -> str:
        return f"Vault({len(self._keks)} key-encryption keys)"

    def wrap(self, slot: KeySlot, version: int, private_key: Secret, created_unix_ms: int) -> KeyVersion:
        """A new version of ``slot`` around a private key, under the newest key-encryption key."""
        kek_version = max(self._keks)
        algorithms = self._algorithms.own if slot.owner == PLATFORM_OWNER else self._algorithms
        loaded = algorithms.load_any(slot.key_type, private_key)
        public_key = loaded.public_key
        loaded.wipe()
        context = _context_of(slot, version, public_key)
        wrapped = self._cipher.seal(self._keks[kek_version], private_key.buffer, context)
        return KeyVersion(version, public_key, wrapped, kek_version, created_unix_ms)

    def unwrap(self, slot: KeySlot, version: KeyVersion) -> Secret:
        """The private key of one version; raise `AlteredKeyError` if anything of it was changed."""
        context = _context_of(slot, version.version, version.public_key)
        kek = self._keks.get(version.kek_version)
        if kek is None:
            raise AlteredKeyError(slot.name, version.version)
        try:
            return self._cipher.open(kek, version.wrapped, context)
        except UnopenableError:
            raise AlteredKeyError(slot.name, version.version) from None

    def rewrap(self, slot: KeySlot, changed: KeySlot, version: KeyVersion) -> KeyVersion:
        """The same version under the policy of ``changed`` and the newest key-encryption key."""
        with self.unwrap(slot, version) as private_key:
            kek_version = max(self._keks)
            context = _context_of(changed, version.version, version.public_key)
            wrapped = self._cipher.seal(self._keks[kek_version], private_key.buffer, context)
        return msgspec.structs.replace(version, wrapped=wrapped, kek_version=kek_version)

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Other bytes than a key under the newest key-encryption key, whose version stands in front."""
        kek_version = max(self._keks)
        return kek_version.to_bytes(4, "big") + self._cipher.seal(self._keks[kek_version], data, context)

    def open(self, blob: bytes, context: bytes) -> Secret:
        """What `seal` made; raise `UnopenableError`."""
        kek = self._keks.get(int.from_bytes(blob[:4], "big"))
        if kek is None:
            raise UnopenableError
        return self._cipher.open(kek, blob[4:], context)

    def signing_key(self, slot: KeySlot) -> SigningKey:
        """The newest version of one of the HSM's own keys, ready to sign."""
        with self.unwrap(slot, slot.versions[-1]) as private_key:
            return self._algorithms.own.load(slot.key_type, private_key)

    def check_kept(self, slot: KeySlot) -> None:
        """Return if the key is kept where this HSM keeps keys; raise `NotSupportedError`."""
        with self.unwrap(slot, slot.versions[-1]) as private_key:
            self._algorithms.check_kept(private_key)

    def discard(self, slot: KeySlot, version: KeyVersion) -> None:
        """Destroy a version that was made and never came to be stored."""
        with self.unwrap(slot, version) as private_key:
            self._algorithms.discard(private_key)

    def handles(self, slot: KeySlot, before: int) -> tuple[bytes, ...]:
        """The handles of the versions before a number that are kept in a token.

        Raises `NotSupportedError` if this HSM does not reach the token.
        """
        found = []
        for each in slot.versions:
            if each.version < before and each.wrapped:
                with self.unwrap(slot, each) as private_key:
                    if private_key.buffer.startswith(HANDLE_PREFIX):
                        self._algorithms.check_kept(private_key)
                        found.append(private_key.reveal())
        return tuple(found)

    def wipe(self) -> None:
        """Seal again: nothing can be unwrapped any more."""
        for kek in self._keks.values():
            kek.wipe()
        self._keks.clear()


def _context_of(slot: KeySlot, version: int, public_key: bytes) -> bytes:
    return key_context(
        slot.name, version, slot.key_type, slot.owner, slot.operations, public_key, slot.policy
    )


@dataclass(frozen=True, slots=True)
class Sealer:
    """Makes and opens the sealed root."""

    kdf: PassphraseKdf
    cipher: Cipher
    algorithms: KeyAlgorithms
    guard: ProcessGuard
    randomness: Randomness

    async def initialise(
        self, passphrase: Secret, parameters: KdfParameters
    ) -> tuple[Seal, WrappedKek, Vault]:
        """Draw a master key and a first key-encryption key; return them sealed, and open."""
        with Secret(self.randomness.token_bytes(32)) as master:
            seal = await self._seal(passphrase, parameters, master)
            kek = Secret(self.randomness.token_bytes(32))
            self.guard.lock(kek.buffer)
            wrapped = WrappedKek(1, self.cipher.seal(master, kek.buffer, kek_context(1)))
        return seal, wrapped, Vault(self.cipher, self.algorithms, {1: kek})

    async def open(self, root: Root, passphrase: Secret, wanted: KdfParameters) -> tuple[Vault, Seal | None]:
        """Unseal ``root``; raise `WrongPassphraseError` or `AlteredKeyError`.

        The second of the pair is a stronger seal to store, when the present one is weaker than wanted.
        """
        seal = root.seal
        if seal is None:
            raise WrongPassphraseError
        with await self.kdf.derive(passphrase, seal.salt, seal.parameters) as key:
            try:
                master = self.cipher.open(key, seal.sealed, seal_context())
            except UnopenableError:
                raise WrongPassphraseError from None
        with master:
            keks = {each.version: self._open_kek(master, each) for each in root.keks}
            better = None
            if seal.parameters.weaker_than(wanted):
                better = await self._seal(passphrase, wanted, master)
        return Vault(self.cipher, self.algorithms, keks), better

    async def _seal(self, passphrase: Secret, parameters: KdfParameters, master: Secret) -> Seal:
        salt = self.randomness.token_bytes(16)
        with await self.kdf.derive(passphrase, salt, parameters) as key:
            return Seal(parameters, salt, self.cipher.seal(key, master.buffer, seal_context()))

    def _open_kek(self, master: Secret, wrapped: WrappedKek) -> Secret:
        try:
            kek = self.cipher.open(master, wrapped.wrapped, kek_context(wrapped.version))
        except UnopenableError:
            raise AlteredKeyError("key-encryption", wrapped.version) from None
        self.guard.lock(kek.buffer)
        return kek
