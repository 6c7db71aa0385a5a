"""What the code imports is what `pyproject.toml` declares, not what another package happens to bring."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {"anya_actors", "tests", "benchmarks"}


def declared(*extras: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = [*project["dependencies"]]
    for extra in extras:
        requirements += project["optional-dependencies"][extra]
    return {canonical(re.split(r"[\[<>=!~; ]", requirement)[0]) for requirement in requirements}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: str) -> dict[str, str]:
    """Each foreign top-level package, with one module that imports it."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            found.update((name.split(".")[0], str(path.relative_to(ROOT))) for name in names)
    return {name: path for name, path in found.items() if name not in sys.stdlib_module_names | OURS}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("anya_actors", ("cluster", "pkcs11")),
        ("tests", ("cluster", "pkcs11", "dev")),
        ("benchmarks", ("cluster", "pkcs11", "dev")),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    providers = importlib.metadata.packages_distributions()
    known = declared(*extras)
    if folder == "anya_actors":
        known |= {"pytest"}  # the plugin is imported by pytest alone
    undeclared = {
        name: path
        for name, path in imported(folder).items()
        if not {canonical(each) for each in providers.get(name, ["?"])} & known
    }
    assert not undeclared


def test_everything_declared_is_pinned() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {canonical(line.partition("==")[0]) for line in lines if "==" in line}
    assert declared("cluster", "dev") - pinned == set()
