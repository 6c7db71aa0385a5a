"""The unsealed HSM in memory: opens and closes wrapped keys."""

from __future__ import annotations

import msgspec

from anya_actors.domain.hsm.audit import TagKey
from anya_actors.domain.hsm.errors import AlteredKeyError, SealedError
from anya_actors.domain.hsm.root import key_context
from anya_actors.domain.hsm.slots import PLATFORM_OWNER, KeySlot, KeyVersion
from anya_actors.domain.keys.secret import HANDLE_PREFIX, Secret
from anya_actors.ports.key_algorithms import KeyAlgorithms, SigningKey
from anya_actors.ports.sealing import Cipher, UnopenableError
from anya_actors.services.hsm.audit import AuditKeys


class Vault:
    """Holds the key-encryption keys, locked in memory, until it is wiped."""

    def __init__(self, cipher: Cipher, algorithms: KeyAlgorithms, keks: dict[int, Secret]) -> None:
        self._cipher = cipher
        self._algorithms = algorithms
        self._keks = keks

    def __repr__(self) -> str:
        return f"Vault({len(self._keks)} key-encryption keys)"

    @property
    def newest_kek(self) -> int:
        """The version of the key-encryption key that wraps; raise `SealedError` once it is wiped."""
        if not self._keks:
            raise SealedError("its keys were wiped meanwhile")
        return max(self._keks)

    @property
    def has_older(self) -> bool:
        """Whether there are key-encryption keys that wrap no more."""
        return len(self._keks) > 1

    def add(self, version: int, kek: Secret) -> None:
        """Wrap by this key-encryption key from now on; raise `SealedError` after a wipe."""
        _ = self.newest_kek
        self._keks[version] = kek

    def take_over(self, other: Vault) -> None:
        """Take the key-encryption keys that only ``other`` has, and wipe it."""
        if self._keks:
            for version in other._keks.keys() - self._keks.keys():
                self._keks[version] = other._keks.pop(version)
        other.wipe()

    def drop_before(self, kek_version: int) -> None:
        """Wipe the key-encryption keys that are older."""
        for version in [each for each in self._keks if each < kek_version]:
            self._keks.pop(version).wipe()

    def wrap(self, slot: KeySlot, version: int, private_key: Secret, created_unix_ms: int) -> KeyVersion:
        """A new version of ``slot`` around a private key, under the newest key-encryption key."""
        kek_version = self.newest_kek
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
            _ = self.newest_kek
            raise AlteredKeyError(slot.name, version.version)
        try:
            return self._cipher.open(kek, version.wrapped, context)
        except UnopenableError:
            raise AlteredKeyError(slot.name, version.version) from None

    def beside(self, key: Secret) -> Vault:
        """A vault of this key alone, for what is to outlive the key-encryption keys of today."""
        return Vault(self._cipher, self._algorithms, {1: key})

    def rewrap(
        self, slot: KeySlot, changed: KeySlot, version: KeyVersion, of: Vault | None = None
    ) -> KeyVersion:
        """A version (``of`` another vault) under the policy of ``changed`` and our newest key."""
        with (of or self).unwrap(slot, version) as private_key:
            kek_version = self.newest_kek
            context = _context_of(changed, version.version, version.public_key)
            wrapped = self._cipher.seal(self._keks[kek_version], private_key.buffer, context)
        return msgspec.structs.replace(version, wrapped=wrapped, kek_version=kek_version)

    def seal(self, data: bytes, context: bytes) -> bytes:
        """Other bytes than a key under the newest key-encryption key, whose version stands in front."""
        kek_version = self.newest_kek
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

    def audit_keys(self, slot: KeySlot) -> AuditKeys:
        """The key that signs checkpoints, and the one derived from it that tags entries."""
        with self.unwrap(slot, slot.versions[-1]) as private_key:
            return AuditKeys(self._algorithms.own.load(slot.key_type, private_key), TagKey(private_key))

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
