"""What the settings become: the tree of actors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from anya_actors.bootstrap.plan import NODE_START_TIMEOUT_S, plan_of
from anya_actors.config import Settings
from anya_actors.domain.supervision.spec import ChildSpec, SupervisorSpec


def _children(spec: SupervisorSpec) -> dict[str, ChildSpec]:
    found: dict[str, ChildSpec] = {}
    for child in spec.children:
        found.update(_children(child) if isinstance(child, SupervisorSpec) else {child.name: child})
    return found


def test_the_node_has_time_to_judge_its_whole_journal_again(tmp_path: Path) -> None:
    # 10,000 blocks took 49 s on two busy cores; others get 60 s, and cut short it would begin for ever.
    plan = plan_of(Settings(data_dir=tmp_path))
    assert _children(plan.tree)["bitcoin-node/main"].start_timeout_s == NODE_START_TIMEOUT_S
    assert plan.kinds["bitcoin-node"].start_timeout_s == NODE_START_TIMEOUT_S
    assert (
        _children(plan.tree)["hsm/main"].start_timeout_s
        == Settings(data_dir=tmp_path).supervision.start_timeout_s
    )


def test_the_plan_loads_nothing_of_what_the_actors_do() -> None:
    program = "import sys, anya_actors.bootstrap.plan; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"anya_actors.services.bitcoin", "anya_actors.services.hsm", "coincurve", "btclib"}
