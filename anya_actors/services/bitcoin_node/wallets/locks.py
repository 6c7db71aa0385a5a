"""Encrypting the node's wallets, locking and unlocking them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, NotSupportedError
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import UnopenableError
from anya_actors.services.bitcoin_node.journal import AnyRecord, Journal
from anya_actors.services.bitcoin_node.node_clock import NodeClock
from anya_actors.services.bitcoin_node.scheduler import Scheduler
from anya_actors.services.bitcoin_node.wallets.collection import SEED_BYTES, Wallets
from anya_actors.services.bitcoin_node.wallets.keys import seed_descriptors
from anya_actors.services.bitcoin_node.wallets.old_keys import OLD_RECORD, OldRecords
from anya_actors.services.bitcoin_node.wallets.records import (
    SealedKeys,
    WalletEncrypted,
    WalletMade,
    WalletRecord,
    WalletSeedChanged,
)
from anya_actors.services.bitcoin_node.wallets.sealing import (
    IDENTITY_BYTES,
    MASTER_BYTES,
    SALT_BYTES,
    OpenSeal,
    WalletSeals,
    close_master,
    open_master,
)
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

MOST_UNLOCKED_S: Final = 100_000_000
"""The longest time that a wallet stays unlocked, as in Core."""

InTurn = Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]


class WrongWalletPassphraseError(AnyaError):
    """The passphrase does not open the wallet."""

    code = "wrong-wallet-passphrase"
    message = "the passphrase does not open the wallet {!r}"
    remedy = "Give the passphrase that the wallet was encrypted with, or that it was changed to."

    def __init__(self, wallet: str) -> None:
        super().__init__(wallet)


class WrongEncryptionStateError(AnyaError):
    """The wallet is encrypted where it must not be, or is not where it must be."""

    code = "wrong-encryption-state"
    message = "the wallet {!r} is encrypted: {}"
    remedy = "Encrypt a wallet once; lock and unlock only encrypted ones."

    def __init__(self, wallet: str, is_encrypted: bool) -> None:
        super().__init__(wallet, is_encrypted)
        self.is_encrypted = is_encrypted


class WalletLocks:
    """The use cases of encrypted wallets.

    What opens a wallet is in memory only between `unlock` and the end of its time, `lock`, or unloading it.
    Passphrases belong to the caller, who wipes them. One is derived at a time: each takes much memory.
    """

    def __init__(
        self,
        wallets: Wallets,
        journal: Journal,
        scheduler: Scheduler,
        seals: WalletSeals | None,
        randomness: Randomness,
        clock: NodeClock,
        in_turn: InTurn,
    ) -> None:
        self._wallets = wallets
        self._journal = journal
        self._scheduler = scheduler
        self._seals = seals
        self._randomness = randomness
        self._clock = clock
        self._in_turn = in_turn
        self._derivation = asyncio.Lock()

    # Encrypting

    async def create(
        self, name: str, passphrase: Secret, *, blank: bool, verify_free: Callable[[], None]
    ) -> None:
        """A new, loaded, encrypted and locked wallet; its keys are nowhere in the clear.

        ``verify_free`` raises if there is a wallet of this name.
        """
        verify_free()
        encrypted, seal = await self._drawn(name, passphrase)

        async def create() -> None:
            verify_free()
            now_s = self._clock.now_s()
            sealed = None if blank else self._sealed_seed(seal, now_s)
            await self._wallets.keep(WalletMade(name, b"", True, now_s, sealed), encrypted)

        try:
            await self._in_turn(create)
        finally:
            seal.wipe()

    async def encrypt(self, wallet: Wallet, passphrase: Secret) -> None:
        """Seal the wallet's keys, and give it a new seed if it had one; it is locked when this returns.

        The journal is rewritten: the keys stand in no file of the node any more, in the clear. Raises
        `WrongEncryptionStateError` or `HardenedRangeError`, and then nothing has changed.
        """
        self._verify_encrypted(wallet, wanted=False)
        encrypted, seal = await self._drawn(wallet.name, passphrase)

        async def encrypt() -> None:
            self._verify_encrypted(wallet, wanted=False)
            more: list[AnyRecord] = [encrypted]
            if wallet.has_seed:
                now_s = self._clock.now_s()
                more.append(WalletSeedChanged(wallet.name, self._sealed_seed(seal, now_s), now_s))
            await self._journal.rewrite(_closing(wallet.name, seal), *more)
            await self._wallets.read_again(wallet)

        try:
            await self._in_turn(encrypt)
        finally:
            seal.wipe()

    async def _drawn(self, name: str, passphrase: Secret) -> tuple[WalletEncrypted, OpenSeal]:
        """A fresh master key, closed under the passphrase, and open; the caller wipes the latter."""
        seals = self._all_seals()
        identity = self._randomness.token_bytes(IDENTITY_BYTES)
        seal = OpenSeal(seals.cipher, identity, Secret.taken(self._randomness.token_bytes(MASTER_BYTES)))
        try:
            return await self._closed(name, identity, passphrase, seal.master), seal
        except BaseException:
            seal.wipe()
            raise

    async def _closed(
        self, name: str, identity: bytes, passphrase: Secret, master: Secret
    ) -> WalletEncrypted:
        salt = self._randomness.token_bytes(SALT_BYTES)
        async with self._derivation:
            return await close_master(self._all_seals(), name, identity, salt, passphrase, master)

    def _sealed_seed(self, seal: OpenSeal, now_s: int) -> SealedKeys:
        with Secret.taken(self._randomness.token_bytes(SEED_BYTES)) as seed, seed.revealed() as copy:
            return seal.close(seed_descriptors(copy, now_s))

    def _all_seals(self) -> WalletSeals:
        if self._seals is None:
            raise NotSupportedError("encrypted wallets of this node", "it was started without a cipher")
        return self._seals

    def _verify_encrypted(self, wallet: Wallet, *, wanted: bool) -> None:
        if (wallet.encryption is not None) is not wanted:
            raise WrongEncryptionStateError(wallet.name, not wanted)

    # Locking

    async def unlock(self, wallet: Wallet, passphrase: Secret, timeout_s: int) -> None:
        """Have the wallet's keys for so long, at most `MOST_UNLOCKED_S`; a later call sets the time anew.

        Raises `WrongEncryptionStateError`, `WrongWalletPassphraseError` or `DamagedKeysError`.
        """
        timeout_s = min(timeout_s, MOST_UNLOCKED_S)
        encrypted, master = await self._opened(wallet, passphrase)
        seal = OpenSeal(self._all_seals().cipher, encrypted.identity, master)

        async def unlock() -> None:
            self._verify_same(wallet, encrypted)
            wallet.open(seal, self._clock.now_s() + timeout_s)
            self._scheduler.call_later(f"lock wallet {wallet.name}", timeout_s, wallet.close)

        try:
            await self._in_turn(unlock)
        except BaseException:
            seal.wipe()
            raise

    def lock(self, wallet: Wallet) -> None:
        """Wipe the wallet's keys from memory; raises `WrongEncryptionStateError`."""
        self._verify_encrypted(wallet, wanted=True)
        self._scheduler.cancel(f"lock wallet {wallet.name}")
        wallet.close()

    async def change_passphrase(self, wallet: Wallet, old: Secret, new: Secret) -> None:
        """Let another passphrase open the wallet; the old one opens nothing that the node still has.

        Raises `WrongEncryptionStateError` or `WrongWalletPassphraseError`.
        """
        encrypted, master = await self._opened(wallet, old)
        with master:
            fresh = await self._closed(wallet.name, encrypted.identity, new, master)

        async def change() -> None:
            self._verify_same(wallet, encrypted)
            await self._journal.rewrite(lambda record: fresh if record == encrypted else record)
            wallet.note(fresh)

        await self._in_turn(change)

    async def _opened(self, wallet: Wallet, passphrase: Secret) -> tuple[WalletEncrypted, Secret]:
        self._verify_encrypted(wallet, wanted=True)
        encrypted = wallet.encryption
        assert encrypted is not None, "it has just been verified"  # noqa: S101
        async with self._derivation:
            try:
                return encrypted, await open_master(self._all_seals(), encrypted, passphrase)
            except UnopenableError:
                raise WrongWalletPassphraseError(wallet.name) from None

    def _verify_same(self, wallet: Wallet, encrypted: WalletEncrypted) -> None:
        # Another call may have changed the passphrase, or unloaded the wallet, since it was derived.
        if wallet.encryption is not encrypted or not wallet.is_loaded:
            raise WrongWalletPassphraseError(wallet.name)

    def close(self) -> None:
        """Wipe the keys of every encrypted wallet."""
        for wallet in self._wallets.all.values():
            wallet.close()


def _closing(name: str, seal: OpenSeal) -> Callable[[AnyRecord], AnyRecord]:
    """What a rewriting makes of the records, to be called in their order."""
    old = OldRecords()

    def close(record: AnyRecord) -> AnyRecord:
        if not isinstance(record, OLD_RECORD | WalletRecord):
            return record
        today = old.today(record)
        return seal.closed_record(today) if today.wallet == name else record

    return close
