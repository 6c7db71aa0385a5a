"""The rules of `anya_actors/domain/ruff.toml` notice what import-linter cannot see."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BANNED = [
    "import time\n\nNOW = time.time()\n",
    "from time import monotonic\n\nNOW = monotonic()\n",
    "import datetime\n\nNOW = datetime.datetime.now(datetime.UTC)\n",
    "from datetime import date\n\nNOW = date.today()\n",
    "import uuid\n\nNAME = uuid.uuid4()\n",
    "from random import randbytes\n\nNAME = randbytes(4)\n",
    "import os\n\nNAME = os.urandom(4)\n",
]


def banned_in(folder: Path, source: str) -> list[str]:
    (folder / "planted.py").write_text(source, "utf-8")
    answer = subprocess.run(
        [Path(sys.executable).with_name("ruff"), "check", "--no-cache", "--output-format", "concise", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode in (0, 1), answer.stderr
    return [line for line in answer.stdout.splitlines() if "TID251" in line]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    (root / "anya_actors" / "domain").mkdir(parents=True)
    (root / "anya_actors" / "services").mkdir()
    shutil.copy(ROOT / "pyproject.toml", root)
    shutil.copy(ROOT / "anya_actors" / "domain" / "ruff.toml", root / "anya_actors" / "domain")
    return root / "anya_actors"


@pytest.mark.parametrize("source", BANNED)
def test_a_clock_or_a_dice_in_a_rule_is_noticed(package: Path, source: str) -> None:
    assert banned_in(package / "domain", source)


def test_hashing_and_given_times_are_allowed_in_rules(package: Path) -> None:
    source = "import datetime\nimport hashlib\n\nDAY = datetime.timedelta(days=1)\nHASH = hashlib.sha256\n"
    assert not banned_in(package / "domain", source)


def test_the_bans_hold_for_rules_alone(package: Path) -> None:
    assert not banned_in(package / "services", "import os\n\nNAME = os.name\n")
