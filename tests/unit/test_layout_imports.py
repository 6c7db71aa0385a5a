"""Who may import whom: every contract of import-linter is broken here once, and must notice."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CONTRACTS = [contract["name"] for contract in SETTINGS["tool"]["importlinter"]["contracts"]]

# (contract, module that is planted, what it imports)
OFFENCES = [
    ("Layers point downwards", "domain/planted.py", "import anya_actors.ports"),
    ("Layers point downwards", "ports/planted.py", "import anya_actors.services"),
    ("Layers point downwards", "services/planted.py", "import anya_actors.adapters"),
    ("Layers point downwards", "adapters/planted.py", "import anya_actors.services"),
    ("Layers point downwards", "actors/planted.py", "import anya_actors.coordinator"),
    ("Layers point downwards", "serve/planted.py", "import anya_actors.config"),
    ("Layers point downwards", "newcomer/__init__.py", ""),
    ("Only shells know Ray", "services/planted.py", "import ray"),
    ("Only shells know Ray", "adapters/planted.py", "from ray import serve"),
    ("Rules touch nothing outside", "domain/planted.py", "import asyncio"),
    ("Rules touch nothing outside", "domain/planted.py", "from random import randbytes"),
    ("Rules touch nothing outside", "domain/planted.py", "import pydantic"),
    ("Services reach the outside through ports", "services/planted.py", "import time"),
    ("Services reach the outside through ports", "services/planted.py", "from secrets import token_bytes"),
    ("Services reach the outside through ports", "services/planted.py", "import httpx"),
    ("Adapters are chosen in bootstrap alone", "actors/planted.py", "import anya_actors.adapters"),
    ("Adapters are chosen in bootstrap alone", "serve/planted.py", "import anya_actors.adapters"),
    (
        "Layer-2 protocols do not know each other",
        "domain/layer2/planted_one.py",
        "import anya_actors.domain.layer2.planted_other",
    ),
]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package that may be spoiled."""
    root = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    shutil.copytree(ROOT / "anya_actors", root / "anya_actors", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", root)
    return root


@contextlib.contextmanager
def planted(tree: Path, module: str, statement: str) -> Iterator[None]:
    """The tree with one more module, which imports what it may not, and what that names."""
    package = tree / "anya_actors"
    before = set(package.rglob("*"))
    path = package / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{statement}\n", "utf-8")
    for folder in (path.parent, *path.parent.parents):
        if folder == package:
            break
        (folder / "__init__.py").touch()
    (path.parent / "planted_other.py").touch()
    yield
    for new in sorted(set(package.rglob("*")) - before, reverse=True):
        new.rmdir() if new.is_dir() else new.unlink()


def lint(tree: Path) -> tuple[int, str]:
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    answer = subprocess.run(
        [sys.executable, "-c", program, "--no-logo"],
        cwd=tree,
        env=os.environ | {"PYTHONPATH": str(tree), "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return answer.returncode, answer.stdout + answer.stderr


def test_the_package_keeps_every_contract(tree: Path) -> None:
    status, report = lint(tree)
    assert status == 0, report
    for contract in CONTRACTS:
        assert f"{contract} KEPT" in report


@pytest.mark.parametrize(("contract", "module", "statement"), OFFENCES)
def test_a_forbidden_import_breaks_its_contract(
    tree: Path, contract: str, module: str, statement: str
) -> None:
    with planted(tree, module, statement):
        status, report = lint(tree)
    assert status != 0
    assert f"{contract} BROKEN" in report, report


def test_every_contract_is_broken_by_some_test() -> None:
    assert {contract for contract, _, _ in OFFENCES} == set(CONTRACTS)
