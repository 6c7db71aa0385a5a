"""The ledger of `anya_actors.testing.ledger` on Ray, and a plan of a platform that has nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anya_actors.actors.shell import DurableActor, served
from anya_actors.adapters.actors.event_bus import ActorsEventBus
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.coordinator.health import HealthPolicy
from anya_actors.coordinator.kinds import Kind
from anya_actors.coordinator.root import Plan
from anya_actors.domain.supervision.spec import ChildSpec, SupervisorSpec
from anya_actors.ports.actors import Actors
from anya_actors.ports.state_store import StateStores
from anya_actors.testing.ledger import Account, FolderWitness, LedgerService


class LedgerActor(DurableActor[LedgerService]):
    """The ledger on Ray."""

    @served
    async def deposit(self, account: str, amount_sat: int, *, message_id: str) -> Account:
        return await self.service.deposit(account, amount_sat, message_id=message_id)

    @served
    async def account(self, account: str) -> Account:
        return await self.service.account(account)

    @served
    async def accounts(self) -> list[str]:
        return await self.service.accounts()

    @served
    async def settled(self, account: str) -> Account:
        return await self.service.settled(account)


@dataclass(frozen=True)
class LedgerBuilder:
    """Builds a ledger on one of ``stores``, its witness under ``folder``."""

    folder: Path
    stores: Callable[[], StateStores]

    async def prepare(self) -> None:
        """Nothing beyond the imports."""

    async def build(self, name: str, actors: Actors) -> tuple[LedgerService, int]:
        store = await self.stores().activate(name)
        witness = FolderWitness(self.folder / "witness")
        service = LedgerService(store, witness, SystemClock(), SystemRandomness(), ActorsEventBus(actors))
        return service, store.epoch


def ledger_plan(
    folder: Path,
    *,
    critical: bool = False,
    health: HealthPolicy | None = None,
    idle_timeout_s: float = 300.0,
    stores: Callable[[], StateStores] | None = None,
) -> Plan:
    """A platform with the warm actor ``ledger/main`` and any other ledger on demand.

    ``stores`` (picklable) opens where everything is kept, by default RocksDB under ``folder``.
    """
    stores = stores or partial(RocksdbStateStores, folder / "state")
    kind = Kind(
        "ledger",
        LedgerActor,
        LedgerBuilder(folder, stores),
        supervisor="ledgers",
        idle_timeout_s=idle_timeout_s,
    )
    main = ChildSpec("ledger/main", critical=critical)
    ledgers = SupervisorSpec("ledgers", intensity=1000, period_s=10.0, children=(main,))
    return Plan(
        tree=SupervisorSpec("root", children=(ledgers,)),
        kinds={"ledger": kind},
        stores=stores,
        clock=SystemClock,
        randomness=SystemRandomness,
        health=health or HealthPolicy(),
    )
