"""One of the node's wallets: what it owns and what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.descriptors import ScriptPlan
from anya_actors.domain.bitcoin.descriptors.keys import KeyRing
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.mempool import Mempool
from anya_actors.domain.bitcoin.transaction import (
    Outpoint,
    Transaction,
    TxOutput,
    parse_transaction,
)
from anya_actors.domain.machine import AnyaError
from anya_actors.services.bitcoin_node.chain import Chain
from anya_actors.services.bitcoin_node.wallets.keys import (
    LOOKAHEAD,
    NETWORK,
    AddressKind,
    OwnDescriptor,
    OwnScript,
    as_seeds,
    read_own,
    seed_descriptors,
)
from anya_actors.services.bitcoin_node.wallets.records import (
    SealedKeys,
    WalletAbandoned,
    WalletAddressGiven,
    WalletDescriptorAdded,
    WalletEncrypted,
    WalletLabelled,
    WalletLoadedOrNot,
    WalletMade,
    WalletOutputLocked,
    WalletRecord,
    WalletSeedChanged,
    WalletSent,
)
from anya_actors.services.bitcoin_node.wallets.sealing import OpenSeal, opened_all, read_sealed


class WalletLockedError(AnyaError):
    """What was asked for needs private keys, and they are closed."""

    code = "wallet-locked"
    message = "the wallet {!r} is locked"
    remedy = "Unlock it with its passphrase first."

    def __init__(self, wallet: str) -> None:
        super().__init__(wallet)


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction that the wallet sent."""

    transaction: Transaction
    sent_unix_ms: int
    comment: str
    to: str
    replaces: Txid | None


@dataclass(frozen=True, slots=True)
class Fund:
    """One output of the wallet. ``confirmations`` is 0 while it waits."""

    outpoint: Outpoint
    coin: Coin
    own: OwnScript
    confirmations: int
    is_mature: bool
    is_trusted: bool
    """Whether it is confirmed, or the wallet's own change."""

    @property
    def amount_sat(self) -> int:
        return self.coin.amount_sat


