"""What a key's owner forbids it, beyond the operations that it serves."""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.hsm.errors import OperationRefusedError
from anya_actors.domain.keys.operations import HARDENED, KeyPath, check_path
from anya_actors.domain.machine import InvalidInputError

MAX_PATHS: Final = 64


class KeyPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Bounds of one key. ``paths``: a ``bip32`` key acts at these paths and below; none means everywhere."""

    paths: tuple[KeyPath, ...] = ()


NO_POLICY: Final = KeyPolicy()


def check_policy(policy: KeyPolicy, key_type: str) -> None:
    """Raise `InvalidInputError` for a policy that means nothing for this type of key."""
    if policy.paths and key_type != "bip32":
        raise InvalidInputError("paths", "only a bip32 key has children")
    if len(policy.paths) > MAX_PATHS:
        raise InvalidInputError("paths", f"at most {MAX_PATHS}")
    for path in policy.paths:
        check_path(path)


def check_path_allowed(policy: KeyPolicy, key: str, path: KeyPath) -> None:
    """Raise `OperationRefusedError` for a path that is not below one of the policy's."""
    if policy.paths and not any(path[: len(allowed)] == allowed for allowed in policy.paths):
        raise OperationRefusedError(key, f"act at {path_text(path)}")


def path_text(path: KeyPath) -> str:
    """The path as people write it: ``m/84h/0h/0h``."""
    steps = (f"{step - HARDENED}h" if step >= HARDENED else str(step) for step in path)
    return "/".join(("m", *steps))
