"""The HSM's use cases."""

from __future__ import annotations

from typing import Any, Final

import structlog

from anya_actors.domain.hsm.audit import OperationRecord, view_of
from anya_actors.domain.hsm.errors import SelfTestError
from anya_actors.domain.hsm.issuer import Grant, TokenIssued, check_ttl
from anya_actors.domain.hsm.machine import ISSUER, ROOT
from anya_actors.domain.hsm.metrics import BOUNDS_S, HsmMetricsView
from anya_actors.domain.hsm.root import Root, RootInitialised, RootResealed
from anya_actors.domain.hsm.slots import check_subject, find_version
from anya_actors.domain.hsm.views import (
    AuditEntryView,
    AuditProofView,
    AuditReport,
    CheckpointView,
    ConsistencyProofView,
    KeyView,
    SessionView,
)
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.actors import Actors
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.audit_line import AuditLine
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.key_algorithms import KeyAlgorithms
from anya_actors.ports.passphrase import PassphraseSource
from anya_actors.ports.process_guard import ProcessGuard
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import Cipher, PassphraseKdf, SealedBoxes
from anya_actors.ports.state_store import StateStore
from anya_actors.services.hsm.access import Access
from anya_actors.services.hsm.access_calls import AccessCalls
from anya_actors.services.hsm.audit import AuditTrail
from anya_actors.services.hsm.audit_proofs import AuditProofs
from anya_actors.services.hsm.backups import BackupCalls, Backups
from anya_actors.services.hsm.checkpoints import Checkpoints
from anya_actors.services.hsm.clients import ClientDesk
from anya_actors.services.hsm.endings import ProcessEndings
from anya_actors.services.hsm.key_calls import KeyCalls
from anya_actors.services.hsm.key_life import KeyLife
from anya_actors.services.hsm.keys import KeyRing
from anya_actors.services.hsm.records import AuditedRecords
from anya_actors.services.hsm.rotations import Rotations
from anya_actors.services.hsm.self_test import run_self_tests
from anya_actors.services.hsm.sessions import SessionDesk
from anya_actors.services.hsm.settings import HsmSettings
from anya_actors.services.hsm.vault import Sealer, Vault
from anya_actors.services.tokens import TokenClaims, check_scopes, public_jwk, sign_token

API_KEY: Final = "api-jwt"
CHECKPOINT_KEY: Final = "audit-checkpoint"
MAX_PAGE: Final = 1000
MAX_RANDOM_BYTES: Final = 64 * 1024

_log = structlog.get_logger(__name__)


