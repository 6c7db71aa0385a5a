"""The software HSM: seals and keeps keys, opens sessions, audits, issues tokens."""

from anya_actors.services.hsm.service import HsmService
from anya_actors.services.hsm.settings import HsmSettings

__all__ = ["HsmService", "HsmSettings"]
