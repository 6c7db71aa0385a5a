"""What a deployment may choose about its HSM."""

from __future__ import annotations

from dataclasses import dataclass, field

from anya_actors.domain.hsm.root import KdfParameters


@dataclass(frozen=True, slots=True)
class HsmSettings:
    """Costs, limits and names; the defaults are for production."""

    kdf: KdfParameters = field(default_factory=KdfParameters)
    issuer: str = "anya"
    audience: str = "anya-api"
    session_limit: int = 64
    session_idle_timeout_s: int = 15 * 60
    session_absolute_timeout_s: int = 12 * 3600
    audit_timeout_s: float = 10.0
    # A checkpoint follows the entries it covers by at most this long or this many.
    checkpoint_delay_s: float = 5.0
    checkpoint_entries: int = 1024
    # Sealed after so long without any use of a key and without an open session.
    auto_seal_after_s: float | None = None
