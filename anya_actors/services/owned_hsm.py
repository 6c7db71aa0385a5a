"""The HSM as one owner uses it from Python: the life of keys, and sessions that act with them."""

from __future__ import annotations

from typing import Any

from anya_actors.domain.hsm.approvals import APPROVAL_TTL_S
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.metrics import HsmMetricsView
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.slots import KeyPlan
from anya_actors.domain.hsm.views import ApprovalView, AuditPage, KeyView, SealView, SessionView
from anya_actors.domain.keys.algorithms import usual_operations
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import SealedBoxes
from anya_actors.services.hsm.importing import import_key, import_version
from anya_actors.services.hsm_client import SessionClient
from anya_actors.services.key_session import KeySession


class OwnedHsm:
    """The keys of one owner. A key of another owner is answered like one that does not exist.

    A call that returns is durable and in the audit log. A change that raises `CallTimeoutError` may
    have been made: ask for the key, or give ``message_id`` where it is taken and ask again with the
    same one. Key types and algorithms are those of `domain.keys.algorithms`; what a key is allowed is
    a `KeyPolicy`.
    """

    def __init__(self, actors: Actors, owner: str, randomness: Randomness, boxes: SealedBoxes) -> None:
        self._actors = actors
        self._randomness = randomness
        self._boxes = boxes
        self.owner = owner

    def as_owner(self, owner: str) -> OwnedHsm:
        """The same HSM for another owner."""
        return OwnedHsm(self._actors, owner, self._randomness, self._boxes)

    def session(self, *keys: str) -> KeySession:
        """A session for these keys, in a process of its own: ``async with hsm.session("k") as s:``."""
        return KeySession(SessionClient(self._actors, self.owner, self._fresh_id), keys)

    async def sessions(self) -> list[SessionView]:
        """The owner's open sessions, oldest first, whoever opened them."""
        found: list[SessionView] = await self._actors.call(HSM, "sessions")
        return [session for session in found if session.owner == self.owner]

    async def close_session(self, session_id: str) -> None:
        """Close one of the owner's sessions at once, whoever opened it; one that is over stays so."""
        if any(session.session_id == session_id for session in await self.sessions()):
            await self._actors.call(HSM, "close_session", session_id, message_id=self._fresh_id())

    async def random(self, length: int) -> bytes:
        """Unpredictable bytes, at most 64 KiB."""
        return bytes(await self._actors.call(HSM, "random_bytes", self.owner, length))

    async def metrics(self) -> HsmMetricsView:
        """What was done with the owner's keys since the HSM came to life, how often and how fast."""
        found: HsmMetricsView = await self._actors.call(HSM, "metrics", self.owner)
        return found

    async def audit(self, after: int = 0, limit: int = 500) -> AuditPage:
        """What the audit log tells of the owner, oldest first; go on after ``next_after`` unless it is 0."""
        page: AuditPage = await self._actors.call(HSM, "audit_of", self.owner, after, limit)
        return page

    async def seal_status(self) -> SealView:
        """Whether the HSM is sealed and why, and how far a rekeying is."""
        view: SealView = await self._actors.call(HSM, "seal_status")
        return view

    # -- keys ---------------------------------------------------------------------------------

    async def create_key(
        self,
        name: str,
        key_type: str,
        operations: tuple[str, ...] | None = None,
        policy: KeyPolicy = NO_POLICY,
        *,
        message_id: str | None = None,
    ) -> KeyView:
        """Draw a key inside the HSM. Without ``operations`` it does what its type is for.

        Raises `InvalidInputError` or `KeyExistsError`.
        """
        facts = (key_type, self.owner, _operations(key_type, operations), policy)
        return await self._change("create_key", name, *facts, message_id=message_id)

    async def import_key(
        self,
        name: str,
        key_type: str,
        material: KeyMaterial,
        operations: tuple[str, ...] | None = None,
        policy: KeyPolicy = NO_POLICY,
        *,
        message_id: str | None = None,
    ) -> KeyView:
        """Have the HSM keep a key from outside; it is sealed in this process and opened in the HSM's.

        Raises `InvalidInputError` or `KeyExistsError`.
        """
        plan = KeyPlan(name, key_type, self.owner, _operations(key_type, operations), policy)
        return await import_key(
            self._actors, self._boxes, plan, material, message_id=message_id or self._fresh_id()
        )

    async def keys(self) -> list[KeyView]:
        """The owner's keys, by name, public parts only."""
        found: list[KeyView] = await self._actors.call(HSM, "keys", self.owner)
        return found

    async def key(self, name: str) -> KeyView:
        """One key, public part only; raises `UnknownKeyError`."""
        view: KeyView = await self._actors.call(HSM, "key", name, self.owner)
        return view

    async def public_key(self, name: str, form: str = "pem", version: int = 0) -> str:
        """A public key as ``pem``, ``jwk``, ``sec1``, ``spki`` or ``raw`` (the last three in hex)."""
        await self.key(name)
        return str(await self._actors.call(HSM, "public_key_as", name, form, version))

    async def rotate_key(self, name: str, *, message_id: str | None = None) -> KeyView:
        """Draw a new version, which signs and encrypts from the next call on; the old ones still open."""
        return await self._change("rotate_key", name, self.owner, message_id=message_id)

    async def import_version(
        self, name: str, material: KeyMaterial, *, message_id: str | None = None
    ) -> KeyView:
        """A new version from outside, sealed as by `import_key`; it serves as one of `rotate_key` does."""
        arguments = (self._actors, self._boxes, name, self.owner, material)
        return await import_version(*arguments, message_id=message_id or self._fresh_id())

    async def configure_key(
        self,
        name: str,
        *,
        minimum_version: int | None = None,
        minimum_encryption_version: int | None = None,
        policy: KeyPolicy | None = None,
    ) -> KeyView:
        """Set from which version on a key serves, and its policy; what is not given stays."""
        now = await self.key(name)
        return await self._change(
            "configure_key",
            name,
            self.owner,
            now.minimum_version if minimum_version is None else minimum_version,
            now.minimum_encryption_version
            if minimum_encryption_version is None
            else minimum_encryption_version,
            now.policy if policy is None else policy,
        )

    async def trim_key(self, name: str, first: int) -> KeyView:
        """Forget for ever the versions before ``first``."""
        return await self._change("trim_key", name, self.owner, first)

    async def disable_key(self, name: str) -> KeyView:
        """Let nobody use the key; sessions that hold it are closed at once."""
        return await self._change("disable_key", name, self.owner)

    async def enable_key(self, name: str) -> KeyView:
        """Let the key be used again."""
        return await self._change("enable_key", name, self.owner)

    async def delete_key(self, name: str) -> KeyView:
        """Close its sessions and let nobody use the key; `restore_key` takes that back for a while."""
        return await self._change("delete_key", name, self.owner)

    async def restore_key(self, name: str) -> KeyView:
        """Take a deletion back; the key is then disabled."""
        return await self._change("restore_key", name, self.owner)

    async def destroy_key(self, name: str) -> KeyView:
        """Forget a deleted key for ever; raises `WaitingPeriodError` while it can be restored."""
        return await self._change("destroy_key", name, self.owner)

    async def approve_key(
        self, name: str, operation: str, digest: str = "", *, uses: int = 1, ttl_s: int = APPROVAL_TTL_S
    ) -> KeyView:
        """This owner's word, as an approver of the key, for a guarded operation.

        With ``digest``, hex SHA-256, for an operation upon that message alone.
        """
        return await self._change("approve_key", name, operation, self.owner, digest, uses, ttl_s)

    async def approvals(self, name: str) -> list[ApprovalView]:
        """What was approved of a key and not used yet; for its owner and its approvers."""
        found: list[ApprovalView] = await self._actors.call(HSM, "approvals", name, self.owner)
        return found

    # -- keys in wrapped form -----------------------------------------------------------------

    async def wrapping_key(self) -> bytes:
        """The RSA-4096 public key in PEM that `import_wrapped_key` takes keys under; it stays the same."""
        return bytes(await self._actors.call(HSM, "wrapping_key"))

    async def import_wrapped_key(
        self,
        name: str,
        key_type: str,
        blob: bytes,
        form: str = "pkcs8",
        operations: tuple[str, ...] | None = None,
        policy: KeyPolicy = NO_POLICY,
        *,
        digest: str = "sha256",
        message_id: str | None = None,
    ) -> KeyView:
        """Take in a key wrapped to `wrapping_key`: RSA-OAEP of an AES-256 key, and AES-KWP of the key."""
        facts = (key_type, self.owner, blob, form, _operations(key_type, operations), policy, digest)
        return await self._change("import_wrapped_key", name, *facts, message_id=message_id)

    async def import_wrapped_version(
        self,
        name: str,
        blob: bytes,
        form: str = "pkcs8",
        *,
        digest: str = "sha256",
        message_id: str | None = None,
    ) -> KeyView:
        """A new version of a key, wrapped like a whole one; it signs and encrypts from the next call on."""
        facts = (self.owner, blob, form, digest)
        return await self._change("import_wrapped_version", name, *facts, message_id=message_id)

    async def export_key(
        self, name: str, recipient_pem: bytes, *, version: int = 0, digest: str = "sha256"
    ) -> bytes:
        """An exportable key, wrapped in the same way to an RSA public key; never in the clear."""
        arguments = (name, self.owner, recipient_pem, version, digest)
        return bytes(await self._actors.call(HSM, "export_key", *arguments, message_id=self._fresh_id()))

    async def back_up_key(self, name: str) -> bytes:
        """The whole key, sealed so that this HSM alone opens it; its policy must allow ``backup``."""
        arguments = (name, self.owner)
        return bytes(await self._actors.call(HSM, "back_up_key", *arguments, message_id=self._fresh_id()))

    async def bring_back_key(self, name: str, backup: bytes) -> KeyView:
        """Bring a deleted or destroyed key back out of its backup; it is then disabled."""
        return await self._change("bring_back_key", name, self.owner, backup)

    # -- inside -------------------------------------------------------------------------------

    async def _change(
        self, method: str, name: str, *arguments: Any, message_id: str | None = None
    ) -> KeyView:
        view: KeyView = await self._actors.call(
            HSM, method, name, *arguments, message_id=message_id or self._fresh_id(), timeout_s=60.0
        )
        return view

    def _fresh_id(self) -> str:
        return f"client/{self._randomness.token_bytes(16).hex()}"


def _operations(key_type: str, operations: tuple[str, ...] | None) -> tuple[str, ...]:
    return usual_operations(key_type) if operations is None else operations
