"""How the supervision tree is drawn."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from anya_actors.cli.status import tree_table, walk

TREE: dict[str, Any] = {
    "name": "root",
    "strategy": "one_for_one",
    "children": [
        {"name": "chain", "strategy": "rest_for_one", "children": ["node/main", "bitcoin/main"]},
        "hsm/main",
    ],
}


def actor(name: str, **changes: Any) -> dict[str, Any]:
    facts = {"name": name, "status": "running", "pid": 7, "epoch": 2, "restarts": 0}
    return facts | {"critical": False, "standby": False} | changes


def test_a_tree_is_walked_from_the_root_downwards() -> None:
    assert list(walk(TREE)) == [
        (0, "root", "one_for_one"),
        (1, "chain", "rest_for_one"),
        (2, "node/main", ""),
        (2, "bitcoin/main", ""),
        (1, "hsm/main", ""),
    ]


def test_an_actor_stands_under_its_supervisor_with_what_is_known_of_it() -> None:
    actors = [
        actor("node/main", status="waiting", pid=None, epoch=None, restarts=3),
        actor("bitcoin/main", critical=True, standby=True),
        actor("hsm/main"),
    ]
    console = Console(width=80, record=True, quiet=True)
    with console.capture() as drawn:
        console.quiet = False
        console.print(tree_table({"tree": TREE, "actors": actors}))
    lines = [line.split() for line in drawn.get().splitlines()]
    assert lines[0] == ["Actor", "Status", "Pid", "Epoch", "Restarts"]
    assert lines[3] == ["node/main", "waiting", "-", "-", "3"]
    assert lines[4] == ["bitcoin/main", "*", "+", "running", "7", "2", "0"]