class HsmService(KeyCalls, AccessCalls, BackupCalls):
    """Keeps keys under a passphrase, gives them to sessions, audits every use, issues tokens.

    Nothing is answered before its audit entry is durable. `resume` unseals (or initialises, at
    the first start), tests itself and checks the audit trail; it raises `WrongPassphraseError`,
    `PassphraseSourceError`, `SelfTestError`, `AlteredKeyError` or `AuditBrokenError`, and then
    nothing works. With ``actors``, the processes of sessions that are over are ended.
    """

    def __init__(
        self,
        *,
        store: StateStore,
        audit_log: AppendLog,
        passphrase: PassphraseSource,
        kdf: PassphraseKdf,
        cipher: Cipher,
        boxes: SealedBoxes,
        algorithms: KeyAlgorithms,
        guard: ProcessGuard,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus | None = None,
        actors: Actors | None = None,
        line: AuditLine | None = None,
        settings: HsmSettings | None = None,
    ) -> None:
        self._settings = settings or HsmSettings()
        self._passphrase = passphrase
        self._kdf = kdf
        self._cipher = cipher
        self._boxes = boxes
        self._algorithms = algorithms
        self._guard = guard
        self._actors = actors
        self._line = line
        self._line_address = ""
        self._endings = ProcessEndings(actors, clock)
        self._sealer = Sealer(kdf, cipher, algorithms, guard, randomness)
        self._trail = AuditTrail(audit_log, clock, algorithms)
        self._records = AuditedRecords(
            store=store,
            trail=self._trail,
            clock=clock,
            randomness=randomness,
            bus=bus,
            audit_timeout_s=self._settings.audit_timeout_s,
            discard=algorithms.discard,
        )
        self._checkpoints = Checkpoints(
            self._records, self._settings.checkpoint_delay_s, self._settings.checkpoint_entries
        )
        self._proofs = AuditProofs(self._trail, self._checkpoints.signed)
        self._access = Access(self._records)
        self._clients = ClientDesk(self._records, self._access)
        self._vault: Vault | None = None
        self._ring: KeyRing | None = None
        self._session_desk: SessionDesk | None = None
        self._rotating: Rotations | None = None
        self._failure: SelfTestError | None = None

    # -- life ---------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Come to life: harden, test, unseal, open the audit trail, finish what was owed."""
        for refused in self._guard.harden():
            _log.warning("hardening was refused", what=refused)
        await run_self_tests(self._algorithms, self._cipher, self._kdf)
        self._vault = await self._unseal()
        self._ring = ring = KeyRing(self._records, self._algorithms, self._vault, self._boxes.recipient())
        signer = ring.signing_key(await ring.platform_key(CHECKPOINT_KEY))
        await self._trail.open(signer, await self._checkpoints.stored())
        await ring.platform_key(API_KEY)
        await self._records.engine.resume()
        await self._records.note(self._records.entry("unseal", owner="hsm"))
        self._checkpoints.start()
        desk = SessionDesk(self._records, ring, self._boxes, self._settings, self._endings, self._actors)
        await desk.close_with_disabled_keys()
        self._session_desk = desk
        self._rotating = Rotations(ring, self._records.clock, self._rotate_by_policy)
        self._rotating.start()
        if self._line is not None:
            self._line_address = await self._line.open(self.append_audit)

    async def check_health(self) -> None:
        """Return if healthy; raise `FencedError`, `SelfTestError` or `UnavailableError`."""
        await self._records.engine.check_health()
        self._trail.verify_writable()
        if self._failure is not None:
            raise self._failure
        _ = self._desk

    async def close(self) -> None:
        """Sign for the audit trail, forget the keys, release store and log."""
        if self._line is not None:
            self._line.close()
        try:
            await self._checkpoints.close()
        finally:
            if self._rotating is not None:
                await self._rotating.close()
            self._session_desk = None
            await self._endings.close()
            await self._records.engine.close()
            await self._trail.close()
            if self._vault is not None:
                self._vault.wipe()

    # -- sessions -----------------------------------------------------------------------------

    async def open_session(self, owner: str, keys: tuple[str, ...], *, message_id: str) -> SessionView:
        """Open a session of ``owner`` for these keys; its actor is served by its own process.

        Raises `InvalidInputError`, `UnknownKeyError`, `OperationRefusedError`, `SessionLimitError`.
        """
        return await self._desk.open(owner, tuple(keys), message_id)

    async def sessions(self) -> list[SessionView]:
        """Every open session, oldest first."""
        return await self._desk.views()

    async def close_session(self, session_id: str, *, message_id: str) -> None:
        """Close a session: its next operation, and any not yet answered, is refused."""
        await self._desk.close(session_id, "closed on request", message_id)

    async def extend_session(self, session_id: str, keys: tuple[str, ...], *, message_id: str) -> SessionView:
        """Open the session for more keys of its owner; its process fetches them when it needs them.

        Raises what `open_session` raises, and `SessionClosedError`.
        """
        return await self._desk.extend(session_id, tuple(keys), message_id)

    async def release_keys(
        self, session_id: str, recipient_public_key: bytes, keys: tuple[str, ...] = ()
    ) -> bytes:
        """For the session's own process: its keys, in a box that only that process can open.

        All of them, or those of ``keys`` that the session is open for, else `UnknownKeyError`. Given
        to one recipient. A second one ends the session with an alert (`SessionClosedError`).
        """
        return await self._desk.release(session_id, recipient_public_key, tuple(keys))

    async def append_audit(
        self,
        session_id: str,
        records: tuple[OperationRecord, ...],
        seconds: float = 0.0,
        *,
        message_id: str,
    ) -> None:
        """For sessions: returns when the operations are durable in the audit trail.

        ``seconds`` is what they took together, for `metrics`. Raises `SessionClosedError` if the
        session may not act; then it must not answer.
        """
        await self._desk.append(session_id, tuple(records), seconds, message_id)

    async def audit_line(self) -> str:
        """Where sessions on this machine find the short way to `append_audit`; empty if nowhere."""
        return self._line_address

    async def random_bytes(self, owner: str, length: int) -> bytes:
        """Unpredictable bytes, at most 64 KiB, that no session is needed for."""
        if not 1 <= length <= MAX_RANDOM_BYTES:
            raise InvalidInputError("length", f"choose 1 to {MAX_RANDOM_BYTES} bytes")
        async with self._records.refusals("random", owner):
            await self._records.note(self._records.entry("random", owner=owner))
        return self._records.randomness.token_bytes(length)

    async def metrics(self, owner: str | None = None, by_key: bool = True) -> HsmMetricsView:
        """What was counted since this process came to life, of one owner's keys or of all.

        Without ``by_key`` sums that name no key. It answers also while the HSM is sealed.
        """
        counted = self._records.metrics
        desk = self._session_desk
        return HsmMetricsView(
            since_unix_ms=self._records.began_unix_ms,
            sealed=desk is None,
            open_sessions=0 if desk is None else len(await desk.views()),
            session_limit=self._settings.session_limit,
            audit_entries=self._trail.head.entries,
            audit_waiting=self._trail.waiting,
            audit_commit=self._records.commits.view,
            bucket_bounds_s=BOUNDS_S,
            operations=counted.views(owner) if by_key else counted.sums(),
        )

    # -- audit --------------------------------------------------------------------------------

    async def audit(self, after: int = 0, limit: int = 100) -> list[AuditEntryView]:
        """Up to ``limit`` (at most 1000) entries after a sequence, in order."""
        if after < 0 or not 1 <= limit <= MAX_PAGE:
            raise InvalidInputError("limit", f"choose 1 to {MAX_PAGE}, after a sequence of at least 0")
        return [view_of(entry) for entry in await self._trail.entries(after, limit)]

    async def verify_audit(self) -> AuditReport:
        """Recompute the whole chain; raise `AuditBrokenError`, after publishing an alert.

        The HSM goes on serving: new entries follow the head that it remembers.
        """
        return await self._checkpoints.verify()

    async def audit_checkpoint(self) -> CheckpointView:
        """The HSM's signature for its log as it is now."""
        return await self._proofs.checkpoint()

    async def audit_inclusion(self, sequence: int) -> AuditProofView:
        """Proof that the newest checkpoint signs for an entry; raises `InvalidInputError`."""
        return await self._proofs.inclusion(sequence)

    async def audit_consistency(self, entries: int) -> ConsistencyProofView:
        """Proof that the first ``entries`` entries were not changed since; raises `InvalidInputError`."""
        return await self._proofs.consistency(entries)

    # -- tokens -------------------------------------------------------------------------------

    async def issue_token(self, subject: str, scopes: tuple[str, ...], ttl_s: int, *, message_id: str) -> str:
        """An access token for ``subject``. Repeated with the same message id: the same token."""
        async with self._records.refusals("issue-token", subject, API_KEY, "ed25519"):
            scopes = check_scopes(scopes)
            check_ttl(ttl_s)
            check_subject(subject)
            request = (subject, scopes, ttl_s)
            grant = await self._records.answered(ISSUER, message_id, request)
            if grant is None:
                version = await self._token_key_version()
                now_s = await self._access.issuing_unix_s(subject)
                event = self._grant(subject, scopes, ttl_s, version, now_s)
                grant = await self._records.change(ISSUER, event, message_id=message_id, request=request)
        if not isinstance(grant, Grant):
            raise TypeError(f"a grant was answered with {type(grant).__name__}")
        return await self._token_of(grant)

    async def jwks(self) -> dict[str, Any]:
        """The public keys of the tokens, as a JWK set (RFC 7517)."""
        slot = await self._keys.platform_key(API_KEY)
        usable = [each for each in slot.versions if each.version >= slot.minimum_version]
        return {"keys": [public_jwk(version.public_key) for version in reversed(usable)]}

    async def rotate_token_key(self, revoke: bool = False, *, message_id: str) -> KeyView:
        """Sign tokens by a new key from now on; old tokens hold on, unless ``revoke`` ends them all."""
        view = await self._life.rotate_platform_key(API_KEY, revoke, message_id)
        if revoke:
            await self._access.revoke_name("", API_KEY, f"{message_id}/tokens")
        return view

    def _grant(
        self, subject: str, scopes: tuple[str, ...], ttl_s: int, version: int, now_s: int
    ) -> TokenIssued:
        token_id = self._records.randomness.token_bytes(16).hex()
        audit = self._records.entry("issue-token", owner=subject, key=API_KEY, algorithm="ed25519")
        return TokenIssued(Grant(token_id, subject, scopes, now_s, now_s + ttl_s, version), audit)

    async def _token_key_version(self) -> int:
        return (await self._keys.platform_key(API_KEY)).versions[-1].version

    async def _token_of(self, grant: Grant) -> str:
        slot = await self._keys.platform_key(API_KEY)
        claims = TokenClaims(
            iss=self._settings.issuer,
            aud=self._settings.audience,
            sub=grant.subject,
            scope=" ".join(grant.scopes),
            iat=grant.issued_unix_s,
            exp=grant.expires_unix_s,
            jti=grant.token_id,
            client_id=grant.client_id or grant.subject,
        )
        signing = find_version(slot, grant.key_version)
        with self._keys.open_version(slot, signing) as private_key:
            return sign_token(claims, private_key.reveal(), signing.public_key)

    # -- inside -------------------------------------------------------------------------------

    async def _unseal(self) -> Vault:
        root = await self._records.load(ROOT, Root)
        with await self._passphrase.read() as passphrase:
            if root.seal is None:
                seal, kek, vault = await self._sealer.initialise(passphrase, self._settings.kdf)
                await self._change_root(RootInitialised(seal, kek))
                return vault
            vault, better = await self._sealer.open(root, passphrase, self._settings.kdf)
            if better is not None:
                await self._change_root(RootResealed(better))
        return vault

    async def _change_root(self, event: RootInitialised | RootResealed) -> None:
        await self._records.engine.handle(ROOT, event, message_id=self._records.fresh_id())

    @property
    def _life(self) -> KeyLife:
        ring = self._keys
        if self._vault is None:
            raise UnavailableError("the HSM", "it is sealed")
        return KeyLife(self._records, self._algorithms, self._vault, ring)

    @property
    def _keys(self) -> KeyRing:
        if self._failure is not None:
            raise self._failure
        if self._ring is None:
            raise UnavailableError("the HSM", "it is sealed")
        return self._ring

    @property
    def _backups(self) -> Backups:
        ring = self._keys
        if self._vault is None:
            raise UnavailableError("the HSM", "it is sealed")
        return Backups(self._records, self._vault, ring)

    @property
    def _rotations(self) -> Rotations:
        if self._rotating is None:
            raise UnavailableError("the HSM", "it is sealed")
        return self._rotating

    @property
    def _desk(self) -> SessionDesk:
        if self._failure is not None:
            raise self._failure
        if self._session_desk is None:
            raise UnavailableError("the HSM", "it is sealed")
        return self._session_desk
