"""The audit chain as pure functions."""

from __future__ import annotations

import hashlib
import hmac

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.hsm.audit import (
    GENESIS,
    AuditRecord,
    Head,
    TagKey,
    chain,
    checkpoint_message,
    encode_entry,
    parse_entry,
    verify_entries,
    verify_tag,
    view_of,
)
from anya_actors.domain.hsm.errors import AuditBrokenError
from anya_actors.domain.keys.secret import Secret


def record(number: int) -> AuditRecord:
    return AuditRecord(f"r{number}", number, "hsm/main", "alice", "sign", "k", 1, "ed25519")


def log_of(count: int) -> tuple[Head, list[bytes]]:
    head, entries = Head(), []
    for number in range(count):
        head, entry = chain(head, record(number))
        entries.append(encode_entry(entry))
    return head, entries


def test_each_entry_carries_the_hash_of_the_one_before() -> None:
    head, entries = log_of(3)
    first, second, third = (parse_entry(data, n) for n, data in enumerate(entries, 1))
    assert (first.previous, second.previous, third.previous) == (GENESIS, first.hash, second.hash)
    assert head == Head(3, third.hash)


def test_the_hash_is_sha_256_over_a_zero_byte_and_the_entry() -> None:
    _, entry = chain(Head(), record(0))
    encoded = msgspec.msgpack.encode((1, GENESIS, record(0)))
    assert entry.hash == hashlib.sha256(b"\x00" + encoded).digest()


def test_a_whole_chain_verifies_in_any_portions() -> None:
    head, entries = log_of(10)
    for cut in range(11):
        middle, first = verify_entries(Head(), entries[:cut])
        end, second = verify_entries(middle, entries[cut:])
        assert (end, len(first) + len(second)) == (head, 10)


@given(st.integers(0, 9), st.integers(0, 10_000), st.integers(1, 255))
def test_any_altered_byte_is_found_at_its_entry(index: int, place: int, flip: int) -> None:
    _, entries = log_of(10)
    altered = bytearray(entries[index])
    altered[place % len(altered)] ^= flip
    entries[index] = bytes(altered)
    with pytest.raises(AuditBrokenError) as broken:
        verify_entries(Head(), entries)
    assert broken.value.args[0] == index + 1


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)))
def test_any_removal_or_reordering_before_the_end_is_found(order: list[int], removed: set[int]) -> None:
    _, entries = log_of(6)
    kept = [entries[n] for n in order if n not in removed]
    if kept == entries[: len(kept)]:
        # Only the end is missing: that is for the checkpoint to find.
        assert verify_entries(Head(), kept)[0].entries == len(kept)
        return
    with pytest.raises(AuditBrokenError):
        verify_entries(Head(), kept)


@given(st.binary(max_size=300))
def test_bytes_that_are_no_entry_are_refused(data: bytes) -> None:
    with pytest.raises(AuditBrokenError):
        verify_entries(Head(), [data])


def test_a_checkpoint_covers_count_hash_root_and_time() -> None:
    head, root = log_of(2)[0], bytes(32)
    messages = {
        checkpoint_message(head, root, 1),
        checkpoint_message(head, root, 2),
        checkpoint_message(head, GENESIS + b"1", 1),
        checkpoint_message(Head(3, head.hash), root, 1),
        checkpoint_message(Head(2, GENESIS), root, 1),
        checkpoint_message(head, root, 1, "tagged"),
        checkpoint_message(head, root, 1, "sealed"),
    }
    assert len(messages) == 7


def test_what_was_signed_for_before_there_were_tags_is_still_the_same() -> None:
    old = b"anya-hsm audit checkpoint v2\x00" + msgspec.msgpack.encode((2, b"h" * 32, bytes(32), 7))
    assert checkpoint_message(Head(2, b"h" * 32), bytes(32), 7) == old


def test_an_entry_without_a_tag_is_written_as_before_there_were_any() -> None:
    _, entry = chain(Head(), record(0))
    assert encode_entry(entry) == msgspec.msgpack.encode([1, GENESIS, record(0), entry.hash])


def test_a_tag_is_hmac_sha_256_over_the_hash_by_a_key_derived_from_the_checkpoints() -> None:
    _, entry = chain(Head(), record(0), TagKey(Secret(b"k" * 32)))
    key = hmac.digest(b"k" * 32, b"anya-hsm audit entry tags v1\x00", "sha256")
    assert entry.tag == hmac.digest(key, entry.hash, "sha256")[:16]
    assert parse_entry(encode_entry(entry), 1) == entry


@given(st.integers(0, 9), st.integers(0, 10_000), st.integers(1, 255))
def test_any_altered_byte_of_a_tagged_entry_is_found_at_its_entry(index: int, place: int, flip: int) -> None:
    key, head, entries = TagKey(Secret(b"k" * 32)), Head(), []
    for number in range(10):
        head, entry = chain(head, record(number), key)
        entries.append(bytearray(encode_entry(entry)))
    entries[index][place % len(entries[index])] ^= flip

    def verify() -> None:
        for each in verify_entries(Head(), [bytes(data) for data in entries])[1]:
            verify_tag(each, key, True)

    with pytest.raises(AuditBrokenError) as broken:
        verify()
    assert broken.value.args[0] == index + 1


def test_a_key_that_was_wiped_makes_no_tag_of_before_and_shows_nothing() -> None:
    key = TagKey(Secret(b"k" * 32))
    before = key.tag(bytes(32))
    key.wipe()
    assert key.tag(bytes(32)) != before
    assert repr(key) == "TagKey(...)"


def test_a_view_shows_the_entry_in_hex_and_words() -> None:
    _, entry = chain(Head(), record(7))
    view = view_of(entry)
    assert (view.sequence, view.operation, view.hash) == (1, "sign", entry.hash.hex())
    assert msgspec.json.decode(msgspec.json.encode(view), type=type(view)) == view
