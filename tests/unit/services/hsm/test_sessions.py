"""Sessions: only their keys, only their time, only their process."""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.hsm.errors import (
    OperationRefusedError,
    SessionClosedError,
    SessionLimitError,
    UnknownKeyError,
)
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.algorithms import InvalidSignatureError
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService, HsmSettings
from anya_actors.services.hsm.sessions import SessionDesk
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import CHEAP, LocalHsm

DIGEST = bytes(range(32))


@pytest.fixture
async def session(bench: LocalHsm, hsm: HsmService) -> SessionView:
    """Alice's session for ``ecc`` and ``ed``, not for her ``spare``; ``readonly`` only verifies."""
    await hsm.create_key("ecc", "secp256k1", "alice", message_id="m1")
    await hsm.create_key("ed", "ed25519", "alice", message_id="m2")
    await hsm.create_key("spare", "ed25519", "alice", message_id="m3")
    await hsm.create_key("readonly", "ed25519", "alice", ("verify",), message_id="m4")
    return await hsm.open_session("alice", ("ecc", "ed", "readonly"), message_id="open")


async def ask(bench: LocalHsm, session: SessionView, method: str, *args: Any) -> Any:
    return await bench.actors.call(session.actor, method, *args)


async def last_entry(hsm: HsmService) -> tuple[str, str, str, str, int]:
    entry = (await hsm.audit())[-1]
    return entry.actor, entry.operation, entry.key, entry.outcome, entry.count


@pytest.mark.parametrize(
    ("key", "algorithm"), [("ecc", "ecdsa-secp256k1"), ("ecc", "schnorr-bip340"), ("ed", "ed25519")]
)
async def test_what_a_session_signs_it_verifies(
    bench: LocalHsm, hsm: HsmService, session: SessionView, key: str, algorithm: str
) -> None:
    signature = await ask(bench, session, "sign", key, DIGEST, algorithm)
    assert await last_entry(hsm) == (session.actor, "sign", key, "ok", 1)
    await ask(bench, session, "verify", key, DIGEST, signature, algorithm)
    assert await last_entry(hsm) == (session.actor, "verify", key, "ok", 1)
    with pytest.raises(InvalidSignatureError):
        await ask(bench, session, "verify", key, bytes(32), signature, algorithm)
    assert await last_entry(hsm) == (session.actor, "verify", key, "refused: invalid-signature", 1)


