"""A key from outside, on its way into the HSM: sealed to the HSM's own process, never in the clear."""

from __future__ import annotations

from typing import Any, Final, Literal, NoReturn, get_args

import msgspec

from anya_actors.domain.keys.secret import Secret, SecretCopyError, erase
from anya_actors.domain.machine import InvalidInputError

MaterialForm = Literal["raw", "pkcs8", "seed", "mnemonic", "extended-private-key"]

MAX_BYTES: Final = 16 * 1024


class KeyMaterial(msgspec.Struct, frozen=True):
    """A private key in one of its written forms.

    ``raw`` are the bytes themselves, ``pkcs8`` is RFC 5208 in DER or PEM. For a BIP32 key there are
    its ``seed``, its ``mnemonic`` (BIP39, with a ``passphrase`` or none) and an
    ``extended-private-key`` (``xprv…``), as UTF-8.
    """

    form: str
    data: bytes
    passphrase: bytes = b""

    def __repr__(self) -> str:
        return f"KeyMaterial({self.form!r})"

    def __reduce__(self) -> NoReturn:
        raise SecretCopyError

    def wipe(self) -> None:
        """Zero what was read, which nobody else holds."""
        erase(self.data)
        erase(self.passphrase)


def pack_material(material: KeyMaterial) -> Secret:
    """The material as bytes, to be sealed to the HSM and wiped."""
    buffer = bytearray()
    msgspec.msgpack.Encoder().encode_into(material, buffer)
    return Secret(buffer)


def unpack_material(data: Secret) -> KeyMaterial:
    """Read what came out of a box from outside; raise `InvalidInputError`, showing none of it."""
    if len(data) > MAX_BYTES:
        raise InvalidInputError("box", f"it holds more than {MAX_BYTES} bytes")
    decoder: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(KeyMaterial)
    try:
        material: KeyMaterial = decoder.decode(data.buffer)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise InvalidInputError("box", "what it holds is no key material") from None
    if material.form not in get_args(MaterialForm):
        raise InvalidInputError("form", f"choose one of {', '.join(get_args(MaterialForm))}")
    return material
