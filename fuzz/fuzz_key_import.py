"""Keys from outside, private and public, wrapped, boxed and in shares: read, or refused in our own words."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["anya_actors.domain", "anya_actors.adapters", "bip39_slip39"]):
    from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
    from anya_actors.adapters.keys.public_forms import FORMS
    from anya_actors.adapters.keys.wrapping import unwrap
    from anya_actors.adapters.sealing.passphrase_file import read_private_file
    from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
    from anya_actors.adapters.sealing.shamir_shares import join_shares, split_passphrase
    from anya_actors.adapters.system.randomness import SystemRandomness
    from anya_actors.domain.hsm.material import KeyMaterial, pack_material, unpack_material
    from anya_actors.domain.hsm.parcel import KeyParcel, ParcelKey, pack_parcel, unpack_parcel
    from anya_actors.domain.hsm.views import SessionView
    from anya_actors.domain.keys.algorithms import SYMMETRIC, KeyType
    from anya_actors.domain.keys.secret import Secret
    from anya_actors.domain.machine import AnyaError

from typing import get_args

from fuzz.engine import run

TYPES = tuple(each for each in get_args(KeyType) if each not in ("rsa-3072", "rsa-4096"))
FORM_NAMES = ("raw", "pkcs8", "seed", "mnemonic", "extended-private-key")
ALGORITHMS = LibraryKeyAlgorithms(SystemRandomness())
RECIPIENT = NaclSealedBoxes().recipient()
RSA = ALGORITHMS.generate("rsa-2048")
FOLDER = Path(tempfile.mkdtemp(prefix="anya-fuzz-files-"))
KWP_KEY = bytes(range(32))


def demand(holds: bool) -> None:
    if not holds:
        raise AssertionError


def private(number: int, data: bytes) -> None:
    """A private key in one of its forms: what is read is written and read again as the same."""
    key_type, form = TYPES[number % len(TYPES)], FORM_NAMES[number // len(TYPES) % len(FORM_NAMES)]
    key = ALGORITHMS.read(key_type, KeyMaterial(form, data))
    if key_type not in SYMMETRIC and key_type != "bip32":
        again = ALGORITHMS.read(key_type, KeyMaterial("pkcs8", ALGORITHMS.write(key_type, key).reveal()))
        first, second = ALGORITHMS.load_any(key_type, key), ALGORITHMS.load_any(key_type, again)
        demand(first.public_key == second.public_key)


def public(number: int, data: bytes) -> None:
    """A public key: every form of it leads back to it."""
    key_type = TYPES[number % len(TYPES)]
    key = ALGORITHMS.read_public_key(key_type, data)
    for form in FORMS:
        with contextlib.suppress(AnyaError):
            written = ALGORITHMS.write_public_key(key_type, key, form)
            demand(ALGORITHMS.read_public_key(key_type, written) == key)


def material(_: int, data: bytes) -> None:
    """What comes out of a box."""
    unpack_material(Secret(data))


def parcel(_: int, data: bytes) -> None:
    """What a session's process gets."""
    unpack_parcel(Secret(data))


def box(_: int, data: bytes) -> None:
    """A sealed box."""
    RECIPIENT.open(data)


def wrapped(number: int, data: bytes) -> None:
    """AES-KWP, alone and under RSA-OAEP; recipients of an export."""
    unwrap(Secret(KWP_KEY), data) if number & 1 else ALGORITHMS.unwrap_with(RSA, data, "sha256")


def recipient(_: int, data: bytes) -> None:
    """Whom a key is exported to."""
    ALGORITHMS.wrap_to(data, Secret(bytes(32)), "sha256")


def shares(_: int, data: bytes) -> None:
    """Share files, one a line."""
    join_shares(FOLDER, [line.decode("ascii", "replace") for line in data.split(b"\n")])


def passphrase(_: int, data: bytes) -> None:
    """A passphrase file."""
    path = FOLDER / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(data)
    demand(read_private_file(path).reveal() == data.removesuffix(b"\n"))


READERS: tuple[Callable[[int, bytes], None], ...] = (
    *(private,) * 4,
    *(public,) * 4,
    material,
    parcel,
    box,
    wrapped,
    recipient,
    shares,
    passphrase,
)


def one_input(data: bytes) -> None:
    if len(data) >= 2:
        with contextlib.suppress(AnyaError):
            READERS[data[0] % len(READERS)](data[1], data[2:])


def seeds() -> list[bytes]:
    """Each reader's own kind of valid bytes."""
    found = []
    for number, key_type in enumerate(TYPES):
        key = ALGORITHMS.generate(key_type)
        if key_type != "bip32":
            found.append(bytes((0, number)) + key.reveal())
            found.append(bytes((0, number + len(TYPES))) + ALGORITHMS.write(key_type, key).reveal())
        public_key = ALGORITHMS.load_any(key_type, key).public_key
        for form in FORMS:
            with contextlib.suppress(AnyaError):
                written = ALGORITHMS.write_public_key(key_type, public_key, form)
                found.append(bytes((4, number)) + written)
    bip32 = TYPES.index("bip32")
    words = b"legal winner thank year wave sausage worth useful legal winner thank yellow"
    found.append(bytes((0, bip32 + 3 * len(TYPES))) + words)
    packed = pack_material(KeyMaterial("raw", bytes(32)))
    session = SessionView("s", "hsm-session/s", "alice", ("k",), 1, 2, 3)
    filled = KeyParcel(session, (ParcelKey("k", "ed25519", 1, ("sign",), bytes(32), bytes(32)),))
    found += [bytes((8, 0)) + packed.reveal(), bytes((9, 0)) + pack_parcel(filled).reveal()]
    found.append(bytes((10, 0)) + NaclSealedBoxes().seal(packed, RECIPIENT.public_key))
    pem = ALGORITHMS.write_public_key("rsa-2048", ALGORITHMS.load_any("rsa-2048", RSA).public_key, "pem")
    found.append(bytes((11, 0)) + ALGORITHMS.wrap_to(pem, Secret(bytes(32)), "sha256"))
    found.append(bytes((12, 0)) + pem)
    split = split_passphrase(Secret(b"A" * 43), 2, 3)
    found += [bytes((13, 0)) + "\n".join(split).encode(), bytes((14, 0)) + b"a passphrase\n"]
    return found


if __name__ == "__main__":
    run(one_input, seeds())
