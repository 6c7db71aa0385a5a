"""The sealed root: first start, later starts, wrong passphrases, dearer parameters, error state."""

from __future__ import annotations

import msgspec
import pytest
import structlog

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.domain.hsm import machine
from anya_actors.domain.hsm.errors import (
    AlteredKeyError,
    SelfTestError,
    SessionClosedError,
    WrongPassphraseError,
)
from anya_actors.domain.hsm.root import KdfParameters, Root
from anya_actors.domain.hsm.slots import KeySlot
from anya_actors.domain.keys.operations import SignRequest
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import UnavailableError
from anya_actors.ports.key_algorithms import SigningKey
from anya_actors.ports.state_store import Commit
from anya_actors.services.hardening import NOT_LOCKED
from anya_actors.services.hsm import HsmService, HsmSettings
from anya_actors.testing.local_hsm import LocalHsm


async def stored(bench: LocalHsm, key: str) -> machine.Record:
    found = await (await bench.stores.activate("hsm/main")).load(key)
    assert found is not None
    return machine.STATE.decode(found.state)


async def overwrite(bench: LocalHsm, key: str, record: machine.Record) -> None:
    """What someone with access to the disk could do."""
    store = await bench.stores.activate("hsm/main")
    found = await store.load(key)
    assert found is not None
    await store.commit(Commit(key, found.version, machine.STATE.encode(record), f"overwrite {key}"))


async def slot_of(bench: LocalHsm, name: str) -> KeySlot:
    record = await stored(bench, machine.key_of(name))
    assert isinstance(record, KeySlot)
    return record


async def test_keys_come_back_after_a_restart_with_the_same_passphrase(bench: LocalHsm) -> None:
    made = await (await bench.start()).create_key("k", "secp256k1", "alice", message_id="m1")
    assert await (await bench.start()).key("k") == made
    signature = await bench.signer("alice").sign_ecdsa("k", bytes(32))
    bench.algorithms.verify(
        "secp256k1", bytes.fromhex(made.public_key), bytes(32), signature, "ecdsa-secp256k1"
    )


async def test_another_passphrase_opens_nothing_and_says_what_to_do(bench: LocalHsm) -> None:
    await bench.start()
    bench.source.passphrase = b"another"
    with pytest.raises(WrongPassphraseError, match="passphrase file") as refusal:
        await bench.start()
    assert b"another" not in str(refusal.value).encode()


async def test_a_sealed_hsm_serves_nothing(bench: LocalHsm) -> None:
    await bench.start()
    bench.source.passphrase = b"another"
    with pytest.raises(WrongPassphraseError):
        await bench.start()
    sealed = bench._alive[-1]  # the one that failed to resume
    assert isinstance(sealed, HsmService)
    for attempt in (sealed.keys(), sealed.jwks(), sealed.sessions(), sealed.check_health()):
        with pytest.raises(UnavailableError, match="sealed"):
            await attempt


async def test_stronger_parameters_are_taken_up_at_the_next_start(bench: LocalHsm) -> None:
    await bench.start()
    before = await stored(bench, machine.ROOT)
    dearer = KdfParameters(memory_kib=64, iterations=2, lanes=1)
    bench.settings = HsmSettings(kdf=dearer)
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    after = await stored(bench, machine.ROOT)
    assert isinstance(before, Root)
    assert isinstance(after, Root)
    assert before.seal is not None
    assert after.seal is not None
    assert after.seal.parameters == dearer
    assert (after.seal.salt != before.seal.salt, after.keks) == (True, before.keks)
    assert [key.name for key in await (await bench.start()).keys("alice")] == ["k"]


async def test_weaker_parameters_in_the_settings_change_nothing(bench: LocalHsm) -> None:
    await bench.start()
    before = await stored(bench, machine.ROOT)
    bench.settings = HsmSettings(kdf=KdfParameters(memory_kib=8, iterations=1, lanes=1))
    await bench.start()
    assert await stored(bench, machine.ROOT) == before


