"""All wallets of the node: making, loading and changing them. Callers take turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from anya_actors.domain.bitcoin.descriptors import ScriptPlan
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.psbt import Psbt, PsbtError, PsbtStateError
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxOutput
from anya_actors.domain.machine import AnyaError
from anya_actors.ports.clock import Clock
from anya_actors.ports.randomness import Randomness
from anya_actors.services.bitcoin_node.chain import Chain
from anya_actors.services.bitcoin_node.journal import Journal, KeyGiven, WalletSeeded
from anya_actors.services.bitcoin_node.wallets.backup import encode_backup, read_backup, rebuilt, rehearsed
from anya_actors.services.bitcoin_node.wallets.history import Histories
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind, OwnScript
from anya_actors.services.bitcoin_node.wallets.old_keys import DEFAULT_NAME, OLD_RECORD, OldRecords
from anya_actors.services.bitcoin_node.wallets.payments import (
    Payment,
    PaymentRequest,
    make_payment,
)
from anya_actors.services.bitcoin_node.wallets.records import (
    WalletAddressGiven,
    WalletDescriptorAdded,
    WalletLoadedOrNot,
    WalletMade,
    WalletRecord,
    WalletSent,
)
from anya_actors.services.bitcoin_node.wallets.signing import LocalKeys, as_psbt, finalized
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet

SEED_BYTES: Final = 32


class NoKeysError(AnyaError):
    """The wallet has no descriptor that gives such addresses."""

    code = "wallet-without-keys"
    message = "the wallet {!r} gives no addresses of kind {}"
    remedy = "Import an active descriptor, or create another wallet."

    def __init__(self, wallet: str, kind: str) -> None:
        super().__init__(wallet, kind)


class Wallets:
    """Every wallet that was ever made, loaded or not."""

    def __init__(
        self, chain: Chain, pool: Mempool, journal: Journal, randomness: Randomness, clock: Clock
    ) -> None:
        self._chain = chain
        self._pool = pool
        self._journal = journal
        self._randomness = randomness
        self._clock = clock
        self._old = OldRecords()
        self.all: dict[str, Wallet] = {}
        self.histories = Histories(chain, pool)

    @property
    def loaded(self) -> dict[str, Wallet]:
        return {name: wallet for name, wallet in self.all.items() if wallet.is_loaded}

    # Records

    def note(self, record: WalletRecord | WalletSeeded | KeyGiven) -> None:
        """Take a record found in the journal, or just appended."""
        record = self._old.today(record)
        if isinstance(record, WalletMade):
            self.all[record.wallet] = Wallet(record, self._chain, self._pool)
        else:
            self.all[record.wallet].note(record)

    # Backups

    async def backup(self, wallet: Wallet) -> bytes:
        """The whole wallet with its private keys, sealed if it is encrypted; `restore` takes it."""
        return encode_backup(await self._records_of(wallet.name))

    async def _records_of(self, name: str) -> list[WalletRecord]:
        """A wallet's records as they stand in the journal."""
        old, found = OldRecords(), list[WalletRecord]()
        async for _, record in self._journal.all():
            if isinstance(record, OLD_RECORD | WalletRecord):
                today = old.today(record)
                found += [today] if today.wallet == name else []
        return found

    async def read_again(self, wallet: Wallet) -> None:
        """Let the wallet be what the journal says now that it has been rewritten."""
        records = await self._records_of(wallet.name)
        wallet.become(rebuilt(records, self._chain, self._pool))

    async def restore(self, name: str, data: bytes) -> Wallet:
        """A new, loaded wallet of this name from a backup; raises `BadWalletBackupError`."""
        records = read_backup(data, name)
        # Every later start must be able to read what is put into the journal.
        rehearsed(records, self._chain, self._pool)
        await self.keep(*records)
        return self.all[name]

    async def keep(self, *records: WalletRecord) -> None:
        """Append and take records; durable when it returns.

        Private keys for an encrypted wallet are sealed before: raises `WalletLockedError` while it is locked.
        """
        records = tuple(self._closed(record) for record in records)
        await self._journal.append(*records)
        for record in records:
            self.note(record)

    def _closed(self, record: WalletRecord) -> WalletRecord:
        wallet = self.all.get(record.wallet)
        if not isinstance(record, WalletDescriptorAdded) or wallet is None or wallet.encryption is None:
            return record
        return wallet.open_seal().closed_record(record)

    # Changing

    async def create(self, name: str, *, private_keys: bool, blank: bool) -> Wallet:
        """A new, loaded wallet."""
        seed = self._randomness.token_bytes(SEED_BYTES) if private_keys and not blank else b""
        now_s = self._clock.now_unix_ms() // 1000
        await self.keep(WalletMade(name, seed, private_keys, now_s))
        return self.all[name]

    async def default(self) -> Wallet:
        """The unnamed wallet, made when it is first asked for."""
        wallet = self.all.get(DEFAULT_NAME)
        return wallet or await self.create(DEFAULT_NAME, private_keys=True, blank=False)

    async def set_loaded(self, wallet: Wallet, *, is_loaded: bool) -> None:
        await self.keep(WalletLoadedOrNot(wallet.name, is_loaded))

    async def new_script(
        self, wallet: Wallet, kind: AddressKind, *, is_change: bool = False, label: str | None = None
    ) -> OwnScript:
        """A fresh script; in the journal before anybody sees its address. Raises `NoKeysError`."""
        script = wallet.next_script(kind, is_change=is_change)
        if script is None:
            raise NoKeysError(wallet.name, kind.value)
        await self.keep(WalletAddressGiven(wallet.name, kind.value, is_change, label))
        return script

    # Paying

    async def build(self, wallet: Wallet, request: PaymentRequest, change: AddressKind) -> Payment:
        """A payment without signatures, its change to a fresh script unless the request names one."""
        script = request.change_script
        own = None if script else wallet.next_script(change, is_change=True)
        if own is not None:
            script = own.script_pubkey
        elif not script and not request.sends_all:
            raise NoKeysError(wallet.name, change.value)
        known = [self.histories.output(wallet, tx_input.prevout) for tx_input in request.inputs]
        whole = replace(request, change_script=script)
        payment = make_payment(wallet, whole, known, self._chain.tip.height, self._randomness.token_bytes(16))
        if own is not None and payment.change_place is not None:
            await self.keep(WalletAddressGiven(wallet.name, change.value, is_change=True))
        return payment

    async def psbt_of(
        self,
        wallet: Wallet,
        transaction: Transaction,
        outputs: Mapping[Outpoint, TxOutput] | None = None,
        plans: Mapping[bytes, ScriptPlan] | None = None,
    ) -> Psbt:
        """A PSBT of a transaction, without signatures, with all that the wallet and the caller know."""
        known = dict(outputs or {})
        previous = await self.histories.previous(transaction)
        for tx_input in transaction.inputs:
            output = self.histories.output(wallet, tx_input.prevout)
            if output is not None:
                known.setdefault(tx_input.prevout, output)
        return as_psbt(transaction, previous, known, wallet.finder(plans or {}))

    async def sign(
        self,
        wallet: Wallet,
        transaction: Transaction,
        outputs: Mapping[Outpoint, TxOutput] | None = None,
        plans: Mapping[bytes, ScriptPlan] | None = None,
    ) -> Transaction:
        """The transaction with every input that the wallet can complete."""
        psbt = await self.psbt_of(wallet, transaction, outputs, plans)
        return finalized(sign_with_wallet(wallet, psbt), transaction)

    def signed_psbt(self, wallet: Wallet, psbt: Psbt) -> Psbt:
        """The PSBT with every signature that the wallet can give."""
        return sign_with_wallet(wallet, psbt)

    async def keep_sent(
        self,
        wallet: Wallet,
        transaction: Transaction,
        *,
        comment: str = "",
        to: str = "",
        replaces: Txid | None = None,
    ) -> None:
        """Remember that the wallet sent it."""
        now_ms = self._clock.now_unix_ms()
        raw = transaction.serialize()
        await self.keep(WalletSent(wallet.name, raw, now_ms, comment, to, bytes(replaces or b"")))

    def lock(self, wallet: Wallet, outpoint: Outpoint) -> None:
        """Lock an output until the node stops."""
        wallet.locked.setdefault(outpoint, False)


