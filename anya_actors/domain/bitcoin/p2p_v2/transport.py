"""One end of an encrypted connection, without its socket: bytes in, packets out (BIP324)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from anya_actors.domain.bitcoin.p2p_v2.ciphers import (
    TAG_BYTES,
    LengthCipher,
    PacketCipher,
    SessionKeys,
    TransportError,
    derive_keys,
)
from anya_actors.domain.keys.curve import ellswift_create, ellswift_shared_secret
from anya_actors.domain.keys.secret import Secret

KEY_BYTES: Final = 64
TERMINATOR_BYTES: Final = 16
MAX_GARBAGE_BYTES: Final = 4095
MAX_CONTENTS_BYTES: Final = 2**24 - 1
_LENGTH_BYTES, _HEADER_BYTES, _IGNORE = 3, 1, 0x80


@dataclass(frozen=True)
class Packet:
    """One decrypted packet. A decoy (``ignore``) carries nothing meant."""

    contents: bytes
    ignore: bool


class Session:
    """The two directions of a connection whose keys are agreed on."""

    def __init__(self, keys: SessionKeys, *, initiating: bool) -> None:
        initiator = LengthCipher(keys.initiator_length), PacketCipher(keys.initiator_packet)
        responder = LengthCipher(keys.responder_length), PacketCipher(keys.responder_packet)
        self._send, self._receive = (initiator, responder) if initiating else (responder, initiator)
        terminators = keys.initiator_terminator, keys.responder_terminator
        self.send_terminator, self.receive_terminator = terminators if initiating else terminators[::-1]
        self.session_id = keys.session_id

    def encrypt(self, contents: bytes, *, beside: bytes = b"", ignore: bool = False) -> bytes:
        """A packet as it goes over the wire. ``beside`` is authenticated with it, but not sent."""
        if len(contents) > MAX_CONTENTS_BYTES:
            raise TransportError("a packet", f"it has more than {MAX_CONTENTS_BYTES} bytes")
        lengths, packets = self._send
        length = lengths.crypt(len(contents).to_bytes(_LENGTH_BYTES, "little"))
        return length + packets.encrypt(bytes((_IGNORE if ignore else 0,)) + contents, beside)

    def decrypt_length(self, data: bytes) -> int:
        """How many bytes follow the three of an encrypted length, once per packet."""
        contents = int.from_bytes(self._receive[0].crypt(data), "little")
        return _HEADER_BYTES + contents + TAG_BYTES

    def decrypt(self, sealed: bytes, *, beside: bytes = b"") -> Packet:
        """The packet whose length was decrypted before; raises `TransportError`."""
        plaintext = self._receive[1].decrypt(sealed, beside)
        return Packet(plaintext[_HEADER_BYTES:], bool(plaintext[0] & _IGNORE))


class Connection:
    """One end from the first byte on. Send `opening`, then what `receive` returns, then `send` packets.

    ``secret`` and ``auxiliary`` are fresh; ``garbage`` is up to 4095 arbitrary bytes. Raises
    `TransportError` when the peer breaks the protocol; the connection is to be closed then.
    """

    def __init__(
        self,
        *,
        initiating: bool,
        secret: Secret,
        auxiliary: bytes,
        network_magic: bytes,
        garbage: bytes = b"",
    ) -> None:
        if len(garbage) > MAX_GARBAGE_BYTES:
            raise TransportError("the garbage", f"it has more than {MAX_GARBAGE_BYTES} bytes")
        self._initiating, self._secret, self._magic = initiating, secret, network_magic
        self._ours, self._garbage = ellswift_create(secret, auxiliary), garbage
        self._buffer = bytearray()
        self._session: Session | None = None
        self._beside: bytes | None = None  # the peer's garbage, until its first packet has vouched for it
        self._garbage_ended = self._version_seen = False
        self._awaited: int | None = None

    @property
    def opening(self) -> bytes:
        """Our key and garbage: the first bytes of ours on the wire."""
        return self._ours + self._garbage

    @property
    def is_open(self) -> bool:
        """Whether the peer's version packet has come: its contents count from now on."""
        return self._version_seen

    @property
    def session(self) -> Session:
        """The session, once the peer's key has come; raises `TransportError` before."""
        if self._session is None:
            raise TransportError("the handshake", "the peer's key has not come")
        return self._session

    def send(self, contents: bytes, *, ignore: bool = False) -> bytes:
        """A packet as it goes over the wire."""
        return self.session.encrypt(contents, ignore=ignore)

    def receive(self, data: bytes) -> tuple[bytes, list[Packet]]:
        """Take bytes of the peer: what must be sent in answer, and the packets that were completed.

        Decoys are left out, and so is the version packet, whose contents are to be ignored.
        """
        self._buffer += data
        answer = self._agree() if self._session is None else b""
        packets: list[Packet] = []
        if self._session is not None and self._skip_garbage(self._session):
            while (packet := self._next_packet(self._session)) is not None:
                if packet.ignore:
                    continue
                if self._version_seen:
                    packets.append(packet)
                self._version_seen = True
        return answer, packets

    def _agree(self) -> bytes:
        if len(self._buffer) < KEY_BYTES:
            return b""
        theirs = bytes(self._buffer[:KEY_BYTES])
        del self._buffer[:KEY_BYTES]
        shared = ellswift_shared_secret(theirs, self._ours, self._secret, initiating=self._initiating)
        self._secret.wipe()
        self._session = Session(derive_keys(shared, self._magic), initiating=self._initiating)
        # An empty version packet: nothing is negotiated yet (BIP324). It vouches for our garbage.
        return self._session.send_terminator + self._session.encrypt(b"", beside=self._garbage)

    def _skip_garbage(self, session: Session) -> bool:
        if self._garbage_ended:
            return True
        end = self._buffer.find(session.receive_terminator, 0, MAX_GARBAGE_BYTES + TERMINATOR_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_GARBAGE_BYTES + TERMINATOR_BYTES:
                raise TransportError("the handshake", "the garbage has no end")
            return False
        self._beside = bytes(self._buffer[:end])
        del self._buffer[: end + TERMINATOR_BYTES]
        self._garbage_ended = True
        return True

    def _next_packet(self, session: Session) -> Packet | None:
        if self._awaited is None:
            if len(self._buffer) < _LENGTH_BYTES:
                return None
            self._awaited = session.decrypt_length(bytes(self._buffer[:_LENGTH_BYTES]))
            del self._buffer[:_LENGTH_BYTES]
        if len(self._buffer) < self._awaited:
            return None
        sealed = bytes(self._buffer[: self._awaited])
        del self._buffer[: self._awaited]
        self._awaited, beside, self._beside = None, self._beside or b"", None
        return session.decrypt(sealed, beside=beside)
