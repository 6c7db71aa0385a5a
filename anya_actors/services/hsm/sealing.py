"""Whether the HSM is open: it comes to life, is sealed and unsealed, given new keys and passphrases."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import structlog

from anya_actors.domain.hsm.errors import AlteredKeyError, SealedError
from anya_actors.domain.hsm.machine import ROOT, SESSIONS, key_of
from anya_actors.domain.hsm.root import (
    Root,
    RootInitialised,
    RootRekeyed,
    RootResealed,
    RootSealed,
    RootUnsealed,
    Seal,
)
from anya_actors.domain.hsm.sessions import SessionClosed, SessionTable
from anya_actors.domain.hsm.slots import PLATFORM_OWNER, KeySlot
from anya_actors.domain.hsm.views import KeyView, SealView
from anya_actors.domain.machine import AnyaError, IllegalTransitionError
from anya_actors.ports.actors import Actors
from anya_actors.ports.key_algorithms import KeyAlgorithms
from anya_actors.ports.sealing import Recipient, SealedBoxes
from anya_actors.services.durable import IdempotencyConflictError
from anya_actors.services.hsm.checkpoints import Checkpoints
from anya_actors.services.hsm.endings import ProcessEndings
from anya_actors.services.hsm.keys import KeyRing
from anya_actors.services.hsm.records import AuditedRecords
from anya_actors.services.hsm.rewrapping import Rewrapping
from anya_actors.services.hsm.root_keys import RootKeys
from anya_actors.services.hsm.rotations import Rotations
from anya_actors.services.hsm.sessions import SessionDesk
from anya_actors.services.hsm.settings import HsmSettings
from anya_actors.services.hsm.vault import Vault

API_KEY: Final = "api-jwt"
CHECKPOINT_KEY: Final = "audit-checkpoint"
END_TIMEOUT_S: Final = 2.0
LOOK_S: Final = 10.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """What is there while the HSM is unsealed, and only then."""

    vault: Vault
    transport: Recipient
    ring: KeyRing
    desk: SessionDesk
    rewrapping: Rewrapping
    rotations: Rotations

    def wipe(self) -> None:
        """Forget every key."""
        self.rewrapping.stop()
        self.rotations.stop()
        self.vault.wipe()
        self.transport.wipe()


class Sealing:
    """Holds what is open. Sealing wipes it before anything else is done, whatever fails after.

    Sealed, the audit trail goes on: entries are taken, read and verified, by a public key that the
    unsealing then proves; checkpoints wait, and entries have no tag. So while it is stored that the HSM is
    sealed the newest checkpoint demands none: one that does not is stored before, one that does after.
    One use case at a time, but sealing waits for none.
    """

    def __init__(
        self,
        *,
        records: AuditedRecords,
        checkpoints: Checkpoints,
        root_keys: RootKeys,
        boxes: SealedBoxes,
        algorithms: KeyAlgorithms,
        endings: ProcessEndings,
        actors: Actors | None,
        settings: HsmSettings,
        rotate: Callable[[KeyView], Awaitable[KeyView]],
    ) -> None:
        self._records = records
        self._checkpoints = checkpoints
        self._root_keys = root_keys
        self._boxes = boxes
        self._algorithms = algorithms
        self._endings = endings
        self._actors = actors
        self._settings = settings
        self._rotate = rotate
        self._opened: Opened | None = None
        self._why = "it has not been started"
        self._alive = False
        self._used_s = 0.0
        self._turn = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    @property
    def opened(self) -> Opened:
        """What is open; raise `SealedError`. Asking for it is a use, which keeps it open."""
        if self._opened is None:
            raise SealedError(self._why)
        self._used_s = self._records.clock.monotonic_s()
        return self._opened

    @property
    def desk(self) -> SessionDesk | None:
        """The desk, if it is open; looking is no use."""
        return None if self._opened is None else self._opened.desk

    def verify_alive(self) -> None:
        """Raise `SealedError` unless it was opened, or found sealed as it was left: that is healthy."""
        if not self._alive:
            raise SealedError(self._why)

    # -- use cases ----------------------------------------------------------------------------

    async def resume(self) -> None:
        """Unseal (or initialise, at the first start), unless it was sealed and never unsealed."""
        root = await self._records.load(ROOT, Root)
        if root.sealed:
            self._why, self._records.trail.sealing = root.sealed, True
            public_key = (await self._checkpoint_slot()).versions[-1].public_key
            await self._records.trail.open(public_key, await self._checkpoints.stored())
            await self._records.engine.resume()
            await self._end_sessions(root.sealed)
            await self._close_sessions(root.sealed)
        else:
            opened = await self._open(root)
            try:
                await self._records.engine.resume()
                await self._records.note(self._records.entry("unseal", owner=PLATFORM_OWNER))
                await opened.desk.close_with_ended_keys()
            except BaseException:
                opened.wipe()
                raise
            self._begin(opened)
        self._alive = True

    async def seal(self, owner: str, reason: str, message_id: str) -> None:
        """Wipe every key from memory, close every session, and stay sealed until `unseal`."""
        if await self._was_unsealed_since(message_id):
            return
        self._wipe(reason)
        async with self._turn:
            self._wipe(reason)  # what was being unsealed
            try:
                await self._end_sessions(reason)
                # Before it is stored that the HSM is sealed: what is then written has no tag.
                self._records.trail.sealing = True
                await self._checkpoints.promise()
                audit = self._records.entry("seal", owner=owner, detail=reason)
                event = RootSealed(reason, audit)
                await self._records.change(ROOT, event, message_id=message_id, request=("seal",))
                await self._close_sessions(reason)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._checkpoints.stop(), self._settings.audit_timeout_s)
            finally:
                self._records.trail.drop_keys()

    async def unseal(self, owner: str, message_id: str) -> None:
        """Read the passphrase and open the keys; raise `WrongPassphraseError`, `PassphraseSourceError`."""
        async with self._turn:
            if self._opened is not None or await self._was_done(message_id, ("unseal",)):
                return
            await self._checkpoints.promise()
            async with self._records.refusals("unseal", owner):
                opened = await self._open(await self._root())
                try:
                    event = RootUnsealed(self._records.entry("unseal", owner=owner))
                    await self._records.change(ROOT, event, message_id=message_id, request=("unseal",))
                except BaseException:
                    opened.wipe()
                    self._records.trail.drop_keys()
                    raise
            self._begin(opened)
            self._records.trail.sealing = False
            try:
                await self._checkpoints.promise()
            except AnyaError as error:  # the next checkpoint says it
                _log.warning("entries without a tag are still allowed", error=str(error))

    async def rekey(self, owner: str, new_master_key: bool, message_id: str) -> None:
        """Wrap keys by a new key-encryption key from now on, and in the background all that there are.

        With ``new_master_key``, under a new master key, which wraps the older ones too until they go.
        """
        request = ("rekey", new_master_key)
        async with self._turn, self._records.refusals("rekey", owner):
            vault = self.opened.vault
            root = await self._root()
            if not await self._was_done(message_id, request):
                seal, keks, kek = await self._root_keys.rekey(root, new_master_key)
                with contextlib.ExitStack() as failing:
                    failing.callback(kek.wipe)
                    audit = self._records.entry(
                        "rekey", owner=owner, detail=f"key-encryption key {keks[-1].version}"
                    )
                    event = RootRekeyed(_seal_of(root), seal, keks, audit)
                    await self._records.change(ROOT, event, message_id=message_id, request=request)
                    vault.add(keks[-1].version, kek)
                    failing.pop_all()
            elif root.keks[-1].version != vault.newest_kek:  # committed, and its answer was lost
                vault.take_over((await self._root_keys.open(root))[0])
            self.opened.rewrapping.start()

    async def change_passphrase(self, owner: str, message_id: str) -> None:
        """Seal the root by the next passphrase of the source, which then takes the present one's place.

        Until it is sealed the present one opens, from then on the next one, wherever it stands.
        """
        request = ("change-passphrase",)
        async with self._turn:
            _ = self.opened
            root = await self._root()
            async with self._records.refusals("change-passphrase", owner):
                if await self._was_done(message_id, request):
                    (await self._root_keys.open(root))[0].wipe()  # adopts it if that was not done
                    return
                seal = await self._root_keys.reseal(root)
                audit = self._records.entry("change-passphrase", owner=owner)
                event = RootResealed(_seal_of(root), seal, audit)
                await self._records.change(ROOT, event, message_id=message_id, request=request)
            await self._root_keys.source.adopt_next()

    async def status(self) -> SealView:
        """What may be known of the root."""
        root = await self._root()
        cost = _seal_of(root).parameters
        return SealView(
            sealed=self._opened is None,
            reason=self._why if self._opened is None else "",
            kek_version=root.keks[-1].version,
            older_keks=len(root.keks) - 1,
            argon2_memory_kib=cost.memory_kib,
            argon2_passes=cost.iterations,
            argon2_lanes=cost.lanes,
            hardening_refused=self._root_keys.hardening.refused,
        )

    async def close(self) -> None:
        """Stop what runs in the background, and wipe."""
        opened, self._alive = self._opened, False
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        self._wipe("it was stopped")
        if opened is not None:
            await opened.rewrapping.close()
            await opened.rotations.close()

    # -- inside -------------------------------------------------------------------------------

    async def _open(self, root: Root) -> Opened:
        vault = await self._unseal(root)
        transport = self._boxes.recipient()
        rewrapping = Rewrapping(self._records, vault, self._turn)
        try:
            ring = KeyRing(self._records, self._algorithms, vault, transport)
            keys = ring.audit_keys(await ring.platform_key(CHECKPOINT_KEY))
            await self._records.trail.open(keys.signer.public_key, await self._checkpoints.stored(), keys)
            if not root.sealed:
                self._records.trail.sealing = False
                await self._checkpoints.promise()
            await ring.platform_key(API_KEY)
        except BaseException:
            vault.wipe()
            transport.wipe()
            self._records.trail.drop_keys()
            raise
        desk = SessionDesk(self._records, ring, self._boxes, self._settings, self._endings, self._actors)
        rotations = Rotations(ring, self._records.clock, self._rotate)
        return Opened(vault, transport, ring, desk, rewrapping, rotations)

    async def _unseal(self, root: Root) -> Vault:
        if root.seal is None:
            seal, kek, vault = await self._root_keys.initialise()
            event: RootInitialised | RootResealed = RootInitialised(seal, kek)
        else:
            vault, better = await self._root_keys.open(root)
            if better is None:
                return vault
            audit = self._records.entry("reseal", owner=PLATFORM_OWNER)
            event = RootResealed(root.seal, better, audit)
        try:
            await self._records.engine.handle(ROOT, event, message_id=self._records.fresh_id())
        except BaseException:
            vault.wipe()
            raise
        return vault

    def _begin(self, opened: Opened) -> None:
        self._opened = opened
        self._used_s = self._records.clock.monotonic_s()
        self._checkpoints.start()
        opened.rewrapping.start()
        opened.rotations.start()
        if self._settings.auto_seal_after_s is not None and self._watch is None:
            self._watch = asyncio.create_task(self._seal_when_idle(self._settings.auto_seal_after_s))

    def _wipe(self, reason: str) -> None:
        opened, self._opened = self._opened, None
        if opened is not None:
            self._why = reason
            opened.wipe()

    async def _close_sessions(self, reason: str) -> None:
        why = f"the HSM is sealed: {reason}"
        await self._records.engine.wait_decided()  # one may have been opened just now
        for each in (await self._records.load(SESSIONS, SessionTable)).sessions:
            audit = self._records.entry("close-session", owner=each.owner, actor=each.actor, outcome=why)
            await self._records.change(SESSIONS, SessionClosed(each.session_id, why, audit))
            self._endings.schedule(each.actor)

    async def _end_sessions(self, reason: str) -> None:
        """Have every session's process forget its keys. None of them answers anything already."""
        actors = self._actors
        if actors is None:
            return

        async def end(actor: str) -> None:
            with contextlib.suppress(AnyaError):  # gone already, or ended with its process soon
                why = f"the HSM is sealed: {reason}"
                await actors.call(actor, "end_session", why, timeout_s=END_TIMEOUT_S)

        sessions = (await self._records.load(SESSIONS, SessionTable)).sessions
        await asyncio.gather(*(end(each.actor) for each in sessions if each.recipient))

    async def _seal_when_idle(self, limit_s: float) -> None:
        clock = self._records.clock
        while True:
            opened = self._opened
            left_s = self._used_s + limit_s - clock.monotonic_s()
            await clock.sleep(left_s if opened is not None and left_s > 0 else LOOK_S)
            if opened is None or opened is not self._opened:
                continue
            try:
                idle = self._used_s + limit_s <= clock.monotonic_s() and not await opened.desk.views()
                if idle and opened is self._opened:
                    await self.seal(PLATFORM_OWNER, f"idle for {limit_s:g} s", self._records.fresh_id())
            except AnyaError as error:
                _log.warning("sealing for want of use is tried again", error=str(error))

    async def _checkpoint_slot(self) -> KeySlot:
        slot = await self._records.load(key_of(CHECKPOINT_KEY), KeySlot)
        if not slot.versions:
            raise AlteredKeyError(CHECKPOINT_KEY, 1)
        return slot

    async def _was_done(self, message_id: str, request: object) -> bool:
        return await self._records.answered(ROOT, message_id, request) is not None

    async def _was_unsealed_since(self, message_id: str) -> bool:
        try:
            sealed = await self._records.engine.answered(ROOT, message_id, ("seal",))
            return sealed is not None and not (await self._root()).sealed
        except IdempotencyConflictError:
            raise
        except AnyaError:  # a store that does not answer keeps no key in memory
            return False

    async def _root(self) -> Root:
        return await self._records.load(ROOT, Root)


def _seal_of(root: Root) -> Seal:
    if root.seal is None:
        raise IllegalTransitionError("an uninitialised HSM", "sealing")
    return root.seal
