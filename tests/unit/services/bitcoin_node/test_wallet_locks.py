"""Encrypted wallets: what is stored, what is in memory and for how long, and what crashes leave."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.domain.bitcoin.descriptors import parse_descriptor
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.append_log import AppendLog, LogFullError
from anya_actors.services.bitcoin_node.journal import RECORDS, AnyRecord, KeyGiven, WalletSeeded
from anya_actors.services.bitcoin_node.service import BitcoinNodeService
from anya_actors.services.bitcoin_node.wallets.backup import (
    BadWalletBackupError,
    encode_backup,
    read_backup,
    rehearsed,
)
from anya_actors.services.bitcoin_node.wallets.keys import AddressKind
from anya_actors.services.bitcoin_node.wallets.locks import (
    WrongEncryptionStateError,
    WrongWalletPassphraseError,
)
from anya_actors.services.bitcoin_node.wallets.records import (
    SealedKeys,
    WalletDescriptorAdded,
    WalletEncrypted,
    WalletMade,
    WalletRecord,
    WalletSeedChanged,
)
from anya_actors.services.bitcoin_node.wallets.sealing import DamagedKeysError, HardenedRangeError
from anya_actors.services.bitcoin_node.wallets.wallet import Wallet, WalletLockedError
from anya_actors.testing.clock import ManualClock

StartNode = Callable[[AppendLog], Awaitable[BitcoinNodeService]]

KEY = "cVpF924EspNh8KjYsfhgY96mmxvT6DgdWiTYMtMjuM74hJaU5psW"
IMPORTED = WalletDescriptorAdded("w", f"wpkh({KEY})", 0, 0, 0, 1)


def _passphrase(text: str = "open sesame") -> Secret:
    return Secret(text.encode())


async def _made(node: BitcoinNodeService) -> Wallet:
    wallet = await node.in_turn(lambda: node.wallets.create("w", private_keys=True, blank=False))
    await node.in_turn(lambda: node.wallets.keep(IMPORTED))
    return wallet


def _private(wallet: Wallet) -> list[str]:
    return [own.descriptor.private_text(own.parsed.private_keys) for own in wallet.descriptors]


def _secrets(wallet: Wallet) -> list[bytearray]:
    """The buffers that hold private keys."""
    return [secret.buffer for own in wallet.descriptors for secret in own.parsed.private_keys.secrets]


def _is_locked(wallet: Wallet) -> bool:
    return wallet.is_locked


async def test_keys_are_in_memory_until_the_time_has_passed_and_zeroed_then(
    node: BitcoinNodeService, clock: ManualClock
) -> None:
    wallet = await _made(node)
    before, clear = _private(wallet), _secrets(wallet)
    await node.locks.encrypt(wallet, _passphrase())
    assert _is_locked(wallet)
    assert _secrets(wallet) == []
    assert not any(map(any, clear))
    await node.locks.unlock(wallet, _passphrase(), 60)
    assert set(_private(wallet)) >= set(before)
    held = [*_secrets(wallet), wallet.open_seal().master.buffer]
    assert all(map(any, held))
    await clock.advance(59.9)
    assert not _is_locked(wallet)
    await clock.advance(0.1)
    assert (_is_locked(wallet), wallet.unlocked_until_s) == (True, 0)
    assert _secrets(wallet) == []
    assert not any(map(any, held))


async def test_a_later_call_sets_the_time_anew_and_an_earlier_ones_end_is_forgotten(
    node: BitcoinNodeService, clock: ManualClock
) -> None:
    wallet = await _made(node)
    await node.locks.encrypt(wallet, _passphrase())
    await node.locks.unlock(wallet, _passphrase(), 10)
    await node.locks.unlock(wallet, _passphrase(), 100)
    await clock.advance(50)
    assert not _is_locked(wallet)
    await node.locks.unlock(wallet, _passphrase(), 5)
    await clock.advance(5)
    assert _is_locked(wallet)
    await node.locks.unlock(wallet, _passphrase(), 100)
    node.locks.lock(wallet)
    await node.locks.unlock(wallet, _passphrase(), 1000)
    await clock.advance(100)
    assert not _is_locked(wallet)
    await node.locks.unlock(wallet, _passphrase(), 0)
    await clock.advance(0)
    assert _is_locked(wallet)


async def test_setting_the_nodes_time_does_not_keep_a_wallet_open(
    node: BitcoinNodeService, clock: ManualClock
) -> None:
    wallet = await _made(node)
    await node.locks.encrypt(wallet, _passphrase())
    await node.locks.unlock(wallet, _passphrase(), 60)
    await node.set_time(1_700_000_000)
    await clock.advance(60)
    assert _is_locked(wallet)


async def test_a_stopped_node_has_no_key_of_an_encrypted_wallet_any_more(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    node = await start_node(log)
    wallet = await _made(node)
    await node.locks.encrypt(wallet, _passphrase())
    await node.locks.unlock(wallet, _passphrase(), 60)
    held = [*_secrets(wallet), wallet.open_seal().master.buffer]
    await node.close()
    assert not any(map(any, held))


async def test_no_record_holds_a_key_and_the_others_keep_their_places(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    node = await start_node(log)
    wallet = await _made(node)
    await node.generate(wallet.descriptors[0].scripts[0][0].script_pubkey, 3)
    records = await log.read(0, len(log))
    (seed,) = (one.seed for one in map(RECORDS.decode, records) if isinstance(one, WalletMade))
    await node.locks.encrypt(wallet, _passphrase())
    after = await log.read(0, len(log))
    assert len(after) == len(records) + 2
    changed = [place for place, record in enumerate(records) if after[place] != record]
    assert [type(RECORDS.decode(records[place])).__name__ for place in changed] == [
        "WalletMade",
        "WalletDescriptorAdded",
    ]
    ring = parse_descriptor(IMPORTED.text, Network.REGTEST).private_keys
    secrets = [seed, KEY.encode(), *(bytes(secret.buffer) for secret in ring.secrets)]
    assert not any(secret in record for secret in secrets for record in after)
    again = await start_node(log)
    assert (await again.chain.read_block(again.chain.tip)).hash == node.chain.tip.hash
    found = again.wallets.all["w"]
    assert (found.is_locked, found.scripts.keys()) == (True, wallet.scripts.keys())


async def test_the_one_wallet_of_an_earlier_versions_journal_is_encrypted(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    seed = bytes(range(32))
    old: list[AnyRecord] = [WalletSeeded(seed), KeyGiven("bech32", "first"), KeyGiven("bech32m", "")]
    await log.append(*map(RECORDS.encode, old))
    node = await start_node(log)
    wallet = node.wallets.all[""]
    scripts, private = set(wallet.scripts), _private(wallet)
    await node.locks.encrypt(wallet, _passphrase())
    assert not any(seed in record for record in await log.read(0, 99))
    again = await start_node(log)
    found = again.wallets.all[""]
    assert set(found.scripts) >= scripts
    assert found.labels == wallet.labels
    await again.locks.unlock(found, _passphrase(), 60)
    assert set(_private(found)) >= set(private)


class StoppedError(BaseException):
    """The process ends."""


class StoppingLog(MemoryAppendLog):
    """Ends before or after its next rewriting."""

    stops = ""

    async def rewrite(self, change: Callable[[bytes], bytes], *more: bytes) -> None:
        if self.stops == "full":
            raise LogFullError("journal", "no space")
        if self.stops == "before":
            raise StoppedError
        await super().rewrite(change, *more)
        if self.stops == "after":
            raise StoppedError


@pytest.mark.parametrize("stops", ["before", "after"])
async def test_after_a_crash_in_encrypting_the_wallet_is_as_before_or_opens_by_its_passphrase(
    start_node: StartNode, stops: str
) -> None:
    log = StoppingLog()
    node = await start_node(log)
    wallet = await _made(node)
    before = _private(wallet)
    log.stops = stops
    with pytest.raises(StoppedError):
        await node.locks.encrypt(wallet, _passphrase())
    log.stops = ""
    again = await start_node(log)
    found = again.wallets.all["w"]
    assert found.is_locked is (stops == "after")
    if found.is_locked:
        await again.locks.unlock(found, _passphrase(), 60)
    assert set(_private(found)) >= set(before)


@pytest.mark.parametrize("stops", ["before", "after"])
async def test_after_a_crash_in_a_change_of_the_passphrase_one_of_the_two_opens(
    start_node: StartNode, stops: str
) -> None:
    log = StoppingLog()
    node = await start_node(log)
    wallet = await _made(node)
    await node.locks.encrypt(wallet, _passphrase())
    log.stops = stops
    with pytest.raises(StoppedError):
        await node.locks.change_passphrase(wallet, _passphrase(), _passphrase("new"))
    log.stops = ""
    again = await start_node(log)
    found = again.wallets.all["w"]
    right, wrong = ("new", "open sesame") if stops == "after" else ("open sesame", "new")
    with pytest.raises(WrongWalletPassphraseError):
        await again.locks.unlock(found, _passphrase(wrong), 60)
    await again.locks.unlock(found, _passphrase(right), 60)


async def test_where_the_disk_is_full_the_wallet_stays_as_it_was(start_node: StartNode) -> None:
    log = StoppingLog()
    node = await start_node(log)
    wallet = await _made(node)
    before = _private(wallet)
    log.stops = "full"
    with pytest.raises(LogFullError):
        await node.locks.encrypt(wallet, _passphrase())
    assert (wallet.encryption, _private(wallet)) == (None, before)
    await node.check_health()


async def test_the_old_passphrase_opens_nothing_that_is_left(
    node: BitcoinNodeService, log: MemoryAppendLog
) -> None:
    wallet = await _made(node)
    await node.locks.encrypt(wallet, _passphrase())
    old = wallet.encryption
    assert old is not None
    await node.locks.change_passphrase(wallet, _passphrase(), _passphrase("new"))
    assert not any(old.sealed in record for record in await log.read(0, 99))
    assert _is_locked(wallet)
    with pytest.raises(WrongWalletPassphraseError):
        await node.locks.unlock(wallet, _passphrase(), 60)
    await node.locks.unlock(wallet, _passphrase("new"), 60)
    # While it is open it stays so.
    await node.locks.change_passphrase(wallet, _passphrase("new"), _passphrase("newer"))
    assert not _is_locked(wallet)


async def test_of_two_encryptions_at_once_one_is_made(node: BitcoinNodeService) -> None:
    wallet = await _made(node)
    outcomes = await asyncio.gather(
        node.locks.encrypt(wallet, _passphrase("one")),
        node.locks.encrypt(wallet, _passphrase("two")),
        return_exceptions=True,
    )
    assert outcomes[0] is None
    assert isinstance(outcomes[1], WrongEncryptionStateError)
    await node.locks.unlock(wallet, _passphrase("one"), 60)


async def test_what_needs_keys_is_refused_while_it_is_locked(node: BitcoinNodeService) -> None:
    wallet = await _made(node)
    await node.locks.encrypt(wallet, _passphrase())
    another = replace(IMPORTED, text=f"pkh({KEY})")
    with pytest.raises(WalletLockedError):
        await node.in_turn(lambda: node.wallets.keep(another))
    script = await node.in_turn(lambda: node.wallets.new_script(wallet, AddressKind.BECH32))
    assert script.script_pubkey in wallet.scripts
    await node.locks.unlock(wallet, _passphrase(), 60)
    await node.in_turn(lambda: node.wallets.keep(another))
    assert any(KEY in text for text in _private(wallet))


async def test_keys_altered_or_moved_where_they_are_stored_do_not_open(
    start_node: StartNode, log: MemoryAppendLog
) -> None:
    node = await start_node(log)
    wallet = await _made(node)
    await node.locks.encrypt(wallet, _passphrase())
    records = list(map(RECORDS.decode, await log.read(0, len(log))))
    (imported,) = (one for one in records if isinstance(one, WalletDescriptorAdded))
    (seeded,) = (one for one in records if isinstance(one, WalletSeedChanged))
    keys = imported.sealed
    assert keys is not None
    flipped = bytes((keys.sealed[0] ^ 1,)) + keys.sealed[1:]
    for other in (
        SealedKeys(keys.texts, keys.public, flipped),
        SealedKeys(keys.texts, keys.public, seeded.sealed.sealed),
        SealedKeys(keys.texts, keys.public, b""),
        SealedKeys(seeded.sealed.texts[:1], seeded.sealed.public[:1], keys.sealed),
    ):
        altered = MemoryAppendLog()
        changed = [replace(one, sealed=other) if one is imported else one for one in records]
        await altered.append(*map(RECORDS.encode, changed))
        again = await start_node(altered)
        found = again.wallets.all["w"]
        with pytest.raises(DamagedKeysError):
            await again.locks.unlock(found, _passphrase(), 60)
        assert found.is_locked
        assert _secrets(found) == []


SEALED = SealedKeys((), (), b"")
ENCRYPTED = WalletEncrypted("w", bytes(16), KdfParameters(8, 1, 1), bytes(16), bytes(60))
MADE = WalletMade("w", b"", True, 1)
BAD: list[tuple[WalletRecord, ...]] = [
    (MADE, ENCRYPTED, ENCRYPTED),
    (MADE, ENCRYPTED, IMPORTED),
    (replace(MADE, seed=bytes(32)), ENCRYPTED),
    (MADE, replace(IMPORTED, text="", sealed=SEALED)),
    (MADE, WalletSeedChanged("w", SEALED, 1)),
    (replace(MADE, sealed=SEALED),),
    (MADE, replace(ENCRYPTED, identity=b"")),
    (MADE, replace(ENCRYPTED, salt=bytes(4))),
    (MADE, replace(ENCRYPTED, sealed=bytes(59))),
    (MADE, replace(ENCRYPTED, parameters=KdfParameters(1 << 31, 1, 1))),
    (MADE, replace(ENCRYPTED, parameters=KdfParameters(8, 1 << 20, 1))),
    (MADE, replace(ENCRYPTED, parameters=KdfParameters(8, 1, 0))),
]


@pytest.mark.parametrize("records", BAD)
def test_a_backup_whose_keys_are_not_sealed_as_one_wallets_is_refused(
    records: tuple[WalletRecord, ...],
) -> None:
    with pytest.raises(BadWalletBackupError):
        read_backup(encode_backup(records), "new")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(st.text(max_size=40) | st.just(f"wpkh({KEY})"), max_size=3),
    public=st.lists(st.text(max_size=40), max_size=3),
    sealed=st.binary(max_size=80),
)
async def test_no_sealed_record_from_outside_comes_into_the_journal_unless_a_start_can_read_it(
    node: BitcoinNodeService, texts: list[str], public: list[str], sealed: bytes
) -> None:
    keys = SealedKeys(tuple(texts), tuple(public), sealed)
    for records in (
        (replace(MADE, sealed=keys), ENCRYPTED),
        (MADE, ENCRYPTED, WalletSeedChanged("w", keys, 1)),
    ):
        found = read_backup(encode_backup(records), "new")
        with pytest.raises(BadWalletBackupError) as refused:
            rehearsed(found, node.chain, node.pool)
        assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "error",
    [
        WrongWalletPassphraseError("w"),
        WrongEncryptionStateError("w", True),
        WalletLockedError("w"),
        DamagedKeysError("w"),
        HardenedRangeError(),
    ],
)
def test_errors_survive_pickling(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))
