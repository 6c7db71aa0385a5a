"""`docs/settings.md` tells of every setting, with the default that it has."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from anya_actors.config import Settings, load_settings

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z_0-9.]+)` \| (\S+) \| \S", re.MULTILINE)

# Defaults that depend on where the platform runs; the document says on what.
PLACES = {"data_dir", "hsm.passphrase_file"}


def documented() -> dict[str, str]:
    rows = ROW.findall((ROOT / "docs" / "settings.md").read_text("utf-8"))
    return {key: default.strip("`") for key, default in rows}


def defaults(folder: Path) -> dict[str, str]:
    settings = load_settings(flags={"data_dir": folder}, environ={"XDG_CONFIG_HOME": str(folder)})
    found: dict[str, str] = {}
    for name, value in msgspec.structs.asdict(settings).items():
        section = msgspec.structs.asdict(value) if isinstance(value, msgspec.Struct) else {"": value}
        found |= {f"{name}.{key}".rstrip("."): str(one) for key, one in section.items()}
    return {key: "–" if value == "None" else value for key, value in found.items()}


def test_every_setting_is_documented_and_no_other(tmp_path: Path) -> None:
    assert list(documented()) == list(defaults(tmp_path))


def test_every_default_is_the_documented_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told, found = documented(), defaults(tmp_path)
    assert {key: told[key] for key in told.keys() - PLACES} == {
        key: found[key] for key in found.keys() - PLACES
    }


def test_the_documented_data_directory_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings: Settings = load_settings(environ={})
    assert documented()["data_dir"].replace("~", str(tmp_path)) == str(settings.data_dir)
    assert settings.passphrase_file == settings.data_dir / "hsm" / "passphrase"