@pytest.mark.parametrize("change", ["owner", "operations", "wrapped", "public_key", "swapped"])
async def test_a_key_altered_in_the_store_does_not_open(bench: LocalHsm, change: str) -> None:
    hsm = await bench.start()
    await hsm.create_key("k", "secp256k1", "alice", ("verify",), message_id="m1")
    await hsm.create_key("other", "secp256k1", "alice", message_id="m2")
    slot, other = await slot_of(bench, "k"), await slot_of(bench, "other")
    first = slot.versions[0]
    altered = bytes([first.wrapped[0] ^ 1]) + first.wrapped[1:]
    replace = msgspec.structs.replace
    forgeries = {
        "owner": replace(slot, owner="mallory"),
        "operations": replace(slot, operations=("sign", "verify")),
        "wrapped": replace(slot, versions=(replace(first, wrapped=altered),)),
        "public_key": replace(slot, versions=(replace(first, public_key=other.versions[0].public_key),)),
        "swapped": replace(slot, versions=other.versions),
    }
    forged = forgeries[change]
    await overwrite(bench, machine.key_of("k"), forged)
    hsm = await bench.start()
    with pytest.raises(AlteredKeyError, match="key k version 1"):
        await hsm.open_session(forged.owner, ("k",), message_id="m3")
    entry = (await hsm.audit(0, 100))[-1]
    assert (entry.operation, entry.key, entry.outcome) == ("open-session", "k", "refused: altered-key")


async def test_an_altered_key_encryption_key_is_not_taken_for_a_wrong_passphrase(bench: LocalHsm) -> None:
    await bench.start()
    root = await stored(bench, machine.ROOT)
    assert isinstance(root, Root)
    kek = root.keks[0]
    wrapped = kek.wrapped[:-1] + bytes([kek.wrapped[-1] ^ 1])
    await overwrite(bench, machine.ROOT, Root(root.seal, (msgspec.structs.replace(kek, wrapped=wrapped),)))
    with pytest.raises(AlteredKeyError):
        await bench.start()


async def test_the_store_holds_no_private_key_in_the_clear(bench: LocalHsm) -> None:
    drawn: list[bytes] = []
    generate = bench.algorithms.generate

    def remembering(key_type: str) -> Secret:
        secret = generate(key_type)
        drawn.append(secret.reveal())
        return secret

    bench.algorithms.generate = remembering  # type: ignore[method-assign]  # to know what must not be found
    hsm = await bench.start()
    for key_type in ("secp256k1", "ed25519"):
        await hsm.create_key(f"k-{key_type}", key_type, "alice", message_id=key_type)
    session = await hsm.open_session("alice", ("k-ed25519", "k-secp256k1"), message_id="m")
    await bench.actors.call(session.actor, "sign", "k-ed25519", b"message", "ed25519")
    assert isinstance(bench.stores, MemoryStateStores)
    store = await bench.stores.activate("hsm/main")
    written = [(await store.load(key)) for key in await store.keys()]
    everything = b"".join(each.state for each in written if each is not None)
    everything += b"".join(await bench.log.read(0, 1000))
    everything += b"".join(each.event for each in await store.events_after(0, 1000))
    assert len(drawn) == 4
    assert len(everything) > 1000
    for secret in (*drawn, b"a passphrase of a test"):
        assert secret not in everything
        assert secret.hex().encode() not in everything


async def test_a_failed_self_test_stops_the_start(bench: LocalHsm) -> None:
    bench.algorithms.verify = lambda *_: None  # type: ignore[method-assign]  # a verifier that accepts all
    with pytest.raises(SelfTestError, match="error state"):
        await bench.start()


async def test_a_key_that_fails_its_pairwise_check_puts_the_hsm_into_its_error_state(
    bench: LocalHsm, hsm: HsmService
) -> None:
    load = LibraryKeyAlgorithms(bench.randomness).load

    def another(key_type: str, private_key: Secret) -> SigningKey:
        class Wrong:
            public_key = load(key_type, private_key).public_key

            def sign(self, message: bytes, algorithm: str) -> bytes:
                return load(key_type, Secret(bytes(31) + b"\x01")).sign(message, algorithm)

            def wipe(self) -> None: ...

        return Wrong()

    bench.algorithms.load_any = another  # type: ignore[method-assign]  # a fault in the signing library
    with pytest.raises(SelfTestError):
        await hsm.create_key("k", "secp256k1", "alice", message_id="m1")
    for attempt in (hsm.check_health(), hsm.keys(), hsm.jwks(), hsm.sessions()):
        with pytest.raises(SelfTestError):
            await attempt


async def test_the_process_is_hardened_and_the_key_encryption_key_locked(bench: LocalHsm) -> None:
    await bench.start()
    assert bench.guard.hardened == 1
    assert bench.guard.locked >= 1


