"""What the HSM shows of itself: no secret in any of it, and all of it fits into JSON."""

from __future__ import annotations

import msgspec

from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy


class VersionView(msgspec.Struct, frozen=True):
    """One generation of a key, public part only."""

    version: int
    public_key: str
    created_unix_ms: int


class KeyView(msgspec.Struct, frozen=True, tag=True):
    """A key without its private half. ``public_key`` is hex: 33 bytes SEC1 compressed, or 32 Ed25519.

    ``paths`` are those below which a ``bip32`` key may act; none means all.
    """

    name: str
    key_type: str
    version: int
    public_key: str
    owner: str
    operations: tuple[str, ...]
    created_unix_ms: int
    enabled: bool = True
    paths: tuple[str, ...] = ()
    state: str = "enabled"
    minimum_version: int = 1
    minimum_encryption_version: int = 0
    versions: tuple[VersionView, ...] = ()
    policy: KeyPolicy = NO_POLICY
    destroy_unix_ms: int = 0


class SessionView(msgspec.Struct, frozen=True, tag=True):
    """An open session and the actor that serves it.

    ``hardening_refused``: what the system refuses its process, as that its memory is locked, as far as the
    process has told.
    """

    session_id: str
    actor: str
    owner: str
    keys: tuple[str, ...]
    opened_unix_ms: int
    idle_timeout_s: int
    absolute_timeout_s: int
    hardening_refused: tuple[str, ...] = ()


class ApprovalView(msgspec.Struct, frozen=True):
    """One approver's word that can still be used; without a ``digest``, for any message."""

    operation: str
    approver: str
    digest: str
    uses: int
    at_unix_ms: int
    expires_unix_ms: int


class SecretView(msgspec.Struct, frozen=True):
    """That a client has a secret, and until when (0: for ever)."""

    secret_id: str
    created_unix_ms: int
    expires_unix_ms: int = 0


class ClientView(msgspec.Struct, frozen=True, tag=True):
    """A client that gets tokens by a secret. ``used_unix_ms`` is when it last did, 0 for never."""

    client_id: str
    subject: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    ttl_s: int
    enabled: bool
    created_unix_ms: int
    used_unix_ms: int
    secrets: tuple[SecretView, ...]


class IssuedToken(msgspec.Struct, frozen=True):
    """A token for whoever asked; it is shown to nobody else."""

    access_token: str
    scopes: tuple[str, ...]
    expires_in_s: int

    def __repr__(self) -> str:
        return "IssuedToken(...)"


class AuditEntryView(msgspec.Struct, frozen=True):
    """One audit entry; hashes are hex. ``count`` is how many items a batch held."""

    sequence: int
    at_unix_ms: int
    actor: str
    owner: str
    operation: str
    key: str
    key_version: int
    algorithm: str
    outcome: str
    count: int
    previous: str
    hash: str
    detail: str = ""


class AuditPage(msgspec.Struct, frozen=True):
    """Some entries, and the sequence to go on after; 0 if the log ends here."""

    entries: tuple[AuditEntryView, ...]
    next_after: int


class AuditReport(msgspec.Struct, frozen=True):
    """A whole audit log: how many entries it has, its head, and how many the HSM has signed for."""

    entries: int
    head: str
    signed_entries: int
    signed_at_unix_ms: int
    checkpoint_key: str


class CheckpointView(msgspec.Struct, frozen=True):
    """The HSM's signature for its audit log; all hex but the numbers.

    ``signature`` is Ed25519 by ``key`` over ``message``, which holds entries, head, root, time and ``then``.
    ``root`` is the Merkle tree's (RFC 6962) over the entries. ``then`` tells of the entries behind it: they
    are ``tagged`` by the HSM's key, or may not be, because it is ``sealed``.
    """

    entries: int
    head: str
    root: str
    at_unix_ms: int
    signature: str
    message: str
    key: str
    then: str = ""


class AuditProofView(msgspec.Struct, frozen=True):
    """An entry that a checkpoint signs for: ``path`` leads from ``leaf`` up to the checkpoint's root.

    The leaf's index is ``entry.sequence`` less one; ``leaf`` is SHA-256 over a zero byte and
    ``data``, the entry as the log keeps it.
    """

    entry: AuditEntryView
    leaf: str
    data: str
    path: tuple[str, ...]
    checkpoint: CheckpointView


class ConsistencyProofView(msgspec.Struct, frozen=True):
    """The first ``entries`` entries had ``root``, and are still the first under the checkpoint."""

    entries: int
    root: str
    path: tuple[str, ...]
    checkpoint: CheckpointView


class SealView(msgspec.Struct, frozen=True):
    """Whether the HSM is sealed, and why; how dear its passphrase is to try.

    Keys are wrapped by key-encryption key ``kek_version``; ``older_keks`` are left while a rekeying goes on.
    ``hardening_refused``: what the system refuses the HSM's process, as that its memory is locked.
    """

    sealed: bool
    reason: str
    kek_version: int
    older_keks: int
    argon2_memory_kib: int
    argon2_passes: int
    argon2_lanes: int
    hardening_refused: tuple[str, ...]
