"""The HSM's use cases for keys."""

from __future__ import annotations

from anya_actors.domain.hsm.approvals import APPROVAL_TTL_S
from anya_actors.domain.hsm.errors import SelfTestError, UnknownKeyError
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.policy import NO_POLICY, KeyPolicy
from anya_actors.domain.hsm.slots import DEFAULT_OPERATIONS, KeyPlan
from anya_actors.domain.hsm.views import ApprovalView, KeyView
from anya_actors.domain.keys.secret import Secret
from anya_actors.services.hsm.key_life import KeyLife
from anya_actors.services.hsm.keys import KeyRing
from anya_actors.services.hsm.rotations import Rotations
from anya_actors.services.hsm.sessions import SessionDesk


class KeyCalls:
    """Creation, import, change and end of keys. `HsmService` says when they may be called."""

    _failure: SelfTestError | None

    @property
    def _keys(self) -> KeyRing:
        raise NotImplementedError

    @property
    def _life(self) -> KeyLife:
        raise NotImplementedError

    @property
    def _desk(self) -> SessionDesk:
        raise NotImplementedError

    @property
    def _rotations(self) -> Rotations:
        raise NotImplementedError

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
        """Draw a key inside the HSM. ``key_type`` is ``secp256k1``, ``ed25519`` or ``bip32``.

        Raises `InvalidInputError` or `KeyExistsError`; `SelfTestError` if the new key does not
        sign what it verifies, and then until a restart.
        """
        try:
            plan = KeyPlan(name, key_type, owner, tuple(operations), policy)
            return self._rotations.note(await self._keys.create(plan, message_id))
        except SelfTestError as error:
            self._failure = error
            raise

    async def transport_key(self) -> bytes:
        """The X25519 key (32 bytes) that a key from outside is sealed to; another after a restart."""
        return self._keys.transport_key

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
        """Take in a key from outside: `KeyMaterial`, packed and sealed to `transport_key`.

        Raises `InvalidInputError`, also for a box that does not open, or `KeyExistsError`.
        """
        plan = KeyPlan(name, key_type, owner, tuple(operations), policy)
        return self._rotations.note(await self._keys.take_in(plan, box, message_id))

    async def keys(self, owner: str | None = None) -> list[KeyView]:
        """The keys of one owner, or all of them, by name."""
        return await self._keys.views(owner)

    async def key(self, name: str, caller: str = "") -> KeyView:
        """One key of the caller's, or anyone's (``""``); raise `UnknownKeyError`."""
        return await self._keys.view(name, caller)

    async def disable_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        """Let nobody use the key; sessions that hold it are closed at once."""
        view = await self._keys.set_enabled(name, owner, False, message_id)
        await self._desk.close_with_key(name)
        return view

    async def enable_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        """Let the key be used again, by sessions that are opened from now on."""
        return self._rotations.note(await self._keys.set_enabled(name, owner, True, message_id))

    async def wrapping_key(self) -> bytes:
        """An RSA-4096 public key in PEM, to wrap keys for `import_wrapped_key` with; it stays the same."""
        return await self._life.wrapping_key()

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
        """Take in a key wrapped to `wrapping_key`: RSA-OAEP around an AES-256 key, AES-KWP around ours.

        ``form`` is that of `KeyMaterial`. Raises `InvalidCiphertextError` besides what `import_key` raises.
        """
        plan = KeyPlan(name, key_type, owner, tuple(operations), policy)
        written = await self._life.open_wrapped(blob, digest)
        return self._rotations.note(await self._keys.take_in_wrapped(plan, written, form, message_id))

    async def import_version(self, name: str, owner: str, box: bytes, *, message_id: str) -> KeyView:
        """Take in a new version of a key, sealed as for `import_key`; it acts as after `rotate_key`.

        Guarded as rotation is. Raises `InvalidInputError` for one that is not of the key's type.
        """

        def read(key_type: str) -> Secret:
            return self._keys.read_sealed(key_type, box)

        return await self._refreshed(await self._life.rotate_to(name, owner, read, "sealed", message_id))

    async def import_wrapped_version(
        self, name: str, owner: str, blob: bytes, form: str, digest: str = "sha256", *, message_id: str
    ) -> KeyView:
        """As `import_version`, of what was wrapped as for `import_wrapped_key`."""
        with await self._life.open_wrapped(blob, digest) as written:

            def read(key_type: str) -> Secret:
                with written.revealed() as revealed:
                    return self._keys.read(key_type, KeyMaterial(form, revealed))

            view = await self._life.rotate_to(name, owner, read, form, message_id)
        return await self._refreshed(view)

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
        """One version of an exportable key, wrapped to an RSA key of the recipient; never in the clear.

        PKCS#8 of what has a public half, else raw bytes. Raises `OperationRefusedError`,
        `ApprovalNeededError`.
        """
        return await self._life.export(name, owner, recipient_pem, version, digest, message_id)

    async def rotate_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        """Draw a new version, which signs and encrypts from the next call on."""
        return await self._refreshed(await self._life.rotate(name, owner, message_id))

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
        """Set from which version on the key decrypts and verifies, encrypts and signs, and its policy."""
        view = await self._life.configure(
            name, owner, minimum_version, minimum_encryption_version, policy, message_id
        )
        return await self._refreshed(view)

    async def trim_key(self, name: str, owner: str, first: int, *, message_id: str) -> KeyView:
        """Forget for ever the versions before ``first``."""
        return await self._refreshed(await self._life.trim(name, owner, first, message_id))

    async def delete_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        """Close its sessions and let nobody use the key; `restore_key` takes it back for a while."""
        view = await self._life.delete(name, owner, message_id)
        await self._desk.close_with_key(name)
        return view

    async def restore_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        """Take a deletion back; the key is then disabled."""
        return await self._life.restore(name, owner, message_id)

    async def destroy_key(self, name: str, owner: str, *, message_id: str) -> KeyView:
        """Forget a deleted key for ever; raises `WaitingPeriodError` while it can be restored."""
        return await self._life.destroy(name, owner, message_id)

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
        """One approver's word for a guarded operation of a key, by default for an hour and one time.

        With ``digest``, hex SHA-256, for an operation upon that message alone.
        """
        return await self._life.approve(name, operation, approver, digest, uses, ttl_s, message_id)

    async def approvals(self, name: str, caller: str = "") -> list[ApprovalView]:
        """What was approved and not used yet, for a key's owner or approver, or for anyone (``""``)."""
        return await self._life.approvals(name, caller)

    async def public_key_as(self, name: str, form: str, version: int = 0) -> str:
        """A public key as ``pem``, ``jwk``, ``sec1``, ``spki`` or ``raw`` (the last three in hex)."""
        return await self._life.public_key_as(name, form, version)

    async def allot_nonces(self, session_id: str, key: str, version: int, count: int) -> tuple[int, int]:
        """For sessions: encryptions that nobody else makes; raises `KeyExhaustedError`."""
        session = await self._desk.usable(session_id)
        if key not in session.keys:
            raise UnknownKeyError(key)
        return await self._life.allot(key, session.owner, version, count)

    async def note_hardening(self, session_id: str, refused: tuple[str, ...]) -> None:
        """For sessions: what the system refuses their process, for `sessions` to show."""
        await self._desk.note_hardening(session_id, tuple(refused))

    async def _refreshed(self, view: KeyView) -> KeyView:
        await self._desk.refresh_key(view.name)
        return self._rotations.note(view)

    async def _rotate_by_policy(self, view: KeyView) -> KeyView:
        return await self._refreshed(await self._life.rotate_by_policy(view))
