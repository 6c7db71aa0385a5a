"""The platform's own plan with ledgers added, and limits that a storm of kills does not reach."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from anya_actors.bootstrap.plan import plan_of
from anya_actors.config import Settings, load_settings
from anya_actors.coordinator.root import Plan
from anya_actors.domain.supervision.spec import SupervisorSpec
from anya_actors.testing.ledger_actor import ledger_plan

MANY = 100_000


def storm_settings(folder: Path) -> Settings:
    """A platform in ``folder``, its HSM sealed at the lowest cost that the settings allow."""
    settings = load_settings(
        flags={
            "data_dir": str(folder),
            "hsm.argon2_memory_kib": 19 * 1024,
            "hsm.argon2_passes": 1,
            "supervision.max_restarts": MANY,
        },
        environ={},
    )
    settings.passphrase_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not settings.passphrase_file.exists():
        settings.passphrase_file.touch(mode=0o600)
        settings.passphrase_file.write_text(secrets.token_hex(16))
    return settings


def storm_plan(folder: Path) -> Plan:
    """All that the platform has, and ledgers on demand under a supervisor of their own."""
    plan = plan_of(storm_settings(folder))
    ledgers = SupervisorSpec("ledgers", intensity=MANY, period_s=60.0)
    tree = replace(plan.tree, children=(*plan.tree.children, ledgers))
    return replace(plan, tree=tree, kinds={**plan.kinds, **ledger_plan(folder).kinds})
