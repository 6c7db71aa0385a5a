"""The root of all keys: sealed by the passphrase, opened by it, sealed anew, given new keys."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import structlog

from anya_actors.domain.hsm.errors import AlteredKeyError, WrongPassphraseError
from anya_actors.domain.hsm.root import (
    KdfParameters,
    Root,
    Seal,
    WrappedKek,
    kek_context,
    seal_context,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.key_algorithms import KeyAlgorithms
from anya_actors.ports.passphrase import PassphraseSource, PassphraseSourceError
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import Cipher, PassphraseKdf, UnopenableError
from anya_actors.services.hardening import Hardening
from anya_actors.services.hsm.vault import Vault

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RootKeys:
    """Reads the passphrase at each need, and wipes it and the master key as soon as they were used.

    ``wanted`` is the least cost of Argon2id that a seal is made with.
    """

    source: PassphraseSource
    wanted: KdfParameters
    kdf: PassphraseKdf
    cipher: Cipher
    algorithms: KeyAlgorithms
    hardening: Hardening
    randomness: Randomness

    async def initialise(self) -> tuple[Seal, WrappedKek, Vault]:
        """Draw a master key and a first key-encryption key; return them sealed, and open."""
        with self._drawn() as master, self.hardening.locked(await self.source.read()) as passphrase:
            seal = await self._seal(passphrase, self.wanted, master)
            kek = self._drawn()
            wrapped = self._wrap(master, 1, kek)
        return seal, wrapped, Vault(self.cipher, self.algorithms, {1: kek})

    async def open(self, root: Root) -> tuple[Vault, Seal | None]:
        """Unseal ``root``; raise `PassphraseSourceError`, `WrongPassphraseError` or `AlteredKeyError`.

        The second of the pair is a stronger seal to store, when the present one is weaker than wanted.
        """
        passphrase, master = await self._master(root)
        with passphrase, master, ExitStack() as opened:
            keks = {each.version: opened.enter_context(self._unwrap(master, each)) for each in root.keks}
            seal, better = root.seal, None
            if seal is not None and seal.parameters.weaker_than(self.wanted):
                better = await self._seal(passphrase, self.wanted, master)
            opened.pop_all()  # from here the vault wipes them
        return Vault(self.cipher, self.algorithms, keks), better

    async def reseal(self, root: Root) -> Seal:
        """The master key sealed by the next passphrase; raises what `open` raises."""
        passphrase, master = await self._master(root)
        with passphrase, master, self.hardening.locked(await self.source.read_next()) as following:
            return await self._seal(following, self._parameters(root), master)

    async def rekey(self, root: Root, new_master: bool) -> tuple[Seal, tuple[WrappedKek, ...], Secret]:
        """A key-encryption key more, wrapped and open, under the present master key or a new one."""
        passphrase, master = await self._master(root)
        with passphrase, master, ExitStack() as opened:
            seal, keks, wrapping = root.seal, root.keks, master
            if new_master or seal is None:
                wrapping = opened.enter_context(self._drawn())
                seal = await self._seal(passphrase, self._parameters(root), wrapping)
                keks = tuple(self._rewrap(master, wrapping, each) for each in keks)
            kek = self._drawn()
            added = self._wrap(wrapping, keks[-1].version + 1, kek)
        return seal, (*keks, added), kek

    # -- inside -------------------------------------------------------------------------------

    async def _master(self, root: Root) -> tuple[Secret, Secret]:
        """The passphrase that opens the root, and the master key; the caller wipes both.

        After a crash in a change of the passphrase it may be the next one: then it is adopted.
        """
        try:
            return await self._opened_by(await self.source.read(), root)
        except (PassphraseSourceError, WrongPassphraseError) as refusal:
            try:
                found = await self._opened_by(await self.source.read_next(), root)
            except (PassphraseSourceError, WrongPassphraseError):
                raise refusal from None
        try:
            await self.source.adopt_next()
        except AnyaError as error:  # it opens all the same
            _log.warning("the next passphrase could not be put in its place", error=str(error))
        return found

    async def _opened_by(self, passphrase: Secret, root: Root) -> tuple[Secret, Secret]:
        with ExitStack() as opened:
            opened.enter_context(self.hardening.locked(passphrase))
            seal = root.seal
            if seal is None:
                raise WrongPassphraseError
            with self.hardening.locked(await self.kdf.derive(passphrase, seal.salt, seal.parameters)) as key:
                try:
                    master = self.hardening.locked(self.cipher.open(key, seal.sealed, seal_context()))
                except UnopenableError:
                    raise WrongPassphraseError from None
            opened.pop_all()
        return passphrase, master

    async def _seal(self, passphrase: Secret, parameters: KdfParameters, master: Secret) -> Seal:
        salt = self.randomness.token_bytes(16)
        with self.hardening.locked(await self.kdf.derive(passphrase, salt, parameters)) as key:
            return Seal(parameters, salt, self.cipher.seal(key, master.buffer, seal_context()))

    def _parameters(self, root: Root) -> KdfParameters:
        """Those of the present seal, unless dearer ones are wanted."""
        if root.seal is None or root.seal.parameters.weaker_than(self.wanted):
            return self.wanted
        return root.seal.parameters

    def _wrap(self, master: Secret, version: int, kek: Secret) -> WrappedKek:
        try:
            return WrappedKek(version, self.cipher.seal(master, kek.buffer, kek_context(version)))
        except BaseException:
            kek.wipe()
            raise

    def _unwrap(self, master: Secret, wrapped: WrappedKek) -> Secret:
        try:
            kek = self.cipher.open(master, wrapped.wrapped, kek_context(wrapped.version))
        except UnopenableError:
            raise AlteredKeyError("key-encryption", wrapped.version) from None
        return self.hardening.locked(kek)

    def _rewrap(self, master: Secret, new_master: Secret, wrapped: WrappedKek) -> WrappedKek:
        with self._unwrap(master, wrapped) as kek:
            return self._wrap(new_master, wrapped.version, kek)

    def _drawn(self) -> Secret:
        return self.hardening.locked(Secret.taken(self.randomness.token_bytes(32)))
