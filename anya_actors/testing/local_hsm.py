"""A whole HSM in one process, without Ray: for tests of what needs keys, and of the HSM itself."""

from __future__ import annotations

from typing import ClassVar, Final

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.passphrase import GivenPassphrase
from anya_actors.adapters.memory.process_guard import RecordingGuard
from anya_actors.adapters.memory.state_store import MemoryStateStores
from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
from anya_actors.adapters.sealing.argon2 import Argon2Kdf
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.root import KdfParameters
from anya_actors.domain.keys.algorithms import RSA_BITS
from anya_actors.domain.keys.secret import Secret
from anya_actors.ports.append_log import AppendLog
from anya_actors.ports.clock import Clock
from anya_actors.ports.key_algorithms import KeyAlgorithms
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.state_store import StateStores
from anya_actors.services.hsm import HsmService, HsmSettings
from anya_actors.services.hsm_session import HsmSessionService
from anya_actors.services.owned_hsm import OwnedHsm
from anya_actors.services.signer import RemoteSigner
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_actors import LocalActors

CHEAP: Final = KdfParameters(memory_kib=32, iterations=1, lanes=1)
"""For tests only: a passphrase under this is found in no time."""


class OneRsaKey(LibraryKeyAlgorithms):
    """For tests only: each size of RSA key is drawn once in a process, for that may take seconds."""

    _drawn: ClassVar[dict[str, bytes]] = {}

    def generate(self, key_type: str) -> Secret:
        """A private key; of an RSA type, the one and only."""
        if key_type not in RSA_BITS:
            return super().generate(key_type)
        if key_type not in self._drawn:
            self._drawn[key_type] = super().generate(key_type).reveal()
        return Secret(self._drawn[key_type])


class LocalHsm:
    """``hsm/main`` and its sessions over parts that a test may replace or keep across a crash.

    `start` brings the HSM to life, again after `kill`, which leaves store and log as they are.
    """

    def __init__(
        self,
        *,
        stores: StateStores | None = None,
        log: AppendLog | None = None,
        clock: Clock | None = None,
        randomness: Randomness | None = None,
        passphrase: bytes = b"a passphrase of a test",
        settings: HsmSettings | None = None,
        algorithms: KeyAlgorithms | None = None,
    ) -> None:
        self.stores = stores or MemoryStateStores()
        self.log = MemoryAppendLog() if log is None else log  # an empty log is falsy
        self.clock = clock or ManualClock()
        self.randomness = randomness or SystemRandomness()
        self.source = GivenPassphrase(passphrase)
        self.settings = settings or HsmSettings(kdf=CHEAP)
        self.algorithms: KeyAlgorithms = algorithms or OneRsaKey(self.randomness)
        self.guard = RecordingGuard()
        self.actors = LocalActors(kinds={"hsm-session": self.session})
        self._alive: list[HsmService | HsmSessionService] = []

    async def start(self) -> HsmService:
        """Unseal an HSM over the present store and log and let it be ``hsm/main``."""
        service = HsmService(
            store=await self.stores.activate("hsm/main"),
            audit_log=self.log,
            passphrase=self.source,
            kdf=Argon2Kdf(),
            cipher=AesGcmCipher(self.randomness),
            boxes=NaclSealedBoxes(),
            algorithms=self.algorithms,
            guard=self.guard,
            clock=self.clock,
            randomness=self.randomness,
            actors=self.actors,
            settings=self.settings,
        )
        self._alive.append(service)
        await service.resume()
        self.actors.place("hsm/main", service)
        return service

    def session(self, session_id: str) -> HsmSessionService:
        """The service of one session, not yet resumed: what a new process would hold."""
        service = HsmSessionService(
            session_id=session_id,
            actors=self.actors,
            algorithms=self.algorithms,
            boxes=NaclSealedBoxes(),
            guard=self.guard,
            clock=self.clock,
            randomness=self.randomness,
        )
        self._alive.append(service)
        return service

    def signer(self, owner: str) -> RemoteSigner:
        """A signer with the keys of ``owner``."""
        return RemoteSigner(self.actors, owner, self.randomness)

    def owned(self, owner: str) -> OwnedHsm:
        """The HSM as a Python program of ``owner`` uses it."""
        return OwnedHsm(self.actors, owner, self.randomness, NaclSealedBoxes())

    def kill(self, actor: str) -> None:
        """Let the actor be gone; nothing of it is closed."""
        self.actors.remove(actor)

    async def close(self) -> None:
        """Stop everything that was ever started here."""
        alive, self._alive = self._alive, []
        for service in reversed(alive):
            await service.close()
