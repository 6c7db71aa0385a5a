"""What holds of the whole tree: small documented modules, no Ray at import, nothing of one machine."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "anya_actors"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Folders whose tests may import Ray, and the files that a test session shares.
RAY_TESTS = ("actors", "cluster", "e2e", "integration")

# Longer than 400 lines for a reason that stands beside it.
LONG_MODULES: dict[str, str] = {}

# Functions that bear the names of somebody else's interface, who documents them.
DOCUMENTED_ELSEWHERE = {"anya_actors/serve/bitcoin_rpc/methods": "Bitcoin Core's JSON-RPC methods"}

REQUIRED = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "GLOSSARY.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "anya_actors/actors",
    "anya_actors/coordinator",
    "anya_actors/serve",
    "benchmarks",
    "cluster.yaml",
    "constraints.txt",
    "docs/adr",
    "newsfragments",
    "pyproject.toml",
    "tests",
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def names(paths: list[Path]) -> list[str]:
    return [name(path) for path in paths]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def imported(tree: ast.Module) -> set[str]:
    """The top-level packages that a module imports when it is itself imported."""
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", REQUIRED)
def test_what_the_layout_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("module", MODULES, ids=names(MODULES))
def test_a_module_says_what_it_is_for(module: Path) -> None:
    tree = parsed(module)
    if tree.body:
        assert ast.get_docstring(tree)


def speaks_for_itself(node: ast.stmt) -> bool:
    """Whether it is private, or a function so short that its name and signature say it all."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name.startswith("_") or (node.end_lineno or 0) - node.body[0].lineno < 6
    return not isinstance(node, ast.ClassDef) or node.name.startswith("_")


@pytest.mark.parametrize("module", MODULES, ids=names(MODULES))
def test_what_a_module_offers_is_documented(module: Path) -> None:
    documentable = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    undocumented = [
        node.name
        for node in parsed(module).body
        if isinstance(node, documentable) and not speaks_for_itself(node) and not ast.get_docstring(node)
    ]
    if name(module.parent) not in DOCUMENTED_ELSEWHERE:
        assert not undocumented


@pytest.mark.parametrize("module", MODULES, ids=names(MODULES))
def test_a_module_fits_in_the_head(module: Path) -> None:
    lines = len(module.read_text("utf-8").splitlines())
    assert lines < 400 or name(module) in LONG_MODULES


@pytest.mark.parametrize("module", MODULES, ids=names(MODULES))
def test_a_body_fits_on_a_screen(module: Path) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [
        f"{node.name}: {node.end_lineno - node.body[0].lineno}"
        for node in ast.walk(parsed(module))
        if isinstance(node, functions)
        and node.end_lineno is not None
        and node.end_lineno - node.body[0].lineno >= 40
    ]
    assert not long


@pytest.mark.parametrize("module", TESTS, ids=names(TESTS))
def test_only_tests_of_running_actors_import_ray(module: Path) -> None:
    if module.relative_to(ROOT / "tests").parts[0] not in RAY_TESTS:
        assert "ray" not in imported(parsed(module))


@pytest.mark.parametrize("package", ["anya_actors", "anya_actors.testing.pytest_plugin"])
def test_importing_the_package_does_not_import_ray(package: str) -> None:
    program = f"import {package}, sys; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, cwd=ROOT)


def tracked_lines_with(*patterns: str) -> list[str]:
    git = ["git", "-c", f"safe.directory={ROOT}", "grep", "-I", "-n", "-E"]
    for pattern in patterns:
        git += ["-e", pattern]
    # This file must name what it looks for; dots in brackets keep the patterns from finding it.
    answer = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, timeout=60)
    if answer.returncode > 1:
        pytest.skip(f"not a git working tree: {answer.stderr.strip()}")
    return answer.stdout.splitlines()


def test_no_tracked_file_names_a_package_registry() -> None:
    hosts = [
        "pypi[.]org",
        "pythonhosted[.]org",
        "npmjs[.]",
        "crates[.]io",
        "deb[.]debian[.]",
        "proxy[.]golang",
    ]
    assert tracked_lines_with(*hosts) == []


def test_no_tracked_file_names_a_folder_of_one_machine() -> None:
    assert tracked_lines_with("(^|[^[:alnum:]_.])/(work|root|home)/[a-z.]") == []


def test_the_constraints_pin_every_dependency_exactly() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    for pin in pins:
        assert len(pin.split("==")) == 2, pin
    assert pins == sorted(pins, key=str.lower)
