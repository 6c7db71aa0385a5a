"""A file is replaced whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anya_actors.serve.replaced_file import replace_file


def test_a_replaced_file_is_whole_private_and_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")
    file.chmod(0o644)
    replace_file(file, b"new content", fresh=tmp_path / "fresh")
    assert file.read_bytes() == b"new content"
    assert file.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_what_cannot_be_written_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    file = tmp_path / "file"
    file.write_bytes(b"old")
    monkeypatch.setattr(os if call == "fsync" else Path, call, fail)
    with pytest.raises(OSError, match="Input/output"):
        replace_file(file, b"new", fresh=tmp_path / "fresh")
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
