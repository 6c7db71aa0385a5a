"""The encrypted transport by the vectors of BIP324, and two ends of it talking."""

from __future__ import annotations

import csv
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.p2p_v2.ciphers import PacketCipher, TransportError, derive_keys
from anya_actors.domain.bitcoin.p2p_v2.ellswift import xswiftec, xswiftec_inv
from anya_actors.domain.bitcoin.p2p_v2.messages import SHORT_IDS, decode_message, encode_message
from anya_actors.domain.bitcoin.p2p_v2.transport import MAX_GARBAGE_BYTES, Connection, Packet, Session
from anya_actors.domain.keys.curve import (
    FIELD_SIZE,
    CurveError,
    Point,
    ellswift_create,
    ellswift_decode,
    ellswift_shared_secret,
    shared_point,
)
from anya_actors.domain.keys.secret import Secret

from ..conftest import FOLDER

MAGIC = bytes.fromhex("f9beb4d9")  # mainnet


def rows(name: str) -> list[dict[str, Any]]:
    path = FOLDER / "bitcoin" / name
    if not path.exists():
        pytest.skip(f"no vectors {path.name}; set ANYA_VECTORS")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_encodings_stand_for_the_points_of_the_vectors() -> None:
    for row in rows("bip324_ellswift_decode.csv"):
        encoding = bytes.fromhex(row["ellswift"])
        assert ellswift_decode(encoding).x.hex() == row["x"], row["comment"]
        u, t = (int.from_bytes(half, "big") for half in (encoding[:32], encoding[32:]))
        assert f"{xswiftec(u, t):064x}" == row["x"], row["comment"]


def test_points_have_the_encodings_of_the_vectors() -> None:
    for row in rows("bip324_xswiftec_inv.csv"):
        u, x = int(row["u"], 16), int(row["x"], 16)
        for case in range(8):
            t = xswiftec_inv(x, u, case)
            assert ("" if t is None else f"{t:064x}") == row[f"case{case}_t"], row["comment"]
            if t is not None:
                assert ellswift_decode(u.to_bytes(32, "big") + t.to_bytes(32, "big")).x == x.to_bytes(
                    32, "big"
                )


def test_packets_are_those_of_the_vectors() -> None:
    for row in rows("bip324_packet_encoding.csv"):
        ours, theirs = bytes.fromhex(row["in_ellswift_ours"]), bytes.fromhex(row["in_ellswift_theirs"])
        secret, initiating = Secret(bytes.fromhex(row["in_priv_ours"])), row["in_initiating"] == "1"
        assert ellswift_decode(ours).x.hex() == row["mid_x_ours"]
        assert ellswift_decode(theirs).x.hex() == row["mid_x_theirs"]
        assert shared_point(ellswift_decode(theirs), secret).x.hex() == row["mid_x_shared"]
        shared = ellswift_shared_secret(theirs, ours, secret, initiating=initiating)
        assert shared.hex() == row["mid_shared_secret"]
        keys = derive_keys(shared, MAGIC)
        assert keys.initiator_length.hex() == row["mid_initiator_l"]
        assert keys.initiator_packet.hex() == row["mid_initiator_p"]
        assert keys.responder_length.hex() == row["mid_responder_l"]
        assert keys.responder_packet.hex() == row["mid_responder_p"]
        session = Session(keys, initiating=initiating)
        assert session.send_terminator.hex() == row["mid_send_garbage_terminator"]
        assert session.receive_terminator.hex() == row["mid_recv_garbage_terminator"]
        assert session.session_id.hex() == row["out_session_id"]
        for _ in range(int(row["in_idx"])):
            session.encrypt(b"")
        contents = bytes.fromhex(row["in_contents"]) * int(row["in_multiply"])
        ignore, beside = row["in_ignore"] == "1", bytes.fromhex(row["in_aad"])
        packet = session.encrypt(contents, beside=beside, ignore=ignore)
        if row["out_ciphertext"]:
            assert packet.hex() == row["out_ciphertext"]
        assert packet.hex().endswith(row["out_ciphertext_endswith"])


def connection(initiating: bool, garbage: bytes = b"", magic: bytes = MAGIC) -> Connection:
    return Connection(
        initiating=initiating,
        secret=Secret((b"\x01" if initiating else b"\x02") * 32),
        auxiliary=bytes(32),
        network_magic=magic,
        garbage=garbage,
    )


def opened(garbage: bytes = b"g" * 100, other_garbage: bytes = b"") -> tuple[Connection, Connection]:
    one, other = connection(True, garbage), connection(False, other_garbage)
    answer, none = other.receive(one.opening)
    assert none == []
    reply, none = one.receive(other.opening + answer)
    assert none == []
    assert other.receive(reply) == (b"", [])
    assert one.is_open
    assert other.is_open
    assert one.session.session_id == other.session.session_id
    return one, other


