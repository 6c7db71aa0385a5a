"""What a key's owner forbids it, beyond the operations that it serves."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.hsm.errors import OperationRefusedError
from anya_actors.domain.keys.algorithms import AEADS, DERIVABLE
from anya_actors.domain.keys.operations import HARDENED, KeyPath, check_path
from anya_actors.domain.machine import InvalidInputError

MAX_PATHS: Final = 64
MAX_APPROVERS: Final = 16
MAX_WAIT_S: Final = 366 * 24 * 3600
# As Vault has it; the longest is ten years.
MIN_ROTATION_S: Final = 3600
MAX_ROTATION_S: Final = 10 * 366 * 24 * 3600
# NIST SP 800-38D, 8.3: with random nonces of 96 bits, one key encrypts at most 2^32 times.
MAX_ENCRYPTIONS: Final = 2**32
GUARDED: Final = ("destroy", "delete", "export", "rotate", "configure")
"""What of a key's life can be made to need approvals."""
GUARDED_OPERATIONS: Final = ("decrypt", "derive", "encrypt", "sign")
"""What of its use: each operation that takes this permission."""


class KeyPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bounds of one key; what is left out does not bind it.

    ``paths``: a ``bip32`` key acts at these paths and below. ``exportable``: it may leave, wrapped.
    ``expires_unix_ms``: it acts until then. ``rate_per_s``: so many operations in any second.
    ``encryption_limit``: so many encryptions by one version, then it must be rotated.
    ``counter_nonces``: an AEAD counts its nonces instead of drawing them. ``deletion_allowed``: it can
    be deleted, and for ``deletion_wait_s`` restored. ``guarded`` names operations, of its life or by
    it, that take ``approvals_needed`` of its ``approvers``. ``derived``: each operation names a context,
    and a key derived for it acts. ``convergent``: what encrypts the same text under the same context gives
    the same ciphertext. Neither of these two ever changes. ``auto_rotate_s``: the HSM makes a new version
    once the newest is so old. ``backup``: it may leave sealed for this HSM, and then come back from there
    even after it was destroyed. ``every_version``: one that is asked for by its number encrypts and signs,
    as in Vault; else the newest alone, where no minimum says more.
    """

    paths: tuple[KeyPath, ...] = ()
    exportable: bool = False
    expires_unix_ms: int = 0
    rate_per_s: int = 0
    encryption_limit: int = MAX_ENCRYPTIONS
    counter_nonces: bool = False
    deletion_wait_s: int = 7 * 24 * 3600
    deletion_allowed: bool = True
    guarded: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    approvals_needed: int = 0
    derived: bool = False
    convergent: bool = False
    auto_rotate_s: int = 0
    backup: bool = False
    every_version: bool = False


NO_POLICY: Final = KeyPolicy()


def check_policy(policy: KeyPolicy, key_type: str) -> None:
    """Raise `InvalidInputError` for a policy that means nothing for this type of key."""
    if policy.paths and key_type != "bip32":
        raise InvalidInputError("paths", "only a bip32 key has children")
    if len(policy.paths) > MAX_PATHS:
        raise InvalidInputError("paths", f"at most {MAX_PATHS}")
    for path in policy.paths:
        check_path(path)
    if policy.counter_nonces and key_type not in AEADS:
        raise InvalidInputError("counter_nonces", "only an AEAD has nonces")
    if policy.derived and key_type not in DERIVABLE:
        raise InvalidInputError("derived", f"only {', '.join(sorted(DERIVABLE))} keys are derived")
    if policy.convergent and (not policy.derived or key_type not in AEADS or policy.counter_nonces):
        raise InvalidInputError("convergent", "it takes a derived AEAD that does not count its nonces")
    if not 1 <= policy.encryption_limit <= MAX_ENCRYPTIONS:
        raise InvalidInputError("encryption_limit", f"choose 1 to {MAX_ENCRYPTIONS}")
    if not 0 <= policy.deletion_wait_s <= MAX_WAIT_S or policy.rate_per_s < 0 or policy.expires_unix_ms < 0:
        raise InvalidInputError("policy", "times and rates are not negative, and a key waits a year at most")
    _check_guard(policy)
    if policy.auto_rotate_s and not MIN_ROTATION_S <= policy.auto_rotate_s <= MAX_ROTATION_S:
        raise InvalidInputError("auto_rotate_s", f"choose 0, or {MIN_ROTATION_S} to {MAX_ROTATION_S}")
    if policy.auto_rotate_s and "rotate" in policy.guarded:
        raise InvalidInputError("auto_rotate_s", "a key whose rotation takes approvals waits for them")


def _check_guard(policy: KeyPolicy) -> None:
    operations = set(policy.guarded) & set(GUARDED_OPERATIONS)
    if set(policy.guarded) - operations - set(GUARDED):
        raise InvalidInputError("guarded", f"choose from {', '.join((*GUARDED, *GUARDED_OPERATIONS))}")
    if operations and "configure" not in policy.guarded:
        raise InvalidInputError("guarded", "guard configure too, or the guard is taken away without approval")
    if operations and policy.exportable and "export" not in policy.guarded:
        raise InvalidInputError("guarded", "guard export too, or the key acts elsewhere without approval")
    if len(set(policy.approvers)) != len(policy.approvers) or len(policy.approvers) > MAX_APPROVERS:
        raise InvalidInputError("approvers", f"name up to {MAX_APPROVERS}, each once")
    if bool(policy.guarded) != (1 <= policy.approvals_needed <= len(policy.approvers)):
        raise InvalidInputError("approvals_needed", "a guard takes 1 to all of its approvers")


def rotation_due_unix_ms(policy: KeyPolicy, newest_unix_ms: int) -> int:
    """When a key whose newest version is of that time rotates by itself; 0 for never."""
    return newest_unix_ms + policy.auto_rotate_s * 1000 if policy.auto_rotate_s else 0


def check_not_expired(policy: KeyPolicy, key: str, now_unix_ms: int) -> None:
    """Raise `OperationRefusedError` once the key's time is over."""
    if policy.expires_unix_ms and now_unix_ms >= policy.expires_unix_ms:
        raise OperationRefusedError(key, "be used after it expired")


def check_path_allowed(policy: KeyPolicy, key: str, path: KeyPath) -> None:
    """Raise `OperationRefusedError` for a path that is not below one of the policy's."""
    if policy.paths and not any(path[: len(allowed)] == allowed for allowed in policy.paths):
        raise OperationRefusedError(key, f"act at {path_text(path)}")


def path_text(path: KeyPath) -> str:
    """The path as people write it: ``m/84h/0h/0h``."""
    steps = (f"{step - HARDENED}h" if step >= HARDENED else str(step) for step in path)
    return "/".join(("m", *steps))
