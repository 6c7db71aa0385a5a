"""The HSM's use cases."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.domain.hsm.audit import OperationRecord, view_of
from anya_actors.domain.hsm.errors import SelfTestError
from anya_actors.domain.hsm.issuer import Grant, TokenIssued, check_ttl
from anya_actors.domain.hsm.machine import ISSUER, key_of
from anya_actors.domain.hsm.metrics import BOUNDS_S, HsmMetricsView
from anya_actors.domain.hsm.slots import KeySlot, check_subject, find_version
from anya_actors.domain.hsm.views import (
    AuditEntryView,
    AuditProofView,
    AuditReport,
    CheckpointView,
    ConsistencyProofView,
    KeyView,
    SealView,
    SessionView,
)
from anya_actors.domain.keys.operations import MAX_RANDOM_BYTES
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.actors import Actors
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.key_algorithms import KeyAlgorithms
from anya_actors.ports.passphrase import PassphraseSource
from anya_actors.ports.process_guard import ProcessGuard
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.sealing import Cipher, PassphraseKdf, SealedBoxes
from anya_actors.ports.state_store import StateStore
from anya_actors.services.hardening import Hardening
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
from anya_actors.services.hsm.root_keys import RootKeys
from anya_actors.services.hsm.rotations import Rotations
from anya_actors.services.hsm.sealing import API_KEY, Opened, Sealing
from anya_actors.services.hsm.self_test import run_self_tests
from anya_actors.services.hsm.sessions import SessionDesk
from anya_actors.services.hsm.settings import HsmSettings
from anya_actors.services.tokens import TokenClaims, check_scopes, public_jwk, sign_token

MAX_PAGE: Final = 1000


class HsmService(KeyCalls, AccessCalls, BackupCalls):
    """Keeps keys under a passphrase, gives them to sessions, audits every use, issues tokens.

    Nothing is answered before its audit entry is durable. `resume` unseals (or initialises, at
    the first start; what was sealed on purpose stays so), tests itself and checks the audit trail;
    it raises `WrongPassphraseError`, `PassphraseSourceError`, `SelfTestError`, `AlteredKeyError` or
    `AuditBrokenError`, and then nothing works. With ``actors``, the processes of sessions that are
    over are ended.
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
        settings: HsmSettings | None = None,
    ) -> None:
        self._settings = settings or HsmSettings()
        self._kdf = kdf
        self._cipher = cipher
        self._algorithms = algorithms
        self._hardening = Hardening(guard)
        self._endings = ProcessEndings(actors, clock)
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
        self._sealing = Sealing(
            records=self._records,
            checkpoints=self._checkpoints,
            root_keys=RootKeys(
                passphrase, self._settings.kdf, kdf, cipher, algorithms, self._hardening, randomness
            ),
            boxes=boxes,
            algorithms=algorithms,
            endings=self._endings,
            actors=actors,
            settings=self._settings,
            rotate=self._rotate_by_policy,
        )
        self._failure: SelfTestError | None = None

    # -- life ---------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Come to life: harden, test, unseal, open the audit trail, finish what was owed."""
        self._hardening.harden()
        await run_self_tests(self._algorithms, self._cipher, self._kdf)
        await self._sealing.resume()

    async def check_health(self) -> None:
        """Return if healthy, sealed too; raise `FencedError`, `SelfTestError` or `UnavailableError`."""
        await self._records.engine.check_health()
        self._trail.verify_writable()
        self._verify_alive()

    async def close(self) -> None:
        """Sign for the audit trail, forget the keys, release store and log."""
        await self._sealing.close()
        try:
            await self._checkpoints.close()
        finally:
            await self._endings.close()
            await self._records.engine.close()
            await self._trail.close()

    # -- the seal -----------------------------------------------------------------------------

    async def seal_status(self) -> SealView:
        """Whether the HSM is sealed."""
        return await self._sealing.status()

    async def seal(self, owner: str, *, message_id: str) -> SealView:
        """Wipe every key from memory and close every session, until someone unseals.

        Every call then raises `SealedError` but those of the seal, the audit trail and `jwks`.
        """
        await self._sealing.seal(owner, f"by {owner}", message_id)
        return await self._sealing.status()

    async def unseal(self, owner: str, *, message_id: str) -> SealView:
        """Read the passphrase again and serve.

        Raises `WrongPassphraseError`, `PassphraseSourceError`, `AlteredKeyError`.
        """
        await self._sealing.unseal(owner, message_id)
        return await self._sealing.status()

    async def rekey(self, owner: str, new_master_key: bool = False, *, message_id: str) -> SealView:
        """Wrap every key by a new key-encryption key, under a new master key if wanted; nothing stops.

        Reads the passphrase; raises what `unseal` raises, and `SealedError`.
        """
        await self._sealing.rekey(owner, new_master_key, message_id)
        return await self._sealing.status()

    async def change_passphrase(self, owner: str, *, message_id: str) -> SealView:
        """Be unsealed by the passphrase that waits beside the present one; raises what `rekey` raises."""
        await self._sealing.change_passphrase(owner, message_id)
        return await self._sealing.status()

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

    async def random_bytes(self, owner: str, length: int) -> bytes:
        """Unpredictable bytes, at most 64 KiB, that no session is needed for."""
        if not 1 <= length <= MAX_RANDOM_BYTES:
            raise InvalidInputError("length", f"choose 1 to {MAX_RANDOM_BYTES} bytes")
        _ = self._opened
        async with self._records.refusals("random", owner):
            await self._records.note(self._records.entry("random", owner=owner))
        return self._records.randomness.token_bytes(length)

    async def metrics(self, owner: str | None = None, by_key: bool = True) -> HsmMetricsView:
        """What was counted since this process came to life, of one owner's keys or of all.

        Without ``by_key`` sums that name no key. It answers also while the HSM is sealed.
        """
        counted = self._records.metrics
        desk = self._sealing.desk
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
        self._verify_alive()  # sealed too: tokens still verify
        slot = await self._records.load(key_of(API_KEY), KeySlot)
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

    def _verify_alive(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._sealing.verify_alive()

    @property
    def _opened(self) -> Opened:
        if self._failure is not None:
            raise self._failure
        return self._sealing.opened

    @property
    def _life(self) -> KeyLife:
        opened = self._opened
        return KeyLife(self._records, self._algorithms, opened.vault, opened.ring)

    @property
    def _keys(self) -> KeyRing:
        return self._opened.ring

    @property
    def _backups(self) -> Backups:
        opened = self._opened
        return Backups(self._records, opened.vault, opened.ring)

    @property
    def _rotations(self) -> Rotations:
        return self._opened.rotations

    @property
    def _desk(self) -> SessionDesk:
        return self._opened.desk