@settings(max_examples=20, deadline=None)
@given(
    st.binary(max_size=MAX_GARBAGE_BYTES),
    st.lists(st.tuples(st.binary(max_size=300), st.booleans()), max_size=8),
    st.integers(1, 50),
)
def test_two_ends_understand_each_other_in_pieces_of_any_size(
    garbage: bytes, sent: list[tuple[bytes, bool]], piece: int
) -> None:
    one, other = opened(garbage, garbage[::-1])
    wire = b"".join(one.send(contents, ignore=ignore) for contents, ignore in sent)
    received: list[Packet] = []
    for at in range(0, len(wire), piece):
        answer, packets = other.receive(wire[at : at + piece])
        assert answer == b""
        received += packets
    assert [packet.contents for packet in received] == [contents for contents, ignore in sent if not ignore]


def test_keys_change_with_time_on_both_ends_alike() -> None:
    one, other = opened()
    for number in range(500):
        assert other.receive(one.send(b"%d" % number))[1] == [Packet(b"%d" % number, False)]


def test_what_was_altered_closes_the_connection() -> None:
    one, other = opened()
    packet = bytearray(one.send(b"pay 1"))
    packet[-1] ^= 1
    with pytest.raises(TransportError, match="altered"):
        other.receive(bytes(packet))


def test_altered_garbage_is_noticed() -> None:
    one, other = connection(True, b"garbage"), connection(False)
    answer, _ = other.receive(one.opening.replace(b"garbage", b"gArbage"))
    reply, _ = one.receive(other.opening + answer)
    with pytest.raises(TransportError):
        other.receive(reply)


def test_ends_of_two_networks_do_not_meet() -> None:
    one, other = connection(True), connection(False, magic=b"\xfa\xbf\xb5\xda")
    other.receive(one.opening)
    with pytest.raises(TransportError, match="no end"):
        other.receive(bytes(5000))


def test_limits_are_kept() -> None:
    with pytest.raises(TransportError):
        connection(True, bytes(MAX_GARBAGE_BYTES + 1))
    with pytest.raises(TransportError):
        connection(True).send(b"early")
    one, _ = opened()
    with pytest.raises(TransportError):
        one.send(bytes(2**24))
    with pytest.raises(TransportError):
        PacketCipher(bytes(32)).decrypt(bytes(16), b"")
    for wrong in (bytes(63), bytes(65)):
        with pytest.raises(CurveError):
            ellswift_decode(wrong)
        with pytest.raises(CurveError):
            ellswift_shared_secret(wrong, bytes(64), Secret(b"\x01" * 32), initiating=True)
    with pytest.raises(CurveError):
        ellswift_create(Secret(b"\x01" * 32), bytes(31))
    assert "key" not in repr(derive_keys(bytes(32), MAGIC)).lower().replace("sessionkeys", "")


@given(st.binary(min_size=64, max_size=64))
def test_any_64_bytes_are_a_point(data: bytes) -> None:
    u, t = int.from_bytes(data[:32], "big"), int.from_bytes(data[32:], "big")
    point = ellswift_decode(data)
    assert point.x == xswiftec(u, t).to_bytes(32, "big")
    assert any(
        xswiftec_inv(int.from_bytes(point.x, "big"), u % FIELD_SIZE or 1, case) is not None
        for case in range(8)
    )
    assert Point.parse(point.serialize()) == point


@given(st.binary(max_size=30))
def test_any_contents_are_a_message_or_refused(contents: bytes) -> None:
    try:
        kind, payload = decode_message(contents)
    except TransportError:
        return
    if contents[0] or kind not in SHORT_IDS:
        assert decode_message(encode_message(kind, payload)) == (kind, payload)


def test_message_types_are_those_of_the_bip() -> None:
    assert (SHORT_IDS["addr"], SHORT_IDS["tx"], SHORT_IDS["addrv2"]) == (1, 21, 28)
    assert encode_message("ping", b"12345678") == b"\x1212345678"
    assert encode_message("version", b"x") == b"\x00version\x00\x00\x00\x00\x00x"
    for wrong in ("", "a" * 13, "a\n", "é"):
        with pytest.raises(TransportError):
            encode_message(wrong, b"")
    for data in (b"", b"\x1d", b"\x00short", b"\x00" + bytes(12), b"\x00a\x00b" + bytes(9)):
        with pytest.raises(TransportError):
            decode_message(data)
