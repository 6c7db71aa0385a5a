"""No code that handles secrets compares one by ``==``: its time would tell how many bytes agree."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

import anya_actors

PACKAGE: Final = Path(anya_actors.__file__).parent
HANDLING: Final = (
    "domain/hsm",
    "domain/keys",
    "adapters/keys",
    "adapters/sealing",
    "services/hsm",
    "services/hsm_session",
    "services/tokens.py",
    "serve",
)
NAMES: Final = re.compile(
    r"(^|_)(mac|tag|secret|passphrase|password|token|private_key|digest|authorization|credential|seed)s?$"
)
WRITTEN_OTHERWISE: Final = {"buffer", "decode", "encode", "hex", "reveal"}


def name_of(node: ast.expr) -> str:
    """What the compared value is called, in whichever form of it."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    if isinstance(node, ast.Attribute):
        return name_of(node.value) if node.attr in WRITTEN_OTHERWISE else node.attr
    return node.id if isinstance(node, ast.Name) else ""


def comparisons(source: str) -> list[str]:
    """Every ``==`` and ``!=`` between something called like a secret and something not written there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
            sides = [node.left, *node.comparators]
            known = any(isinstance(side, ast.Constant) for side in sides)
            if not known and any(NAMES.search(name_of(side)) for side in sides):
                found.append(ast.unparse(node))
    return found


def test_the_search_finds_what_it_is_for() -> None:
    for wrong in ("mac == found", "given != self._secret.reveal()", "a[:16] == expected_tag[:16]"):
        assert comparisons(wrong) == [wrong]
    assert comparisons("hmac.compare_digest(mac, found) and token_type == kind and tag == 3") == []


def test_secrets_are_compared_by_libraries_alone() -> None:
    files = [file for place in HANDLING for file in (PACKAGE / place).rglob("*.py")]
    files += [PACKAGE / place for place in HANDLING if place.endswith(".py")]
    assert len(files) > 100
    found = {str(file): comparisons(file.read_text("utf-8")) for file in files}
    assert {file: lines for file, lines in found.items() if lines} == {}
