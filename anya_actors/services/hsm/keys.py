"""Key slots: drawing, listing, disabling, and opening them for the HSM's own use."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from anya_actors.domain.hsm.errors import UnknownKeyError
from anya_actors.domain.hsm.machine import KEY_PREFIX, Reply, key_of
from anya_actors.domain.hsm.material import KeyMaterial, unpack_material
from anya_actors.domain.hsm.parcel import ParcelKey
from anya_actors.domain.hsm.slots import (
    DEFAULT_OPERATIONS,
    PLATFORM_OWNER,
    KeyCreated,
    KeyDisabled,
    KeyEnabled,
    KeyPlan,
    KeySlot,
    KeyVersion,
    SlotPhase,
    check_plan,
    check_use,
    key_view,
)
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.algorithms import RSA_BITS
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.ports.key_algorithms import KeyAlgorithms, SigningKey
from anya_actors.ports.sealing import Recipient, UnopenableError
from anya_actors.services.hsm.audit import AuditKeys
from anya_actors.services.hsm.records import REFUSALS, AuditedRecords
from anya_actors.services.hsm.self_test import check_pair
from anya_actors.services.hsm.vault import Vault


class KeyRing:
    """Every key slot of the HSM, with the vault that opens them."""

    def __init__(
        self, records: AuditedRecords, algorithms: KeyAlgorithms, vault: Vault, transport: Recipient
    ) -> None:
        self._transport = transport
        self._drawing = asyncio.Lock()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._records = records
        self._algorithms = algorithms
        self._vault = vault

    async def create(self, plan: KeyPlan, message_id: str) -> KeyView:
        """Draw a key once per message id."""
        async with self._records.refusals("create-key", plan.owner, plan.name, plan.key_type):
            plan = check_plan(plan)
            request = (plan.key_type, plan.owner, plan.operations, plan.policy)
            view = await self._records.answered(key_of(plan.name), message_id, request)
            if view is None:
                with await self.drawn(plan.key_type, plan.owner) as private_key:
                    view = await self._stored(plan, private_key, "create-key", message_id, request)
        return key_view_of(view)

    async def take_in(self, plan: KeyPlan, box: bytes, message_id: str) -> KeyView:
        """Take in a key that was sealed to this process, once per message id."""
        async with self._records.refusals("import-key", plan.owner, plan.name, plan.key_type):
            plan = _check_foreign(plan)
            # Not the box: sealed again, the same key has another one.
            request = ("import", plan.key_type, plan.owner, plan.operations, plan.policy)
            view = await self._records.answered(key_of(plan.name), message_id, request)
            if view is None:
                with self.read_sealed(plan.key_type, box) as private_key:
                    view = await self._stored(plan, private_key, "import-key", message_id, request)
        return key_view_of(view)

    async def take_in_wrapped(self, plan: KeyPlan, written: Secret, form: str, message_id: str) -> KeyView:
        """Take in a key that was wrapped to our RSA key, once per message id; wipes ``written``."""
        with written:
            async with self._records.refusals("import-key", plan.owner, plan.name, plan.key_type):
                plan = _check_foreign(plan)
                request = ("import-wrapped", plan.key_type, plan.owner, plan.operations, plan.policy)
                view = await self._records.answered(key_of(plan.name), message_id, request)
                if view is None:
                    with (
                        written.revealed() as revealed,
                        self.read(plan.key_type, KeyMaterial(form, revealed)) as private_key,
                    ):
                        view = await self._stored(plan, private_key, "import-key", message_id, request)
        return key_view_of(view)

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        """A private key from outside that has done what it will be asked for."""
        private_key = self._algorithms.read(key_type, material)
        try:
            check_pair(self._algorithms, key_type, private_key)
        except AnyaError:
            private_key.wipe()
            raise
        return private_key

    def read_sealed(self, key_type: str, box: bytes) -> Secret:
        """As `read`, of what was sealed to this process; raise `InvalidInputError` if it does not open."""
        try:
            with self._transport.open(box) as packed:
                material = unpack_material(packed)
        except UnopenableError:
            raise InvalidInputError("box", "it does not open: seal it to the present transport key") from None
        try:
            return self.read(key_type, material)
        finally:
            material.wipe()

    async def drawn(self, key_type: str, owner: str) -> Secret:
        """A new private key that has done what it will be asked for; RSA's takes a while, in a thread."""
        algorithms = self._algorithms.own if owner == PLATFORM_OWNER else self._algorithms
        if key_type in RSA_BITS:
            private_key = await asyncio.to_thread(algorithms.generate, key_type)
        else:
            private_key = algorithms.generate(key_type)
        check_pair(algorithms, key_type, private_key)
        return private_key

    @property
    def transport_key(self) -> bytes:
        """The X25519 key of this process, to seal imported keys to; a restart draws another."""
        return self._transport.public_key

    async def views(self, owner: str | None) -> list[KeyView]:
        """The keys of one owner, or all, by name."""
        names = [key.removeprefix(KEY_PREFIX) for key in await self._records.engine.keys(KEY_PREFIX)]
        slots = [await self.slot(name) for name in names]
        return [key_view(slot) for slot in slots if slot.versions and owner in (None, slot.owner)]

    async def view(self, name: str, caller: str) -> KeyView:
        """One key of the caller's, or anyone's (``""``); raise `UnknownKeyError`."""
        slot = await self.slot(name)
        if slot.phase is SlotPhase.EMPTY or caller not in ("", slot.owner):
            raise UnknownKeyError(name)
        return key_view(slot)

    async def slot(self, name: str) -> KeySlot:
        """The stored slot, empty if there is none of this name."""
        return await self._records.load(key_of(name), KeySlot)

    def turn(self, name: str) -> asyncio.Lock:
        """Changes of one key that depend on what it is take turns: two rotations make two versions."""
        return self._turns.setdefault(name, asyncio.Lock())

    async def set_enabled(self, name: str, owner: str, enabled: bool, message_id: str) -> KeyView:
        """Enable or disable a key of ``owner``."""
        operation = "enable-key" if enabled else "disable-key"
        async with self._records.refusals(operation, owner, name):
            slot = await self.slot(name)
            if slot.owner != owner or owner == PLATFORM_OWNER:
                raise UnknownKeyError(name)
            audit = self._records.entry(operation, owner=owner, key=name)
            event = KeyEnabled(audit) if enabled else KeyDisabled(audit)
            view = await self._records.change(
                key_of(name), event, message_id=message_id, request=(operation, owner)
            )
        return key_view_of(view)

    async def platform_key(
        self, name: str, key_type: str = "ed25519", operations: tuple[str, ...] = DEFAULT_OPERATIONS
    ) -> KeySlot:
        """One of the HSM's own keys, drawn at its first use.

        Returns before the entry is durable: the audit trail itself needs such a key to open.
        """
        async with self._drawing:
            slot = await self.slot(name)
            if slot.phase is SlotPhase.EMPTY:
                plan = KeyPlan(name, key_type, PLATFORM_OWNER, operations)
                with await self.drawn(plan.key_type, plan.owner) as private_key:
                    event = self._creation(plan, private_key, "create-key")
                await self._records.engine.handle(key_of(name), event, message_id=self._records.fresh_id())
                slot = await self.slot(name)
        return slot

    def check_kept(self, slot: KeySlot) -> None:
        """Return if the key is kept where this HSM keeps keys; raise `NotSupportedError`."""
        self._vault.check_kept(slot)

    def signing_key(self, slot: KeySlot) -> SigningKey:
        """The newest version of a slot, ready to sign in this process."""
        return self._vault.signing_key(slot)

    def audit_keys(self, slot: KeySlot) -> AuditKeys:
        """What the audit trail needs of the slot that signs for it."""
        return self._vault.audit_keys(slot)

    def open_version(self, slot: KeySlot, version: KeyVersion) -> Secret:
        """The private key of one version; the caller wipes it."""
        return self._vault.unwrap(slot, version)

    async def parcel_keys(self, name: str, owner: str) -> list[ParcelKey]:
        """The usable versions of a key in the clear, for the parcel of a session of ``owner``."""
        slot = await self.slot(name)
        check_use(slot, owner)
        first = slot.minimum_version if slot.policy.every_version else slot.versions[-1].version
        encrypting = slot.minimum_encryption_version or first
        found = []
        for each in slot.versions:
            if each.version >= slot.minimum_version:
                with self._vault.unwrap(slot, each) as private_key:
                    found.append(
                        ParcelKey(
                            name,
                            slot.key_type,
                            each.version,
                            slot.operations,
                            each.public_key,
                            private_key.reveal(),
                            slot.policy,
                            each.version >= encrypting,
                        )
                    )
        return found

    async def _stored(
        self, plan: KeyPlan, private_key: Secret, operation: str, message_id: str, request: object
    ) -> Reply:
        event = self._creation(plan, private_key, operation)
        key = key_of(plan.name)
        try:
            if plan.policy.derived:  # not every backend derives
                convergent = plan.policy.convergent
                self._algorithms.load_family(plan.key_type, private_key, convergent=convergent).wipe()
            return await self._records.change(key, event, message_id=message_id, request=request)
        except REFUSALS:  # by the rules: nothing was stored
            self._algorithms.discard(private_key)
            raise

    def _creation(self, plan: KeyPlan, private_key: Secret, operation: str) -> KeyCreated:
        blank = KeySlot(
            plan.name,
            key_type=plan.key_type,
            owner=plan.owner,
            operations=plan.operations,
            policy=plan.policy,
        )
        first = self._vault.wrap(blank, 1, private_key, self._records.clock.now_unix_ms())
        audit = self._records.entry(
            operation, owner=plan.owner, key=plan.name, key_version=1, algorithm=plan.key_type
        )
        return KeyCreated(plan.key_type, plan.owner, plan.operations, first, audit, plan.policy)


def key_view_of(reply: object) -> KeyView:
    """The answer of a key's change."""
    if not isinstance(reply, KeyView):
        raise TypeError(f"a key's change was answered with {type(reply).__name__}")
    return reply


def _check_foreign(plan: KeyPlan) -> KeyPlan:
    """The plan of a key from outside, as ours has it; raise `InvalidInputError`."""
    plan = check_plan(plan)
    if plan.policy.counter_nonces:  # taken in twice, or used elsewhere, it would count the same ones again
        raise InvalidInputError("counter_nonces", "a key from outside draws its nonces")
    return plan
