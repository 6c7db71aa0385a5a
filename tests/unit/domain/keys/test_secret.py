"""Secrets in memory show nothing, go nowhere and can be wiped."""

from __future__ import annotations

import copy
import pickle
import pprint
from collections.abc import Callable

import pytest

from anya_actors.domain.hsm.parcel import KeyParcel, ParcelKey, pack_parcel, unpack_parcel
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.secret import Secret, SecretCopyError, erase

VALUE = b"nobody may see this"


@pytest.mark.parametrize("show", [repr, str, pprint.pformat, "{!r}".format, lambda s: f"{[s]}"])
def test_a_secret_shows_nothing_of_itself(show: Callable[[Secret], str]) -> None:
    assert "nobody" not in show(Secret(VALUE))
    assert VALUE.hex() not in show(Secret(VALUE))


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_secret_cannot_be_copied(take: Callable[[Secret], object]) -> None:
    with pytest.raises(SecretCopyError):
        take(Secret(VALUE))


def test_wiping_zeroes_the_buffer_that_was_given() -> None:
    buffer = bytearray(VALUE)
    with Secret(buffer) as secret:
        assert secret.reveal() == VALUE
    assert buffer == bytes(len(VALUE))


def fresh(text: bytes) -> bytes:
    """Bytes that nobody else holds, as a library returns them."""
    return bytes(bytearray(text))


def test_what_a_secret_is_taken_from_holds_it_no_longer() -> None:
    returned = fresh(VALUE)
    assert Secret.taken(returned).reveal() == VALUE
    assert returned == bytes(len(VALUE))


def test_a_revealed_copy_is_zeroed_also_after_an_error() -> None:
    secret, seen = Secret(VALUE), []

    def fail(copied: bytes) -> None:
        seen.append(copied)
        assert copied == VALUE
        raise KeyError

    with pytest.raises(KeyError), secret.revealed() as copied:
        fail(copied)
    assert seen == [bytes(len(VALUE))]
    assert secret.reveal() == VALUE


def test_bytes_that_the_whole_process_shares_are_not_erased() -> None:
    for shared in (b"", b"a"):
        erase(shared)
    assert (len(b""), b"a") == (0, bytes([97]))


def test_secrets_are_compared_by_identity_alone() -> None:
    secret = Secret(VALUE)
    assert secret == secret
    assert secret != Secret(VALUE)
    assert len({secret, Secret(VALUE)}) == 2


def test_a_parcel_comes_back_whole_and_shows_no_key() -> None:
    session = SessionView("s1", "hsm-session/s1", "alice", ("k",), 1, 2, 3)
    parcel = KeyParcel(session, (ParcelKey("k", "ed25519", 1, ("sign",), b"public", VALUE),))
    packed = pack_parcel(parcel)
    assert unpack_parcel(packed) == parcel
    assert "nobody" not in repr(parcel) + str(parcel) + repr(packed)
    for part in (parcel, parcel.keys[0]):
        with pytest.raises(SecretCopyError):
            pickle.dumps(part)


def test_a_wiped_parcel_has_lost_its_keys_and_nothing_else() -> None:
    session = SessionView("s1", "hsm-session/s1", "alice", ("k",), 1, 2, 3)
    parcel = KeyParcel(session, (ParcelKey("k", "ed25519", 1, ("sign",), b"public", fresh(VALUE)),))
    parcel.wipe()
    assert parcel.keys[0].private_key == bytes(len(VALUE))
    assert parcel.keys[0].public_key == b"public"
