"""States, commands and events as bytes, across versions."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.encoding import Schema, UnreadableRecordError
from anya_actors.domain.machine import Command, SystemEvent


class Purse(msgspec.Struct, frozen=True):
    owner: str
    amount_sat: int
    notes: tuple[str, ...] = ()
    seal: bytes = b""


class Open(Command, frozen=True):
    name: str


class Close(Command, frozen=True):
    name: str


class Opened(SystemEvent, frozen=True):
    name: str


PURSE: Schema[Purse] = Schema("purse", Purse)
purses = st.builds(
    Purse,
    owner=st.text(),
    amount_sat=st.integers(-(2**63), 2**64 - 1),
    notes=st.lists(st.text()).map(tuple),
    seal=st.binary(),
)


@given(purses)
def test_what_was_written_reads_back_the_same(purse: Purse) -> None:
    assert PURSE.decode(PURSE.encode(purse)) == purse


def test_the_stored_form_of_version_1_stays_what_it_is() -> None:
    # [1, {"owner": "a", "amount_sat": 5, "notes": ["n"], "seal": h'ff'}]
    written = bytes.fromhex(
        "920184 a56f776e6572 a161 aa616d6f756e745f736174 05 a56e6f746573 91a16e a47365616c c401ff"
    )
    assert PURSE.decode(written) == Purse("a", 5, ("n",), b"\xff")
    assert PURSE.encode(Purse("a", 5, ("n",), b"\xff")) == written


def test_one_of_several_commands_reads_back_as_itself() -> None:
    schema: Schema[Command] = Schema("door command", Open | Close)
    for command in (Open("front"), Close("front")):
        assert schema.decode(schema.encode(command)) == command


def test_a_command_of_another_machine_is_refused() -> None:
    schema: Schema[Any] = Schema("door command", Open)
    with pytest.raises(UnreadableRecordError, match="door command"):
        schema.decode(schema.encode(Close("front")))


def upgraded() -> Schema[Purse]:
    """Version 1 was [owner, amount in BTC as text]; version 2 a map without notes."""
    return Schema(
        "purse",
        Purse,
        version=3,
        upgrades={
            1: lambda old: {"owner": old[0], "amount_sat": round(float(old[1]) * 10**8)},
            2: lambda old: {**old, "notes": ["upgraded"]},
        },
    )


def test_values_of_every_older_version_are_read_as_the_newest() -> None:
    first: Schema[Any] = Schema("purse", list)
    second: Schema[Any] = Schema("purse", dict, version=2, upgrades={1: lambda old: old})
    schema = upgraded()
    assert schema.decode(first.encode(["a", "0.5"])) == Purse("a", 50_000_000, ("upgraded",))
    assert schema.decode(second.encode({"owner": "b", "amount_sat": 7, "seal": b"\x01"})) == Purse(
        "b", 7, ("upgraded",), b"\x01"
    )
    assert schema.decode(schema.encode(Purse("c", 1))) == Purse("c", 1)


@pytest.mark.parametrize("version", [0, -1, 4, 2**63])
def test_a_version_that_is_not_known_is_refused_and_not_guessed(version: int) -> None:
    data = msgspec.msgpack.encode((version, {"owner": "a", "amount_sat": 1}))
    with pytest.raises(UnreadableRecordError, match=f"version {version} is not known"):
        upgraded().decode(data)


def test_an_old_value_of_the_wrong_shape_is_unreadable_and_not_a_fault() -> None:
    # The upgrade's own KeyError or TypeError came out.
    shapes: list[Any] = [None, {}, ["a"], ["a", "many"], 7]
    for damaged in shapes:
        with pytest.raises(UnreadableRecordError, match="version 1 cannot be upgraded"):
            upgraded().decode(msgspec.msgpack.encode((1, damaged)))


def test_an_upgrade_that_leads_to_something_else_is_unreadable() -> None:
    schema: Schema[Purse] = Schema("purse", Purse, version=2, upgrades={1: lambda _: {"owner": 5}})
    with pytest.raises(UnreadableRecordError, match="Expected `str`"):
        schema.decode(msgspec.msgpack.encode((1, {})))


@pytest.mark.parametrize("schema", [PURSE, upgraded()], ids=["newest", "older"])
@given(data=st.binary())
def test_whatever_bytes_are_found_they_are_read_or_refused(schema: Schema[Purse], data: bytes) -> None:
    for found in (data, b"\x92\x01" + data, b"\x92\x02" + data, b"\x92\x03" + data):
        with contextlib.suppress(UnreadableRecordError):
            assert isinstance(schema.decode(found), Purse)


@given(purses, st.data())
def test_a_record_that_was_cut_or_grown_is_refused(purse: Purse, data: st.DataObject) -> None:
    written = PURSE.encode(purse)
    cut = data.draw(st.integers(0, len(written) - 1))
    for damaged in (written[:cut], written + b"\x00"):
        with pytest.raises(UnreadableRecordError):
            PURSE.decode(damaged)


@pytest.mark.parametrize("version", [b"\x01", b"\x02", b"\x03"])
def test_a_record_nested_without_end_is_refused(version: bytes) -> None:
    with pytest.raises(UnreadableRecordError):
        upgraded().decode(b"\x92" + version + b"\x91" * 1_000_000)


@pytest.mark.parametrize(
    ("version", "upgrades"), [(2, {}), (1, {1: None}), (3, {2: None}), (3, {1: None}), (0, {1: None})]
)
def test_a_schema_has_one_upgrade_for_each_older_version(version: int, upgrades: dict[int, Any]) -> None:
    with pytest.raises(TypeError, match="purse"):
        Schema("purse", Purse, version=version, upgrades=upgrades)
