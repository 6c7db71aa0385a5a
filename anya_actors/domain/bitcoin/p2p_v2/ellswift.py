"""ElligatorSwift: any 64 bytes as a point, and the ways back (BIP324). For checks, in variable time.

Connections use libsecp256k1's functions in `keys.curve`.
"""

from __future__ import annotations

from typing import Final

from anya_actors.domain.keys.curve import FIELD_SIZE as p


def _sqrt(value: int) -> int | None:
    root = pow(value, (p + 1) // 4, p)
    return root if root * root % p == value % p else None


def _inverse(value: int) -> int:
    return pow(value, -1, p)


_SQRT_MINUS_3: Final = 0x0A2D2BA93507F1DF233770C2A797962CC61F6D15DA14ECD47D8D27AE1CD5F852
_HALF: Final = _inverse(2)


def is_x_of_a_point(x: int) -> bool:
    return _sqrt(x**3 + 7) is not None


def xswiftec(u: int, t: int) -> int:
    """The x coordinate that a pair of field elements stands for; every pair has one."""
    u, t = u % p or 1, t % p or 1
    if (u**3 + t**2 + 7) % p == 0:
        t = 2 * t % p
    X = (u**3 + 7 - t**2) * _inverse(2 * t) % p
    Y = (X + t) * _inverse(_SQRT_MINUS_3 * u) % p
    for x in (u + 4 * Y**2, (-X * _inverse(Y) - u) * _HALF, (X * _inverse(Y) - u) * _HALF):
        if is_x_of_a_point(x % p):
            return x % p
    raise AssertionError("one of the three is always an x (BIP324)")


def xswiftec_inv(x: int, u: int, case: int) -> int | None:
    """One of up to eight ``t`` (``case`` 0 to 7) with ``xswiftec(u, t) == x``, or None."""
    if case & 2 == 0:
        if is_x_of_a_point((-x - u) % p):
            return None
        v = x
        s = -(u**3 + 7) * _inverse((u**2 + u * v + v**2) % p) % p
    else:
        s = (x - u) % p
        if s == 0:
            return None
        r = _sqrt(-s * (4 * (u**3 + 7) + 3 * s * u**2) % p)
        if r is None or (case & 1 and r == 0):
            return None
        v = (r * _inverse(s) - u) * _HALF % p
    w = _sqrt(s)
    if w is None:
        return None
    side = _SQRT_MINUS_3 if case & 1 else -_SQRT_MINUS_3
    t = w * (u * (1 + side) * _HALF + v) % p
    return -t % p if case & 5 in (0, 5) else t
