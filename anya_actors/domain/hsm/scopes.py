"""What access tokens allow, and the roles by which people ask for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from anya_actors.domain.machine import InvalidInputError

SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "system:read": "Read the supervision tree, the living actors and the settings.",
        "bitcoin:read": "Read the chain, wallets, balances and payments.",
        "bitcoin:write": "Make wallets and addresses, spend from any wallet; includes bitcoin:read.",
        "wallet:read": "Read wallets, their addresses, coins, labels and payments.",
        "wallet:write": "Make wallets, pay, sign messages and PSBTs; includes wallet:read.",
        "security:read": "Read own keys (public parts), sessions and entries of the audit log.",
        "security:use": "Open sessions and use own keys in them; includes security:read.",
        "security:approve": "Approve what a key's policy names one an approver of; includes security:read.",
        "security": "Make, change and end own keys; includes security:use and security:approve.",
        "audit:read": "Read and verify the whole audit log.",
        "events:read": "Listen to every event of the platform.",
        "admin": "Everything, also with what belongs to others, and make tokens and clients.",
    }
)
_INCLUDED_IN: Final[Mapping[str, tuple[str, ...]]] = {
    "bitcoin:read": ("bitcoin:write",),
    "wallet:read": ("wallet:write",),
    "security:read": ("security:use", "security:approve", "security"),
    "security:use": ("security",),
    "security:approve": ("security",),
}

ROLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "admin": ("admin",),
        "operator": ("system:read", "events:read", "bitcoin:read", "wallet:read"),
        "treasurer": ("bitcoin:read", "wallet:write"),
        "custodian": ("security",),
        "signer": ("security:use",),
        "approver": ("security:approve",),
        "auditor": ("audit:read", "system:read"),
    }
)
"""Names for scopes that belong together. A token holds the scopes; a client keeps the role."""


def allows(granted: Collection[str], scope: str) -> bool:
    """Whether these scopes hold the scope, one that includes it, or admin."""
    if scope in granted or "admin" in granted:
        return True
    return any(wider in granted for wider in _INCLUDED_IN.get(scope, ()))


def scopes_of(scopes: Sequence[str], roles: Sequence[str]) -> tuple[str, ...]:
    """The scopes and those of the roles, each once; raise `InvalidInputError` for what is not known."""
    for scope in scopes:
        if scope not in SCOPES:
            raise InvalidInputError("scopes", f"known ones are {', '.join(SCOPES)}")
    for role in roles:
        if role not in ROLES:
            raise InvalidInputError("roles", f"known ones are {', '.join(ROLES)}")
    found = dict.fromkeys((*scopes, *(scope for role in roles for scope in ROLES[role])))
    if not found:
        raise InvalidInputError("scopes", "name at least one scope or role")
    return tuple(found)