def sign_with_wallet(wallet: Wallet, psbt: Psbt) -> Psbt:
    """The PSBT with every signature that the wallet can give; raises `WalletLockedError`."""
    wallet.verify_unlocked()
    keys = LocalKeys()
    try:
        for own in _signing_scripts(wallet, psbt):
            for key, secret in own.source.secrets(own.index):
                keys.add(key.public_key, secret)
        return keys.sign_psbt(psbt)
    finally:
        keys.wipe()


def _signing_scripts(wallet: Wallet, psbt: Psbt) -> list[OwnScript]:
    """The own scripts that inputs spend, or whose keys inputs name."""
    named: set[bytes] = set()
    found: list[OwnScript] = []
    for index, held in enumerate(psbt.inputs):
        named |= held.derivations.keys() | {b"\x02" + key for key in held.tap_derivations}
        output = held.witness_utxo or _whole_output(psbt, index)
        own = wallet.scripts.get(output.script_pubkey) if output is not None else None
        if own is not None:
            found.append(own)
    if named:
        found += [
            own
            for own in wallet.scripts.values()
            if any(key.public_key in named or b"\x02" + key.x_only in named for key in own.plan.keys)
        ]
    return found


def _whole_output(psbt: Psbt, index: int) -> TxOutput | None:
    try:
        return psbt.previous_output(index)
    except (PsbtError, PsbtStateError):
        return None
