"""A key from outside, sealed in this process to the HSM's."""

from __future__ import annotations

from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.domain.hsm.material import KeyMaterial, pack_material

_TEXT = ("mnemonic", "extended-private-key")


def sealed_material(form: str, data: bytes, passphrase: bytes, transport_key: bytes) -> bytes:
    """The box that the HSM's process alone opens."""
    if form in _TEXT:
        data = b" ".join(data.split())
    with pack_material(KeyMaterial(form, data, passphrase)) as packed:
        return NaclSealedBoxes().seal(packed, transport_key)
