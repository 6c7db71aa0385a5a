"""Silent payments (BIP352), the secret side: for the process that holds the scan and the spend key.

The products of a scan key or an input key with a point are `keys.curve.shared_point`.
"""

from __future__ import annotations

from anya_actors.domain.bitcoin.silent_payments import Label
from anya_actors.domain.keys.curve import Point, add_to_secret, check_secret, negate_secret, tagged_scalar
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError


def make_label(scan_key: Secret, number: int) -> Label:
    """The label of this number; 0 is the change label. It tells nothing of the scan key."""
    if not 0 <= number < 1 << 32:
        raise InvalidInputError("label", "it is a number from 0 to 4294967295")
    check_secret(scan_key)
    data = bytes(scan_key.buffer) + number.to_bytes(4, "big")
    return Label(number, tagged_scalar("BIP0352/Label", data))


def spending_key(spend_key: Secret, tweak: int) -> Secret:
    """The private key of a found output, with an even y as BIP340 signs with; wipe it after use."""
    key = Secret(bytearray(spend_key.buffer))
    add_to_secret(key, tweak)
    if not Point.of_secret(key).has_even_y:
        negate_secret(key)
    return key