async def test_a_batch_is_signed_whole_and_counted_once(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    messages = tuple(b"%d" % n for n in range(10))
    signatures = await ask(bench, session, "sign_batch", "ed", messages, "ed25519")
    public = await ask(bench, session, "public_key", "ed")
    for message, signature in zip(messages, signatures, strict=True):
        bench.algorithms.verify("ed25519", public, message, signature, "ed25519")
    assert [(e.operation, e.count) for e in (await hsm.audit())[-2:]] == [("sign", 10), ("public-key", 1)]


async def test_a_batch_with_one_bad_digest_signs_nothing(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    with pytest.raises(InvalidInputError, match="32 bytes"):
        await ask(bench, session, "sign_batch", "ecc", (DIGEST, b"short"), "ecdsa-secp256k1")
    assert await last_entry(hsm) == (session.actor, "sign", "ecc", "refused: invalid-input", 2)
    for messages in ((), (DIGEST,) * 1025):
        with pytest.raises(InvalidInputError, match="1 to 1024"):
            await ask(bench, session, "sign_batch", "ecc", messages, "ecdsa-secp256k1")


@pytest.mark.parametrize(
    ("key", "algorithm", "error"),
    [
        ("spare", "ed25519", UnknownKeyError),
        ("api-jwt", "ed25519", UnknownKeyError),
        ("none", "ed25519", UnknownKeyError),
        ("readonly", "ed25519", OperationRefusedError),
        ("ed", "ecdsa-secp256k1", InvalidInputError),
        ("ecc", "ed25519", InvalidInputError),
        ("ecc", "none", InvalidInputError),
    ],
)
async def test_a_session_signs_with_nothing_but_its_keys_as_their_policy_says(
    bench: LocalHsm, hsm: HsmService, session: SessionView, key: str, algorithm: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await ask(bench, session, "sign", key, DIGEST, algorithm)
    actor, operation, found, outcome, _ = await last_entry(hsm)
    assert (actor, operation, found, outcome.split(":")[0]) == (session.actor, "sign", key, "refused")


@pytest.mark.parametrize(
    ("owner", "keys", "error"),
    [
        ("bob", ("ecc",), UnknownKeyError),
        ("alice", ("none",), UnknownKeyError),
        ("alice", (), InvalidInputError),
        ("hsm", ("api-jwt",), InvalidInputError),
        ("alice", ("ecc", "api-jwt"), UnknownKeyError),
    ],
)
async def test_a_session_is_opened_for_the_owners_keys_alone(
    hsm: HsmService, session: SessionView, owner: str, keys: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await hsm.open_session(owner, keys, message_id="m9")
    assert (await hsm.audit())[-1].operation == "open-session"
    assert (await hsm.audit())[-1].outcome.startswith("refused")
    assert [each.session_id for each in await hsm.sessions()] == [session.session_id]


async def test_a_foreign_key_and_a_missing_key_are_answered_alike(
    hsm: HsmService, session: SessionView
) -> None:
    refusals = []
    for key in ("ecc", "nix"):
        with pytest.raises(UnknownKeyError) as refusal:
            await hsm.open_session("bob", (key,), message_id=f"m {key}")
        refusals.append(str(refusal.value).replace(key, "*"))
    assert refusals[0] == refusals[1]


async def test_a_repeated_opening_gives_the_first_session(hsm: HsmService, session: SessionView) -> None:
    assert await hsm.open_session("alice", ("ecc", "ed", "readonly"), message_id="open") == session
    assert await hsm.sessions() == [session]


async def test_a_closed_session_refuses_at_once(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    await ask(bench, session, "sign", "ed", b"message", "ed25519")
    await hsm.close_session(session.session_id, message_id="c1")
    await hsm.close_session(session.session_id, message_id="c1")
    before = len(await hsm.audit())
    for method, args in (("sign", (b"message", "ed25519")), ("public_key", ())):
        with pytest.raises(SessionClosedError):
            await ask(bench, session, method, "ed", *args)
    assert len(await hsm.audit()) == before
    assert await hsm.sessions() == []


async def test_a_session_that_idles_is_over_and_its_keys_are_gone(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    service = bench.session(session.session_id)
    bench.actors.place(session.actor, service)
    await service.resume()
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(session.idle_timeout_s - 1)
    await ask(bench, session, "sign", "ed", b"message", "ed25519")
    await bench.clock.advance(session.idle_timeout_s - 1)
    assert len(list(service.held_keys)) == 3
    await bench.clock.advance(1)
    assert not list(service.held_keys)
    with pytest.raises(SessionClosedError, match="idle"):
        await ask(bench, session, "sign", "ed", b"message", "ed25519")
    assert await hsm.sessions() == []
    assert (await hsm.audit())[-1].outcome == "it was idle for 900 s"


async def test_a_busy_session_ends_at_its_absolute_limit() -> None:
    settings = HsmSettings(kdf=CHEAP, session_idle_timeout_s=100, session_absolute_timeout_s=250)
    bench = LocalHsm(settings=settings)
    hsm = await bench.start()
    await hsm.create_key("ed", "ed25519", "alice", message_id="m1")
    session = await hsm.open_session("alice", ("ed",), message_id="m2")
    assert isinstance(bench.clock, ManualClock)
    for _ in range(3):
        await ask(bench, session, "sign", "ed", b"message", "ed25519")
        await bench.clock.advance(80)
    await bench.clock.advance(10)
    with pytest.raises(SessionClosedError, match="over"):
        await ask(bench, session, "sign", "ed", b"message", "ed25519")
    await bench.close()


async def test_the_hsm_enforces_the_limits_against_a_session_that_does_not(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    await hsm.release_keys(session.session_id, bytes(range(32)))
    record = (OperationRecord("sign", "ed", 1, "ed25519"),)
    await hsm.append_audit(session.session_id, record, message_id="a1")
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(session.idle_timeout_s)
    with pytest.raises(SessionClosedError, match="idle"):
        await hsm.append_audit(session.session_id, record, message_id="a2")


async def test_the_keys_are_sealed_to_the_asking_process_alone(hsm: HsmService, session: SessionView) -> None:
    recipient, other = NaclSealedBoxes().recipient(), NaclSealedBoxes().recipient()
    box = await hsm.release_keys(session.session_id, recipient.public_key)
    with recipient.open(box) as packed:
        assert len(packed) > 96
    with pytest.raises(Exception, match="do not open"):
        other.open(box)


async def test_a_second_process_gets_no_keys_and_ends_the_session(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    await ask(bench, session, "sign", "ed", b"message", "ed25519")
    with pytest.raises(SessionClosedError):
        await hsm.release_keys(session.session_id, bytes(range(32)))
    with pytest.raises(SessionClosedError):
        await ask(bench, session, "sign", "ed", b"message", "ed25519")
    assert [e.outcome for e in await hsm.audit() if e.operation == "release-keys"] == [
        "ok",
        "refused: keys were released before",
    ]
    with pytest.raises(SessionClosedError):
        await hsm.release_keys(session.session_id, bytes(range(32)))


async def test_a_session_whose_process_died_answers_that_it_is_closed(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    await ask(bench, session, "sign", "ed", b"message", "ed25519")
    bench.kill(session.actor)
    with pytest.raises(SessionClosedError):
        await ask(bench, session, "sign", "ed", b"message", "ed25519")


async def test_a_session_outlives_a_restart_of_the_hsm(bench: LocalHsm, session: SessionView) -> None:
    await ask(bench, session, "sign", "ed", b"message", "ed25519")
    bench.kill("hsm/main")
    hsm = await bench.start()
    await ask(bench, session, "sign", "ed", b"message", "ed25519")
    assert [e.operation for e in await hsm.audit()][-3:] == ["sign", "unseal", "sign"]


@pytest.mark.parametrize("session_id", ["", "none", "x" * 10_000])
async def test_an_unknown_session_is_closed(hsm: HsmService, session_id: str) -> None:
    with pytest.raises(SessionClosedError):
        await hsm.release_keys(session_id, bytes(range(32)))
    with pytest.raises(SessionClosedError):
        await hsm.append_audit(session_id, (), message_id="a1")
    await hsm.close_session(session_id, message_id="c1")


async def test_operations_are_not_recorded_for_a_session_that_has_no_keys_yet(
    hsm: HsmService, session: SessionView
) -> None:
    with pytest.raises(SessionClosedError, match="never released"):
        await hsm.append_audit(session.session_id, (OperationRecord("sign", "ed"),), message_id="a1")


async def test_a_repeated_append_is_recorded_once(hsm: HsmService, session: SessionView) -> None:
    await hsm.release_keys(session.session_id, bytes(range(32)))
    records = (OperationRecord("sign", "ed"), OperationRecord("sign", "ecc"))
    before = len(await hsm.audit())
    for _ in range(3):
        await hsm.append_audit(session.session_id, records, message_id="a1")
    assert len(await hsm.audit()) == before + 2


@pytest.mark.parametrize("recipient", [b"", bytes(31), bytes(33), bytes(32)])
async def test_an_unusable_recipient_key_is_refused(
    hsm: HsmService, session: SessionView, recipient: bytes
) -> None:
    with pytest.raises(InvalidInputError, match="recipient_public_key"):
        await hsm.release_keys(session.session_id, recipient)


async def test_sessions_are_limited_in_number() -> None:
    bench = LocalHsm(settings=HsmSettings(kdf=CHEAP, session_limit=2))
    hsm = await bench.start()
    await hsm.create_key("ed", "ed25519", "alice", message_id="m1")
    for number in range(2):
        await hsm.open_session("alice", ("ed",), message_id=f"open {number}")
    with pytest.raises(SessionLimitError):
        await hsm.open_session("alice", ("ed",), message_id="open 2")
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(15 * 60)
    await hsm.open_session("alice", ("ed",), message_id="open 3")
    await bench.close()


async def test_token_holders_cannot_take_the_sessions_of_the_platforms_own_actors() -> None:
    # Holding every session, a token for `security` kept the wallet from signing payments.
    bench = LocalHsm(settings=HsmSettings(kdf=CHEAP, session_limit=1))
    hsm = await bench.start()
    await hsm.create_key("ed", "ed25519", "alice", message_id="m1")
    await hsm.create_key("coin", "secp256k1", "bitcoin/main", message_id="m2")
    await hsm.open_session("alice", ("ed",), message_id="open 1")
    assert (await hsm.open_session("bitcoin/main", ("coin",), message_id="open 2")).owner == "bitcoin/main"
    for owner, key in (("alice", "ed"), ("bitcoin/main", "coin")):
        with pytest.raises(SessionLimitError):
            await hsm.open_session(owner, (key,), message_id=f"another of {owner}")
    await bench.close()


async def test_a_session_shows_and_lends_no_secret(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    service = bench.session(session.session_id)
    await service.resume()
    for held in service.held_keys:
        assert held.facts.private_key == b""
        shown = repr(held) + repr(held.private) + repr(held.facts)
        assert len(shown) < 300
        with pytest.raises(Exception, match=r"secret|pickle"):
            pickle.dumps(held.private)


async def test_many_signatures_at_once_share_the_log(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    await asyncio.gather(*(ask(bench, session, "sign", "ed", b"%d" % n, "ed25519") for n in range(50)))
    assert [e.operation for e in await hsm.audit(limit=1000)].count("sign") == 50
    assert (await hsm.verify_audit()).entries == len(await hsm.audit(limit=1000))


class _Coordinator:
    def __init__(self) -> None:
        self.passivated: asyncio.Queue[str] = asyncio.Queue()

    async def passivate(self, actor: str) -> None:
        self.passivated.put_nowait(actor)


async def test_the_process_of_a_session_that_is_over_is_ended(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    coordinator = _Coordinator()
    bench.actors.place("coordinator", coordinator)
    other = await hsm.open_session("alice", ("ed",), message_id="other")
    await hsm.close_session(other.session_id, message_id="c1")
    await hsm.release_keys(session.session_id, bytes(range(32)))
    with pytest.raises(SessionClosedError):
        await hsm.release_keys(session.session_id, bytes(range(1, 33)))
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(9)
    assert coordinator.passivated.empty()  # whoever calls it hears from it that it is closed
    await bench.clock.advance(1)
    assert await coordinator.passivated.get() == other.actor
    assert await coordinator.passivated.get() == session.actor
    with pytest.raises(SessionClosedError):
        await hsm.release_keys("long gone", bytes(range(32)))
    await bench.clock.advance(10)
    assert await coordinator.passivated.get() == "hsm-session/long gone"


async def test_an_actor_of_the_platform_may_own_keys(hsm: HsmService) -> None:
    await hsm.create_key("w", "secp256k1", "bitcoin/main", message_id="m1")
    assert (await hsm.open_session("bitcoin/main", ("w",), message_id="m2")).owner == "bitcoin/main"


async def test_a_session_cannot_take_the_place_of_the_hsms_own_entries(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    # What is recorded under an id is not recorded again, and ids of the HSM's entries are counted up.
    await ask(bench, session, "public_key", "ecc")
    records = tuple(OperationRecord("sign", "ecc") for _ in range(64))
    await hsm.append_audit(session.session_id, records, message_id="hsm/main")
    await hsm.issue_token("mallory", ("admin",), 60, message_id="unseen")
    assert await last_entry(hsm) == ("hsm/main", "issue-token", "api-jwt", "ok", 1)


async def test_refused_openings_leave_nothing_behind(bench: LocalHsm) -> None:
    bench.settings = HsmSettings(kdf=CHEAP, session_limit=1)
    hsm = await bench.start()
    await hsm.create_key("k", "ed25519", "alice", message_id="m")
    await hsm.open_session("alice", ("k",), message_id="first")
    for number in range(5):
        with pytest.raises(SessionLimitError):
            await hsm.open_session("alice", ("k",), message_id=f"m{number}")
    assert len(hsm._desk._used_s) == 1


@pytest.mark.parametrize("change", ["disable_key", "delete_key"])
async def test_a_key_that_ended_just_before_a_crash_is_taken_from_its_sessions(
    bench: LocalHsm, hsm: HsmService, session: SessionView, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    await ask(bench, session, "public_key", "ecc")

    async def crash(_: object, key: str) -> None:
        raise ConnectionError(f"killed before the sessions of {key} were closed")

    monkeypatch.setattr(SessionDesk, "close_with_key", crash)
    with pytest.raises(ConnectionError):
        await getattr(hsm, change)("ecc", "alice", message_id="end")
    monkeypatch.undo()
    bench.kill("hsm/main")
    successor = await bench.start()
    assert await successor.sessions() == []
    with pytest.raises(SessionClosedError):
        await ask(bench, session, "sign", "ecc", DIGEST, "ecdsa-secp256k1")


class SlowRelease:
    """Lets something happen while the answer of ``release_keys`` is on its way."""

    def __init__(self, bench: LocalHsm, hsm: HsmService, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self.answers = 0
        release = hsm.release_keys

        async def slow(*args: Any) -> bytes:
            box = await release(*args)
            self.answers += 1
            if self.answers == 1:
                await meanwhile()
            return box

        hsm.release_keys = slow  # type: ignore[method-assign, assignment]


async def test_a_change_that_meets_the_keys_on_their_way_holds_in_the_session(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    await ask(bench, session, "public_key", "ed")
    await hsm.extend_session(session.session_id, ("spare",), message_id="more")
    expired = KeyPolicy(expires_unix_ms=bench.clock.now_unix_ms())

    async def configure() -> None:
        await hsm.configure_key("spare", "alice", 1, 0, expired, message_id="expire")

    slow = SlowRelease(bench, hsm, configure)
    with pytest.raises(OperationRefusedError, match="expired"):
        await ask(bench, session, "sign", "spare", DIGEST, "ed25519")
    assert slow.answers == 2


async def test_a_session_that_ends_while_its_keys_are_on_their_way_holds_none(
    bench: LocalHsm, hsm: HsmService, session: SessionView
) -> None:
    service = bench.session(session.session_id)

    async def end() -> None:
        await service.end_session("the HSM is sealed")

    SlowRelease(bench, hsm, end)
    await service.resume()
    assert service.held_keys == ()
    with pytest.raises(SessionClosedError, match="sealed"):
        await service.sign("ed", DIGEST, "ed25519")


async def test_an_entry_has_a_hash_of_the_names_that_it_has_no_room_for(
    bench: LocalHsm, hsm: HsmService
) -> None:
    names = tuple(f"{number}-{'n' * 60}" for number in range(4))
    for name in names:
        await hsm.create_key(name, "ed25519", "alice", message_id=name)
    opened = await hsm.open_session("alice", names, message_id="many")
    await ask(bench, opened, "sign", names[3], DIGEST, "ed25519")
    entries = {entry.operation: entry for entry in await hsm.audit()}
    every = ",".join(names)
    for operation in ("open-session", "release-keys"):
        assert entries[operation].key == every[:128]
        assert entries[operation].detail == f"4 keys, SHA-256 {hashlib.sha256(every.encode()).hexdigest()}"