class Wallet:
    """State built from the journal's records; only `note` changes it."""

    def __init__(self, made: WalletMade, chain: Chain, pool: Mempool) -> None:
        self._chain = chain
        self._pool = pool
        self.name = made.wallet
        self.has_private_keys = made.has_private_keys
        self.has_seed = bool(made.seed) or made.sealed is not None
        """Whether it was made with keys of its own, not blank."""
        self.made_unix_s = made.made_unix_s
        self.is_loaded = True
        self.descriptors: list[OwnDescriptor] = []
        self.scripts: dict[bytes, OwnScript] = {}
        self.labels: dict[bytes, str] = {}
        self.sent: dict[Txid, Sent] = {}
        self.abandoned: set[Txid] = set()
        self.locked: dict[Outpoint, bool] = {}
        """Outputs not to be spent, and whether that outlasts a restart."""
        self.encryption: WalletEncrypted | None = None
        self.seal: OpenSeal | None = None
        self.unlocked_until_s = 0
        """When the wallet locks itself; 0 while it is locked, or has no encryption."""
        self._closed: list[tuple[SealedKeys, KeyRing]] = []
        if made.sealed is not None:
            self._take_seeds(self._read_sealed(made.sealed, made.made_unix_s))
        elif made.seed:
            self._take_seeds(seed_descriptors(made.seed, made.made_unix_s))

    def __repr__(self) -> str:
        return f"Wallet({self.name!r})"

    # Records

    def note(self, record: WalletRecord) -> None:
        """Take a record, new or from the journal."""
        match record:
            case WalletAddressGiven():
                self._note_address(record)
            case WalletDescriptorAdded():
                self._note_descriptor(record)
            case WalletLabelled():
                self.labels[record.script_pubkey] = record.label
            case WalletSent():
                transaction = parse_transaction(record.raw)
                replaces = Txid(record.replaces) if record.replaces else None
                sent = Sent(transaction, record.sent_unix_ms, record.comment, record.to, replaces)
                self.sent[transaction.txid] = sent
            case WalletAbandoned():
                self.abandoned.add(Txid(record.txid))
            case WalletOutputLocked():
                outpoint = Outpoint(Txid(record.txid), record.index)
                self.locked.pop(outpoint, None)
                if record.is_locked:
                    self.locked[outpoint] = True
            case WalletLoadedOrNot():
                self.is_loaded = record.is_loaded
                if not self.is_loaded:
                    self.close()
            case WalletEncrypted():
                self.encryption = record
            case WalletSeedChanged():
                for own in self.descriptors:
                    own.kind = None
                self._take_seeds(self._read_sealed(record.sealed, record.since_unix_s))

    def _take_seeds(self, found: list[OwnDescriptor]) -> None:
        for own in as_seeds(found):
            self._take(own, LOOKAHEAD - 1)

    def _read_sealed(self, keys: SealedKeys, since_unix_s: int) -> list[OwnDescriptor]:
        found, ring = read_sealed(keys, since_unix_s)
        self._closed.append((keys, ring))
        if self.seal is not None:
            opened_all(self.name, self.seal, self._closed[-1:])
        return found

    def _take(self, own: OwnDescriptor, last: int) -> None:
        self.descriptors.append(own)
        self._watch(own, last)

    def _watch(self, own: OwnDescriptor, last: int) -> None:
        for script in own.watch_to(last):
            self.scripts.setdefault(script.script_pubkey, script)

    def _note_address(self, record: WalletAddressGiven) -> None:
        own = self.active(AddressKind(record.kind), is_change=record.is_change)
        if own is None:
            return
        script = own.scripts[own.next_index][0]
        own.next_index += 1
        self._watch(own, own.next_index + LOOKAHEAD - 1)
        if record.label is not None:
            self.labels[script.script_pubkey] = record.label

    def _note_descriptor(self, record: WalletDescriptorAdded) -> None:
        if record.sealed is not None:
            found = self._read_sealed(record.sealed, record.since_unix_s)
        else:
            found = read_own(record.text, NETWORK, since_unix_s=record.since_unix_s)
        for place, own in enumerate(found):
            own.first, own.last = record.first, record.first - 1 if own.descriptor.is_ranged else -1
            own.next_index = record.next_index
            own.is_internal = record.is_internal or place == 1
            kind = AddressKind(record.kind) if record.kind else None
            if kind is not None:
                old = self.active(kind, is_change=own.is_internal)
                if old is not None:
                    old.kind = None
            own.kind = kind
            self._forget_same(own)
            self._take(own, record.last)
            if record.label is not None:
                for script in (script for scripts in own.scripts.values() for script in scripts):
                    self.labels[script.script_pubkey] = record.label

    def _forget_same(self, own: OwnDescriptor) -> None:
        """A descriptor that is imported again takes the place of its earlier self."""
        for known in [known for known in self.descriptors if str(known.descriptor) == str(own.descriptor)]:
            self.descriptors.remove(known)
            own.first = min(own.first, known.first)
            for scripts in known.scripts.values():
                for script in scripts:
                    self.scripts.pop(script.script_pubkey, None)

    # Locking

    @property
    def is_locked(self) -> bool:
        """Whether its private keys are closed."""
        return self.encryption is not None and self.seal is None

    def open_seal(self) -> OpenSeal:
        """What closes and opens its keys; raises `WalletLockedError`."""
        if self.seal is None:
            raise WalletLockedError(self.name)
        return self.seal

    def verify_unlocked(self) -> None:
        """Raise `WalletLockedError` while its private keys are closed."""
        if self.is_locked:
            raise WalletLockedError(self.name)

    def open(self, seal: OpenSeal, until_s: int) -> None:
        """Have the private keys from now on, and the seal, which `close` wipes. Raises `DamagedKeysError`."""
        if self.seal is not None:
            seal.wipe()  # it is the same one
        else:
            try:
                opened_all(self.name, seal, self._closed)
            except BaseException:
                seal.wipe()
                raise
            self.seal = seal
        self.unlocked_until_s = until_s

    def close(self) -> None:
        """Wipe the private keys of an encrypted wallet from memory."""
        for _, ring in self._closed:
            ring.wipe()
        if self.seal is not None:
            self.seal.wipe()
        self.seal, self.unlocked_until_s = None, 0

    def become(self, other: Wallet) -> None:
        """Be as another is that was read from the journal; private keys in the clear are wiped."""
        for own in self.descriptors:
            own.parsed.private_keys.wipe()
        kept = {outpoint: lasts for outpoint, lasts in self.locked.items() if not lasts}
        vars(self).update(vars(other))
        self.locked |= kept

    # Reading

    def active(self, kind: AddressKind, *, is_change: bool) -> OwnDescriptor | None:
        """The descriptor that gives new addresses of this kind."""
        fitting = (own for own in self.descriptors if own.kind is kind and own.is_internal is is_change)
        return next(fitting, None)

    def next_script(self, kind: AddressKind, *, is_change: bool) -> OwnScript | None:
        """The script that the next `WalletAddressGiven` of this kind gives out."""
        own = self.active(kind, is_change=is_change)
        return own.scripts[own.next_index][0] if own is not None else None

    def finder(self, others: Mapping[bytes, ScriptPlan]) -> Callable[[bytes], ScriptPlan | None]:
        """From a script to what is behind it, as the wallet or the caller knows it."""

        def find(script: bytes) -> ScriptPlan | None:
            own = self.scripts.get(script)
            return own.plan if own is not None else others.get(script)

        return find

    def output(self, outpoint: Outpoint) -> TxOutput | None:
        """An output of a waiting, unspent or sent transaction."""
        coin = self._chain.index.coin(outpoint)
        if coin is not None:
            return coin.output
        waiting = self._pool.output(outpoint)
        if waiting is not None:
            return waiting
        sent = self.sent.get(outpoint.txid)
        if sent is None or outpoint.index >= len(sent.transaction.outputs):
            return None
        return sent.transaction.outputs[outpoint.index]

    def is_own(self, transaction: Transaction) -> bool:
        """Whether every input spends an output of this wallet."""
        outputs = [self.output(tx_input.prevout) for tx_input in transaction.inputs]
        return all(output is not None and output.script_pubkey in self.scripts for output in outputs)

    def funds(self) -> list[Fund]:
        """Unspent outputs, waiting ones included, that no waiting transaction spends."""
        tip = self._chain.tip.height
        found = [*self._confirmed(tip), *self._waiting(tip + 1)]
        return [fund for fund in found if fund.outpoint not in self._pool.spends]

    def _confirmed(self, tip: int) -> Iterator[Fund]:
        for own in self.scripts.values():
            for outpoint, coin in self._chain.index.unspent(own.name):
                # Core's wallet waits one block longer than the rules ask.
                yield Fund(outpoint, coin, own, tip - coin.height + 1, coin.is_mature_at(tip), True)

    def _waiting(self, height: int) -> Iterator[Fund]:
        for txid, entry in self._pool.entries.items():
            trusted: bool | None = None
            for index, output in enumerate(entry.transaction.outputs):
                own = self.scripts.get(output.script_pubkey)
                if own is None:
                    continue
                trusted = self._is_trusted(entry.transaction) if trusted is None else trusted
                coin = Coin(output.amount_sat, output.script_pubkey, height, False)
                yield Fund(Outpoint(txid, index), coin, own, 0, True, trusted)

    def _is_trusted(self, transaction: Transaction) -> bool:
        """Whether all that it spends is the wallet's own, through all its waiting ancestors."""
        if not self.is_own(transaction):
            return False
        parents = self._pool.parents(transaction)
        return all(self._is_trusted(self._pool.entries[txid].transaction) for txid in parents)

    def spendable(self, *, with_unsafe: bool = False) -> list[Fund]:
        """Mature, trusted, unlocked outputs, the surest and greatest first."""
        usable = [
            fund
            for fund in self.funds()
            if fund.is_mature and (fund.is_trusted or with_unsafe) and fund.outpoint not in self.locked
        ]
        return sorted(usable, key=lambda fund: (not fund.confirmations, -fund.amount_sat, fund.outpoint))
