"""What the launcher holds before anything is started: directory, port, passphrase, record."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import psutil
import pytest

from anya_actors.adapters.files.secret_file import SecretFileError, read_secret_file
from anya_actors.cli.faults import (
    EXIT_CODES,
    DataDirectoryError,
    DataDirectoryLockedError,
    MissingPassphraseError,
)
from anya_actors.cli.instance import DataDirectory, Record, read_record, record_file, write_private
from anya_actors.cli.passphrase import ensure_passphrase
from anya_actors.cli.processes import clear_temporary
from anya_actors.cli.ray_boot import make_temporary_directory
from anya_actors.config import Settings, load_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(flags={"data_dir": tmp_path / "data"}, environ={"XDG_CONFIG_HOME": str(tmp_path)})


def record(**changes: object) -> Record:
    facts: dict[str, object] = {
        "instance": "nobody-has-this-mark",
        "pid": os.getpid(),
        "started_unix_s": psutil.Process().create_time(),
        "phase": "starting",
        "temp_dir": "/nowhere/else",
        "log_dir": "/nowhere/log",
        "admin_token_file": "/nowhere/token",
    }
    return Record(**(facts | changes))  # type: ignore[arg-type]  # the test changes one fact at a time


def test_the_data_directory_is_private(settings: Settings) -> None:
    with DataDirectory(settings):
        assert settings.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_second_platform_is_refused_and_told_whose_directory_it_is(settings: Settings) -> None:
    with DataDirectory(settings), pytest.raises(DataDirectoryLockedError) as caught:
        DataDirectory(settings).__enter__()
    assert caught.value.args == (str(settings.data_dir), os.getpid())


def test_a_directory_given_back_can_be_taken_again(settings: Settings) -> None:
    with DataDirectory(settings) as held:
        held.write(record())
        assert read_record(settings.data_dir) == record()
    assert read_record(settings.data_dir) is None
    with DataDirectory(settings):
        pass


def test_a_directory_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = load_settings(flags={"data_dir": tmp_path / "file" / "data"}, environ={})
    with pytest.raises(DataDirectoryError, match="Not a directory"):
        DataDirectory(settings).__enter__()


def test_a_damaged_record_is_no_record(settings: Settings) -> None:
    path = record_file(settings.data_dir)
    path.parent.mkdir(parents=True)
    path.write_text("{")
    assert read_record(settings.data_dir) is None
    with DataDirectory(settings):
        pass


def test_a_record_does_not_name_a_stranger_that_got_its_pid(settings: Settings) -> None:
    assert record().launcher() == psutil.Process()
    assert record(started_unix_s=1.0).launcher() is None


def test_a_passphrase_is_made_once_and_only_its_owner_can_read_it(settings: Settings) -> None:
    assert ensure_passphrase(settings)
    first = read_secret_file(settings.passphrase_file).reveal()
    assert len(base64.urlsafe_b64decode(first + "=")) == 32
    assert len(first) >= 32
    assert not ensure_passphrase(settings)
    assert read_secret_file(settings.passphrase_file).reveal() == first


def test_a_passphrase_is_not_made_anew_for_what_was_sealed_with_another(settings: Settings) -> None:
    settings.state_dir.mkdir(parents=True)
    with pytest.raises(MissingPassphraseError):
        ensure_passphrase(settings)


def test_no_passphrase_is_missed_where_its_shares_are(settings: Settings) -> None:
    settings.state_dir.mkdir(parents=True)
    settings.shares_beside.mkdir(parents=True)
    assert not ensure_passphrase(settings)


def test_a_new_passphrase_is_on_disk_before_anything_is_sealed_with_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file's name is in its folder: without that on disk too, a power failure takes every key.
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((target, settings.passphrase_file.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    ensure_passphrase(settings)
    assert synced[-1] == (str(settings.passphrase_file.parent.resolve()), True)


def test_a_passphrase_that_others_can_read_is_refused(settings: Settings) -> None:
    ensure_passphrase(settings)
    settings.passphrase_file.chmod(0o640)
    with pytest.raises(SecretFileError, match="others may read it"):
        ensure_passphrase(settings)


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    for content in (b"one", b"two"):
        write_private(tmp_path / "secret", content)
    assert (tmp_path / "secret").read_bytes() == b"two"
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 1


def test_only_directories_of_ours_are_removed(tmp_path: Path) -> None:
    ours, other = tmp_path / "anya-1", tmp_path / "other"
    for path in (ours, other):
        (path / "session_2026" / "logs").mkdir(parents=True)
        clear_temporary(path, tmp_path / "log")
    assert not ours.exists()
    assert other.exists()
    assert (tmp_path / "log").is_dir()


def test_ray_sockets_have_short_names() -> None:
    # sun_path of unix(7) has 108 bytes; Ray adds about 75 to its directory.
    path = make_temporary_directory()
    try:
        assert len(str(path)) <= 30
        assert path.stat().st_mode & 0o777 == 0o700
    finally:
        path.rmdir()


def test_exit_codes_stay_clear_of_the_general_ones() -> None:
    assert not {0, 1, 2} & set(EXIT_CODES.values())