async def test_memory_that_cannot_be_locked_is_told_of_once_and_stops_nothing(bench: LocalHsm) -> None:
    bench.guard.refuses = True
    with structlog.testing.capture_logs() as told:
        hsm = await bench.start()
        await hsm.create_key("k", "ed25519", "alice", message_id="m1")
        session = await hsm.open_session("alice", ("k",), message_id="m2")
        await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
        await hsm.rekey("root", message_id="r")
    assert (await hsm.seal_status()).hardening_refused == (NOT_LOCKED,)
    refusals = [line for line in told if line["event"] == "hardening was refused"]
    assert [line["what"] for line in refusals] == [NOT_LOCKED] * 2  # of the HSM, and of the session
    assert {*refusals[0]} == {"event", "log_level", "what"}


async def test_a_session_shows_what_the_system_refuses_its_process(bench: LocalHsm) -> None:
    hsm = await bench.start()
    for name in ("k", "l"):
        await hsm.create_key(name, "ed25519", "alice", message_id=name)
    well = await hsm.open_session("alice", ("k",), message_id="well")
    await bench.actors.call(well.actor, "sign", "k", b"x", "ed25519")
    bench.guard.refuses = True
    ill = await hsm.open_session("alice", ("k",), message_id="ill")
    await bench.actors.call(ill.actor, "sign", "k", b"x", "ed25519")

    async def shown(hsm: HsmService) -> list[tuple[str, tuple[str, ...]]]:
        return [(each.session_id, each.hardening_refused) for each in await hsm.sessions()]

    assert await shown(hsm) == [(well.session_id, ()), (ill.session_id, (NOT_LOCKED,))]
    await hsm.extend_session(well.session_id, ("l",), message_id="extend")
    await bench.actors.call(well.actor, "sign", "l", b"x", "ed25519")
    assert await shown(hsm) == [(well.session_id, (NOT_LOCKED,)), (ill.session_id, (NOT_LOCKED,))]
    await hsm.close_session(well.session_id, message_id="close")
    bench.kill("hsm/main")
    hsm = await bench.start()
    for _ in range(2):  # it is heard of, and fetches its keys anew
        await bench.actors.call(ill.actor, "sign", "k", b"x", "ed25519")
    assert await shown(hsm) == [(ill.session_id, (NOT_LOCKED,))]


async def test_a_session_works_though_the_hsm_does_not_hear_what_is_refused(
    bench: LocalHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.guard.refuses = True
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="k")

    async def deaf(*_: object) -> None:
        raise UnavailableError("hsm/main", "it does not hear")

    monkeypatch.setattr(hsm, "note_hardening", deaf)
    session = await hsm.open_session("alice", ("k",), message_id="open")
    await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")


async def test_a_key_that_changes_while_the_hsm_is_told_what_is_refused_is_fetched_again(
    bench: LocalHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    hsm = await bench.start()
    for name in ("k", "l"):
        await hsm.create_key(name, "ed25519", "alice", message_id=name)
    session = await hsm.open_session("alice", ("k",), message_id="open")
    await bench.actors.call(session.actor, "sign", "k", b"x", "ed25519")
    await hsm.extend_session(session.session_id, ("l",), message_id="extend")
    bench.guard.refuses = True
    note = hsm.note_hardening

    async def noted_while_it_rotates(session_id: str, refused: tuple[str, ...]) -> None:
        monkeypatch.setattr(hsm, "note_hardening", note)
        await hsm.rotate_key("l", "alice", message_id="rotate")
        await note(session_id, refused)

    monkeypatch.setattr(hsm, "note_hardening", noted_while_it_rotates)
    (signed,) = await bench.actors.call(session.actor, "perform", (SignRequest("l", b"x", "ed25519"),))
    assert signed.version == 2


async def test_what_is_refused_is_noted_of_open_sessions_alone_and_within_bounds(
    bench: LocalHsm, hsm: HsmService
) -> None:
    with pytest.raises(SessionClosedError):
        await hsm.note_hardening("none", ("x",))
    await hsm.create_key("k", "ed25519", "alice", message_id="k")
    session = await hsm.open_session("alice", ("k",), message_id="open")
    await hsm.note_hardening(session.session_id, ("x" * 1000,) * 100)
    (shown,) = await hsm.sessions()
    assert (len(shown.hardening_refused), len(shown.hardening_refused[0])) == (8, 128)


async def test_nothing_is_told_where_nothing_was_refused(hsm: HsmService) -> None:
    assert (await hsm.seal_status()).hardening_refused == ()
