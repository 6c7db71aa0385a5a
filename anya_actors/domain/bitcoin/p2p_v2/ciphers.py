"""The two ciphers of a connection, which change their keys every 224 packets (BIP324)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anya_actors.domain.machine import InvalidInputError

REKEY_INTERVAL: Final = 224
TAG_BYTES: Final = 16


class TransportError(InvalidInputError):
    """Bytes that no honest peer sends. The connection must be closed."""

    code = "p2p-transport"
    message = "{} of the encrypted connection is not valid: {}"
    remedy = "Close the connection; the peer, or somebody between, is not to be trusted."


class LengthCipher:
    """FSChaCha20: one keystream over the lengths of packets."""

    def __init__(self, key: bytes) -> None:
        self._key, self._chunks = key, 0
        self._start()

    def _start(self) -> None:
        epoch = self._chunks // REKEY_INTERVAL
        nonce = bytes(8) + epoch.to_bytes(8, "little")  # block counter, then 96 bits of nonce
        self._stream = Cipher(ChaCha20(self._key, nonce), mode=None).encryptor()

    def crypt(self, chunk: bytes) -> bytes:
        """Encrypt or decrypt the next chunk."""
        result = self._stream.update(chunk)
        self._chunks += 1
        if self._chunks % REKEY_INTERVAL == 0:
            self._key = self._stream.update(bytes(32))
            self._start()
        return result


class PacketCipher:
    """FSChaCha20Poly1305: packets, authenticated with what stands beside them."""

    def __init__(self, key: bytes) -> None:
        self._key, self._packets = key, 0

    def _nonce(self) -> bytes:
        epoch, packet = divmod(self._packets, REKEY_INTERVAL)
        return packet.to_bytes(4, "little") + epoch.to_bytes(8, "little")

    def _advance(self) -> None:
        if (self._packets + 1) % REKEY_INTERVAL == 0:
            nonce = b"\xff\xff\xff\xff" + self._nonce()[4:]
            self._key = ChaCha20Poly1305(self._key).encrypt(nonce, bytes(32), None)[:32]
        self._packets += 1

    def encrypt(self, plaintext: bytes, beside: bytes) -> bytes:
        sealed = ChaCha20Poly1305(self._key).encrypt(self._nonce(), plaintext, beside)
        self._advance()
        return sealed

    def decrypt(self, sealed: bytes, beside: bytes) -> bytes:
        """The next packet; raises `TransportError` if it was altered."""
        try:
            plaintext = ChaCha20Poly1305(self._key).decrypt(self._nonce(), sealed, beside)
        except InvalidTag as error:
            raise TransportError("a packet", "it was altered on its way") from error
        self._advance()
        return plaintext


@dataclass(frozen=True)
class SessionKeys:
    """What both ends derive from their shared secret."""

    initiator_length: bytes
    initiator_packet: bytes
    responder_length: bytes
    responder_packet: bytes
    initiator_terminator: bytes
    responder_terminator: bytes
    session_id: bytes

    def __repr__(self) -> str:
        return f"SessionKeys(session_id={self.session_id.hex()})"


def derive_keys(shared_secret: bytes, network_magic: bytes) -> SessionKeys:
    """The keys of a connection on the network with these four magic bytes."""
    salt = b"bitcoin_v2_shared_secret" + network_magic

    def expand(info: str) -> bytes:
        return HKDF(SHA256(), 32, salt, info.encode()).derive(shared_secret)

    terminators = expand("garbage_terminators")
    return SessionKeys(
        expand("initiator_L"),
        expand("initiator_P"),
        expand("responder_L"),
        expand("responder_P"),
        terminators[:16],
        terminators[16:],
        expand("session_id"),
    )
