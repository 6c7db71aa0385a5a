"""The supervision tree of the platform, from its settings."""

from __future__ import annotations

from functools import partial

from anya_actors.actors.bitcoin import BitcoinActor
from anya_actors.actors.bitcoin_node import BitcoinNodeActor
from anya_actors.actors.hsm import HsmActor
from anya_actors.actors.hsm_session import HsmSessionActor
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.bootstrap.builders import (
    BitcoinBuilder,
    BitcoinNodeBuilder,
    HsmBuilder,
    HsmSessionBuilder,
    warm_up,
)
from anya_actors.bootstrap.stores import open_stores
from anya_actors.config import Settings
from anya_actors.coordinator.health import HealthPolicy
from anya_actors.coordinator.kinds import Kind
from anya_actors.coordinator.root import Plan
from anya_actors.domain.supervision.spec import ChildSpec, Restart, SupervisorSpec

SESSIONS = "hsm-sessions"
NODE_START_TIMEOUT_S = 3600.0
HSM_CALLERS = 10  # mailboxes' worth: whatever any session does, the HSM records
"""After a crash the node judges every block of its journal again: cut short, it would do so for ever."""


def plan_of(settings: Settings) -> Plan:
    """Kinds, tree and limits. The children under each supervisor depend on nobody's restart."""
    supervision = settings.supervision
    supervisor = partial(
        SupervisorSpec, intensity=supervision.max_restarts, period_s=supervision.restart_period_s
    )
    child = partial(
        ChildSpec, start_timeout_s=supervision.start_timeout_s, stop_timeout_s=supervision.stop_timeout_s
    )
    node_start_timeout_s = max(supervision.start_timeout_s, NODE_START_TIMEOUT_S)
    node = child("bitcoin-node/main", start_timeout_s=node_start_timeout_s)
    chain = [node] if settings.bitcoin.embedded else []
    tree = supervisor(
        "root",
        children=(
            supervisor("security", children=(child("hsm/main"), supervisor(SESSIONS))),
            supervisor("chain", children=(*chain, child("bitcoin/main", critical=True))),
        ),
    )
    return Plan(
        tree=tree,
        kinds={kind.name: kind for kind in _kinds(settings)},
        stores=partial(open_stores, settings),
        clock=SystemClock,
        randomness=SystemRandomness,
        health=HealthPolicy(interval_s=supervision.health_interval_s, timeout_s=supervision.health_timeout_s),
        settings=settings.to_public(),
        warm_up=partial(warm_up, settings.log),
    )


def _kinds(settings: Settings) -> list[Kind]:
    supervision = settings.supervision
    kind = partial(
        Kind,
        mailbox_limit=supervision.mailbox_limit,
        start_timeout_s=supervision.start_timeout_s,
    )
    kinds = [
        kind(
            "hsm",
            HsmActor,
            HsmBuilder(settings),
            pinned=True,  # its audit trail is a file
            mailbox_limit=HSM_CALLERS * supervision.mailbox_limit,
        ),
        kind(
            "hsm-session",
            HsmSessionActor,
            HsmSessionBuilder(settings.hsm),
            supervisor=SESSIONS,
            # Those of token holders, those of actors, and those that are over and not yet gone.
            most_active=3 * settings.hsm.max_sessions,
            # Its keys go with its process and no successor gets them: a restart would be for nothing.
            restart=Restart.TEMPORARY,
            idle_timeout_s=settings.hsm.session_idle_timeout_s,
            warm=settings.hsm.warm_sessions,
        ),
        kind("bitcoin", BitcoinActor, BitcoinBuilder(settings)),
    ]
    if settings.bitcoin.embedded:
        builder = BitcoinNodeBuilder(settings)
        timeout_s = max(supervision.start_timeout_s, NODE_START_TIMEOUT_S)
        kinds.append(kind("bitcoin-node", BitcoinNodeActor, builder, pinned=True, start_timeout_s=timeout_s))
    return kinds
