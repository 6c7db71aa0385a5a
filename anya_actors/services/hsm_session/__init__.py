"""One HSM session: a process of its own that holds the keys it was opened for, and no others."""

from anya_actors.services.hsm_session.service import HsmSessionService

__all__ = ["HsmSessionService"]
