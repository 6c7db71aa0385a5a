"""The official vectors; a test that needs an absent file is skipped by its name."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("ANYA_VECTORS", Path(__file__).parents[4] / ".." / "shared" / "vectors"))


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Read the JSON file of this name, or the rows of this CSV file; or skip."""

    def read(name: str) -> Any:
        path = FOLDER / "bitcoin" / name
        if not path.exists():
            pytest.skip(f"no vectors {path.name}; set ANYA_VECTORS")
        if path.suffix == ".csv":
            with path.open(newline="") as file:
                return list(csv.DictReader(file))
        return json.loads(path.read_text())

    return read
