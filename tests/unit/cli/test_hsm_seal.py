"""``anya hsm seal`` and the like ask the API; the next passphrase is prepared where the HSM reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from anya_actors.adapters.files.secret_file import SecretFileError
from anya_actors.adapters.sealing.passphrase_file import PassphraseFile
from anya_actors.adapters.sealing.share_directory import ShareDirectory
from anya_actors.cli.hsm import app
from anya_actors.cli.passphrase import ensure_passphrase, prepare_passphrase
from anya_actors.cli.remote import Remote
from anya_actors.config import Settings, load_settings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []

    def post(_: Remote, path: str, body: object, **__: object) -> Any:
        found.append((path, body))
        return {"sealed": False}

    monkeypatch.setattr(Remote, "post", post)
    return found


@pytest.mark.parametrize(
    ("command", "path", "body"),
    [
        (["seal"], "seal", {}),
        (["unseal"], "unseal", {}),
        (["rekey"], "rekey", {"new_master_key": False}),
        (["rekey", "--master"], "rekey", {"new_master_key": True}),
    ],
)
def test_each_command_asks_its_route(
    asked: list[tuple[str, object]], command: list[str], path: str, body: object
) -> None:
    answer = CliRunner().invoke(app, [*command, "--json"])
    assert answer.exit_code == 0, answer.output
    assert asked == [(f"/api/v1/security/{path}", body)]


def settings_with(tmp_path: Path, **hsm: object) -> Settings:
    flags = {"data_dir": str(tmp_path), **{f"hsm.{name}": str(value) for name, value in hsm.items()}}
    return load_settings(flags=flags, environ={})


async def test_a_next_passphrase_is_drawn_beside_the_file_and_one_of_ones_own_is_kept(tmp_path: Path) -> None:
    settings = settings_with(tmp_path)
    ensure_passphrase(settings)
    source = PassphraseFile(settings.passphrase_file)
    path = prepare_passphrase(settings, 3, 5)
    assert path.stat().st_mode & 0o777 == 0o600
    with await source.read() as now, await source.read_next() as following:
        assert now.reveal() != following.reveal()
    path.write_bytes(b"my own")
    prepare_passphrase(settings, 3, 5)
    with await source.read_next() as following:
        assert following.reveal() == b"my own"
    path.chmod(0o644)
    with pytest.raises(SecretFileError, match="others may read it"):
        prepare_passphrase(settings, 3, 5)


async def test_with_shares_the_next_passphrase_is_split_into_a_directory_of_its_own(tmp_path: Path) -> None:
    settings = settings_with(tmp_path, share_directory=tmp_path / "shares")
    path = prepare_passphrase(settings, 2, 3)
    assert sorted(file.name for file in path.iterdir()) == ["1.share", "2.share", "3.share"]
    (path / "1.share").unlink()
    with await ShareDirectory(tmp_path / "shares").read_next() as following:
        assert len(following) == 43
