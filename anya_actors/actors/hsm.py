"""``hsm/main``: the one process that holds the key-encryption key, and the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anya_actors.actors.shell import DurableActor, served
from anya_actors.domain.hsm.approvals import APPROVAL_TTL_S
from anya_actors.domain.hsm.audit import OperationRecord
from anya_actors.domain.hsm.clients import ClientPlan
from anya_actors.domain.hsm.metrics import HsmMetricsView
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.revocations import Revocations
from anya_actors.domain.hsm.slots import DEFAULT_OPERATIONS
from anya_actors.domain.hsm.views import (
    ApprovalView,
    AuditEntryView,
    AuditPage,
    AuditProofView,
    AuditReport,
    CheckpointView,
    ClientView,
    ConsistencyProofView,
    IssuedToken,
    KeyView,
    SealView,
    SessionView,
)

if TYPE_CHECKING:
    from anya_actors.services.hsm import HsmService

    Shell = DurableActor[HsmService]
else:  # the coordinator names the shells of all kinds, and must not load what is behind them
    Shell = DurableActor


class HsmActor(Shell):
    """The HSM on Ray. No secret is an argument or an answer: keys travel in sealed boxes alone."""

    @served
    async def create_key(
        self,
        name: str,
        key_type: str,
        owner: str,
        operations: tuple[str, ...] = DEFAULT_OPERATIONS,
        policy: KeyPolicy = NO_POLICY,
        *,
        message_id: str,
    ) -> KeyView:
        return await self.service.create_key(name, key_type, owner, operations, policy, message_id=message_id)

    @served
    async def transport_key(self) -> bytes:
        return await self.service.transport_key()

    @served
    async def import_key(
        self,
        name: str,
        key_type: str,
        owner: str,
        box: bytes,
        operations: tuple[str, ...] = DEFAULT_OPERATIONS,
        policy: KeyPolicy = NO_POLICY,
        *,
        message_id: str,
    ) -> KeyView:
        return await self.service.import_key(
            name, key_type, owner, box, operations, policy, message_id=message_id
        )

    @served
    async def keys(self, owner: str | None = None) -> list[KeyView]:
        return await self.service.keys(owner)

    @served
    async def key(self, name: str, caller: str = "") -> KeyView:
        return await self.service.key(name, caller)

    @served
    async def disable_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        return await self.service.disable_key(name, owner, message_id=message_id)

    @served
    async def enable_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        return await self.service.enable_key(name, owner, message_id=message_id)

    @served
    async def wrapping_key(self) -> bytes:
        return await self.service.wrapping_key()

    @served
    async def import_wrapped_key(
        self,
        name: str,
        key_type: str,
        owner: str,
        blob: bytes,
        form: str,
        operations: tuple[str, ...] = DEFAULT_OPERATIONS,
        policy: KeyPolicy = NO_POLICY,
        digest: str = "sha256",
        *,
        message_id: str,
    ) -> KeyView:
        return await self.service.import_wrapped_key(
            name, key_type, owner, blob, form, operations, policy, digest, message_id=message_id
        )

    @served
    async def import_version(self, name: str, owner: str, box: bytes, *, message_id: str) -> KeyView:
        return await self.service.import_version(name, owner, box, message_id=message_id)

    @served
    async def import_wrapped_version(
        self, name: str, owner: str, blob: bytes, form: str, digest: str = "sha256", *, message_id: str
    ) -> KeyView:
        return await self.service.import_wrapped_version(
            name, owner, blob, form, digest, message_id=message_id
        )

    @served
    async def export_key(
        self,
        name: str,
        owner: str,
        recipient_pem: bytes,
        version: int = 0,
        digest: str = "sha256",
        *,
        message_id: str,
    ) -> bytes:
        return await self.service.export_key(
            name, owner, recipient_pem, version, digest, message_id=message_id
        )

    @served
    async def back_up_key(self, name: str, owner: str, *, message_id: str) -> bytes:
        return await self.service.back_up_key(name, owner, message_id=message_id)

    @served
    async def bring_back_key(self, name: str, owner: str, blob: bytes, *, message_id: str) -> KeyView:
        return await self.service.bring_back_key(name, owner, blob, message_id=message_id)

    @served
    async def rotate_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        return await self.service.rotate_key(name, owner, message_id=message_id)

    @served
    async def configure_key(
        self,
        name: str,
        owner: str,
        minimum_version: int,
        minimum_encryption_version: int = 0,
        policy: KeyPolicy = NO_POLICY,
        *,
        message_id: str,
    ) -> KeyView:
        return await self.service.configure_key(
            name, owner, minimum_version, minimum_encryption_version, policy, message_id=message_id
        )

    @served
    async def trim_key(self, name: str, owner: str, first: int, *, message_id: str) -> KeyView:
        return await self.service.trim_key(name, owner, first, message_id=message_id)

    @served
    async def delete_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        return await self.service.delete_key(name, owner, message_id=message_id)

    @served
    async def restore_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        return await self.service.restore_key(name, owner, message_id=message_id)

    @served
    async def destroy_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        return await self.service.destroy_key(name, owner, message_id=message_id)

    @served
    async def approve_key(
        self,
        name: str,
        operation: str,
        approver: str,
        digest: str = "",
        uses: int = 1,
        ttl_s: int = APPROVAL_TTL_S,
        *,
        message_id: str,
    ) -> KeyView:
        return await self.service.approve_key(
            name, operation, approver, digest, uses, ttl_s, message_id=message_id
        )

    @served
    async def approvals(self, name: str, caller: str = "") -> list[ApprovalView]:
        return await self.service.approvals(name, caller)

    @served
    async def public_key_as(self, name: str, form: str, version: int = 0) -> str:
        return await self.service.public_key_as(name, form, version)

    @served
    async def allot_nonces(self, session_id: str, key: str, version: int, count: int) -> tuple[int, int]:
        return await self.service.allot_nonces(session_id, key, version, count)

    @served
    async def seal_status(self) -> SealView:
        return await self.service.seal_status()

    @served
    async def seal(self, owner: str, *, message_id: str) -> SealView:
        return await self.service.seal(owner, message_id=message_id)

    @served
    async def unseal(self, owner: str, *, message_id: str) -> SealView:
        return await self.service.unseal(owner, message_id=message_id)

    @served
    async def rekey(self, owner: str, new_master_key: bool = False, *, message_id: str) -> SealView:
        return await self.service.rekey(owner, new_master_key, message_id=message_id)

    @served
    async def change_passphrase(self, owner: str, *, message_id: str) -> SealView:
        return await self.service.change_passphrase(owner, message_id=message_id)

    @served
    async def open_session(self, owner: str, keys: tuple[str, ...], *, message_id: str) -> SessionView:
        return await self.service.open_session(owner, keys, message_id=message_id)

    @served
    async def sessions(self) -> list[SessionView]:
        return await self.service.sessions()

    @served
    async def close_session(self, session_id: str, *, message_id: str) -> None:
        await self.service.close_session(session_id, message_id=message_id)

    @served
    async def extend_session(self, session_id: str, keys: tuple[str, ...], *, message_id: str) -> SessionView:
        return await self.service.extend_session(session_id, keys, message_id=message_id)

    @served
    async def note_hardening(self, session_id: str, refused: tuple[str, ...]) -> None:
        await self.service.note_hardening(session_id, refused)

    @served
    async def release_keys(
        self, session_id: str, recipient_public_key: bytes, keys: tuple[str, ...] = ()
    ) -> bytes:
        return await self.service.release_keys(session_id, recipient_public_key, keys)

    @served
    async def random_bytes(self, owner: str, length: int) -> bytes:
        return await self.service.random_bytes(owner, length)

    @served
    async def append_audit(
        self,
        session_id: str,
        records: tuple[OperationRecord, ...],
        seconds: float = 0.0,
        *,
        message_id: str,
    ) -> None:
        await self.service.append_audit(session_id, records, seconds, message_id=message_id)

    @served
    async def metrics(self, owner: str | None = None, by_key: bool = True) -> HsmMetricsView:
        return await self.service.metrics(owner, by_key)

    @served
    async def audit(self, after: int = 0, limit: int = 100) -> list[AuditEntryView]:
        return await self.service.audit(after, limit)

    @served
    async def verify_audit(self) -> AuditReport:
        return await self.service.verify_audit()

    @served
    async def issue_token(self, subject: str, scopes: tuple[str, ...], ttl_s: int, *, message_id: str) -> str:
        return await self.service.issue_token(subject, scopes, ttl_s, message_id=message_id)

    @served
    async def rotate_token_key(self, revoke: bool = False, *, message_id: str) -> KeyView:
        return await self.service.rotate_token_key(revoke, message_id=message_id)

    @served
    async def revocations(self, known: int = -1) -> Revocations | None:
        return await self.service.revocations(known)

    @served
    async def revoke_token(
        self, token_id: str, expires_unix_s: int, owner: str, by: str, *, message_id: str
    ) -> None:
        await self.service.revoke_token(token_id, expires_unix_s, owner, by, message_id=message_id)

    @served
    async def revoke_subject(self, name: str, by: str, *, message_id: str) -> None:
        await self.service.revoke_subject(name, by, message_id=message_id)

    @served
    async def register_client(self, plan: ClientPlan, shown: bytes, *, message_id: str) -> ClientView:
        return await self.service.register_client(plan, shown, message_id=message_id)

    @served
    async def clients(self) -> list[ClientView]:
        return await self.service.clients()

    @served
    async def rotate_client(
        self, client_id: str, shown: bytes, overlap_s: int, *, message_id: str
    ) -> ClientView:
        return await self.service.rotate_client(client_id, shown, overlap_s, message_id=message_id)

    @served
    async def enable_client(self, client_id: str, *, message_id: str) -> ClientView:
        return await self.service.enable_client(client_id, message_id=message_id)

    @served
    async def disable_client(self, client_id: str, by: str, *, message_id: str) -> ClientView:
        return await self.service.disable_client(client_id, by, message_id=message_id)

    @served
    async def delete_client(self, client_id: str, by: str, *, message_id: str) -> ClientView:
        return await self.service.delete_client(client_id, by, message_id=message_id)

    @served
    async def client_token(self, client_id: str, shown: bytes, scopes: tuple[str, ...] = ()) -> IssuedToken:
        return await self.service.client_token(client_id, shown, scopes)

    @served
    async def verify_client(self, client_id: str, shown: bytes) -> None:
        await self.service.verify_client(client_id, shown)

    @served
    async def audit_of(self, owner: str, after: int = 0, limit: int = 100) -> AuditPage:
        return await self.service.audit_of(owner, after, limit)

    @served
    async def jwks(self) -> dict[str, Any]:
        return await self.service.jwks()

    @served
    async def audit_checkpoint(self) -> CheckpointView:
        return await self.service.audit_checkpoint()

    @served
    async def audit_inclusion(self, sequence: int) -> AuditProofView:
        return await self.service.audit_inclusion(sequence)

    @served
    async def audit_consistency(self, entries: int) -> ConsistencyProofView:
        return await self.service.audit_consistency(entries)
