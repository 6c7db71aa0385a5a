"""The HSM's machines: what is in the tables happens, whatever is not is refused and changes nothing."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.encoding import UnreadableRecordError
from anya_actors.domain.hsm import machine
from anya_actors.domain.hsm.audit import AuditRecord, Checkpoint, Head
from anya_actors.domain.hsm.errors import (
    KeyExistsError,
    OperationRefusedError,
    SessionClosedError,
    SessionLimitError,
    UnknownKeyError,
)
from anya_actors.domain.hsm.issuer import AuditHead, AuditSigned, Grant, Issuer, TokenIssued
from anya_actors.domain.hsm.records import RecordAudit, SecurityAlertRaised
from anya_actors.domain.hsm.root import (
    KdfParameters,
    KeksDropped,
    Root,
    RootInitialised,
    RootRekeyed,
    RootResealed,
    RootSealed,
    RootUnsealed,
    Seal,
    WrappedKek,
)
from anya_actors.domain.hsm.sessions import KeysReleased, Session, SessionClosed, SessionOpened, SessionTable
from anya_actors.domain.hsm.slots import (
    TRANSITIONS,
    KeyCreated,
    KeyDisabled,
    KeyEnabled,
    KeySlot,
    KeyVersion,
    SlotPhase,
    check_use,
)
from anya_actors.domain.machine import AnyaError, Event, IllegalTransitionError

AUDIT = AuditRecord("r1", 1_700_000_000_000, "hsm/main", "alice", "test")
FIRST = KeyVersion(1, b"\x02" * 33, b"wrapped", 1, 1_700_000_000_000)
SEAL = Seal(KdfParameters(), b"salt", b"sealed")
KEK = WrappedKek(1, b"wrapped")
SESSION = Session("s1", "alice", ("k",), 1_700_000_000_000, 60, 600)
CREATED = KeyCreated("secp256k1", "alice", ("sign",), FIRST, AUDIT)

EVENTS: list[Event] = [
    CREATED,
    KeyDisabled(AUDIT),
    KeyEnabled(AUDIT),
    RootInitialised(SEAL, KEK),
    RootResealed(SEAL, SEAL, AUDIT),
    RootRekeyed(SEAL, SEAL, (KEK, WrappedKek(2, b"wrapped")), AUDIT),
    KeksDropped(1, AUDIT),
    RootSealed("by alice", AUDIT),
    RootUnsealed(AUDIT),
    SessionOpened(SESSION, 2, AUDIT),
    KeysReleased("s1", b"r" * 32, AUDIT),
    SessionClosed("s1", "asked", AUDIT),
    TokenIssued(Grant("t", "alice", ("system",), 1, 2), AUDIT),
    AuditSigned(Checkpoint(Head(3, b"h" * 32), 1, b"s" * 64)),
]


def slot(phase: SlotPhase) -> KeySlot:
    versions = () if phase is SlotPhase.EMPTY else (FIRST,)
    return KeySlot("k", phase, "secp256k1", "alice", ("sign",), versions)


def test_a_created_key_is_enabled_and_owes_its_audit_entry() -> None:
    outcome = machine.step(KeySlot("k"), CREATED)
    assert outcome.state == slot(SlotPhase.ENABLED)
    assert outcome.commands == (RecordAudit(AUDIT),)
    assert [getattr(event, "change", None) for event in outcome.events] == ["created"]


def test_a_key_is_disabled_and_enabled_and_neither_twice() -> None:
    disabled = machine.step(slot(SlotPhase.ENABLED), KeyDisabled(AUDIT))
    assert disabled.state == slot(SlotPhase.DISABLED)
    assert machine.step(disabled.state, KeyDisabled(AUDIT)).commands == ()
    assert machine.step(disabled.state, KeyEnabled(AUDIT)).state == slot(SlotPhase.ENABLED)
    assert machine.step(slot(SlotPhase.ENABLED), KeyEnabled(AUDIT)).commands == ()


@pytest.mark.parametrize(
    ("phase", "event", "error"),
    [
        (SlotPhase.ENABLED, CREATED, KeyExistsError),
        (SlotPhase.DISABLED, CREATED, KeyExistsError),
        (SlotPhase.EMPTY, KeyDisabled(AUDIT), UnknownKeyError),
        (SlotPhase.EMPTY, KeyEnabled(AUDIT), UnknownKeyError),
    ],
)
def test_a_slot_refuses_by_name(phase: SlotPhase, event: Event, error: type[AnyaError]) -> None:
    with pytest.raises(error):
        machine.step(slot(phase), event)


@pytest.mark.parametrize(("phase", "event"), list(itertools.product(SlotPhase, EVENTS)))
def test_whatever_is_not_in_the_table_of_slots_is_refused(phase: SlotPhase, event: Event) -> None:
    if (phase, type(event)) not in TRANSITIONS:
        with pytest.raises(IllegalTransitionError):
            machine.step(slot(phase), event)


ACCEPTED: dict[type[Any], set[type[Event]]] = {
    Root: {RootInitialised},
    SessionTable: {SessionOpened, SessionClosed},
    Issuer: {TokenIssued},
    AuditHead: {AuditSigned},
}


@pytest.mark.parametrize(("record", "event"), list(itertools.product(ACCEPTED, EVENTS)))
def test_a_fresh_record_accepts_its_own_events_alone(record: type[Any], event: Event) -> None:
    if type(event) in ACCEPTED[record]:
        machine.step(record(), event)
    else:
        with pytest.raises((IllegalTransitionError, SessionClosedError)):
            machine.step(record(), event)


def test_a_root_is_initialised_once() -> None:
    root = machine.step(Root(), RootInitialised(SEAL, KEK)).state
    with pytest.raises(IllegalTransitionError):
        machine.step(root, RootInitialised(SEAL, KEK))
    other = msgspec.structs.replace(SEAL, salt=b"other")
    assert machine.step(root, RootResealed(SEAL, other, AUDIT)).state == Root(other, (KEK,))


@pytest.mark.parametrize(
    ("owner", "phase", "operation", "error"),
    [
        ("alice", SlotPhase.ENABLED, "sign", None),
        ("alice", SlotPhase.ENABLED, None, None),
        ("alice", SlotPhase.ENABLED, "verify", OperationRefusedError),
        ("alice", SlotPhase.ENABLED, "export", OperationRefusedError),
        ("alice", SlotPhase.DISABLED, "sign", OperationRefusedError),
        ("alice", SlotPhase.DISABLED, None, OperationRefusedError),
        ("bob", SlotPhase.ENABLED, "sign", UnknownKeyError),
        ("bob", SlotPhase.DISABLED, "sign", UnknownKeyError),
        ("alice", SlotPhase.EMPTY, "sign", UnknownKeyError),
    ],
)
def test_the_policy_table(
    owner: str, phase: SlotPhase, operation: str | None, error: type[AnyaError] | None
) -> None:
    if error is None:
        check_use(slot(phase), owner, operation)
    else:
        with pytest.raises(error):
            check_use(slot(phase), owner, operation)


def test_the_session_table_is_bounded() -> None:
    table: machine.Record = SessionTable()
    for number in range(2):
        session = msgspec.structs.replace(SESSION, session_id=f"s{number}")
        table = machine.step(table, SessionOpened(session, 2, AUDIT)).state
    with pytest.raises(SessionLimitError):
        machine.step(table, SessionOpened(SESSION, 2, AUDIT))


def test_keys_are_released_to_one_recipient() -> None:
    opened = machine.step(SessionTable(), SessionOpened(SESSION, 2, AUDIT)).state
    bound = machine.step(opened, KeysReleased("s1", b"a" * 32, AUDIT)).state
    assert machine.step(bound, KeysReleased("s1", b"a" * 32, AUDIT)).state == bound
    outcome = machine.step(bound, KeysReleased("s1", b"b" * 32, AUDIT))
    assert outcome.state == SessionTable()
    assert any(isinstance(event, SecurityAlertRaised) for event in outcome.events)
    assert [command.record.outcome for command in outcome.commands if isinstance(command, RecordAudit)] == [
        "refused: keys were released before"
    ]


def test_closing_what_is_closed_changes_nothing() -> None:
    assert machine.step(SessionTable(), SessionClosed("s1", "asked", AUDIT)).commands == ()


def test_a_checkpoint_never_goes_back() -> None:
    newer, older = (AuditSigned(Checkpoint(Head(n, b"h" * 32), 1, b"s")) for n in (5, 4))
    head = machine.step(AuditHead(), newer).state
    assert machine.step(head, older).state == head


RECORDS: list[machine.Record] = [
    Root(SEAL, (KEK,)),
    slot(SlotPhase.ENABLED),
    SessionTable((SESSION,)),
    Issuer(1, Grant("t", "alice", ("system",), 1, 2)),
    AuditHead(Checkpoint(Head(3, b"h" * 32), 1, b"s" * 64)),
]

# What version 1 wrote. Never edit a line: a release that cannot read it loses keys.
VERSION_1 = [
    "920183a474797065a4526f6f74a47365616c83aa706172616d657465727383aa6d656d6f72795f6b6962ce000400"
    "00aa697465726174696f6e7303a56c616e657301a473616c74c40473616c74a67365616c6564c4067365616c6564"
    "a46b656b739182a776657273696f6e01a777726170706564c40777726170706564",
    "920187a474797065a74b6579536c6f74a46e616d65a16ba57068617365a7656e61626c6564a86b65795f74797065"
    "a9736563703235366b31a56f776e6572a5616c696365aa6f7065726174696f6e7391a47369676ea876657273696f"
    "6e739185a776657273696f6e01aa7075626c69635f6b6579c4210202020202020202020202020202020202020202"
    "02020202020202020202020202a777726170706564c40777726170706564ab6b656b5f76657273696f6e01af6372"
    "65617465645f756e69785f6d73cf0000018bcfe56800",
    "920182a474797065ac53657373696f6e5461626c65a873657373696f6e739187aa73657373696f6e5f6964a27331"
    "a56f776e6572a5616c696365a46b65797391a16bae6f70656e65645f756e69785f6d73cf0000018bcfe56800ae69"
    "646c655f74696d656f75745f733cb26162736f6c7574655f74696d656f75745f73cd0258a9726563697069656e74"
    "c400",
    "920183a474797065a6497373756572a669737375656401a46c61737486a474797065a54772616e74a8746f6b656e"
    "5f6964a174a77375626a656374a5616c696365a673636f70657391a673797374656dad6973737565645f756e6978"
    "5f7301ae657870697265735f756e69785f7302",
    "920182a474797065a9417564697448656164aa636865636b706f696e7483a46865616482a7656e747269657303a4"
    "68617368c4206868686868686868686868686868686868686868686868686868686868686868aa61745f756e6978"
    "5f6d7301a97369676e6174757265c440737373737373737373737373737373737373737373737373737373737373"
    "73737373737373737373737373737373737373737373737373737373737373737373",
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_come_back_from_their_bytes(record: machine.Record) -> None:
    assert machine.STATE.decode(machine.STATE.encode(record)) == record


@pytest.mark.parametrize(("record", "stored"), list(zip(RECORDS, VERSION_1, strict=True)))
def test_records_of_version_1_are_read(record: machine.Record, stored: str) -> None:
    assert machine.STATE.decode(bytes.fromhex(stored)) == record


@given(st.binary(max_size=200))
def test_bytes_that_are_no_record_are_refused(data: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        machine.STATE.decode(b"\x92\x01" + data + b"\xc1")
