"""``anya up`` over an HSM that was sealed: it comes up, without a token, unless it is told to unseal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anya_actors.bootstrap.addresses import Addresses
from anya_actors.cli.api_client import admin_client
from anya_actors.cli.faults import NoAdminTokenError
from anya_actors.cli.instance import write_private
from anya_actors.cli.up import Launcher
from anya_actors.config import Settings, load_settings
from anya_actors.domain.hsm.errors import SealedError
from anya_actors.domain.machine import AnyaError
from tests.unit.cli.test_launching import record


class SealedPlatform:
    """Makes tokens once it is unsealed."""

    addresses = Addresses(api="http://127.0.0.1:1")

    def __init__(self) -> None:
        self.sealed = True

    async def issue_token(self, subject: str, scopes: tuple[str, ...], ttl_s: int) -> str:
        if self.sealed:
            raise SealedError("by admin")
        return f"{subject} {scopes} {ttl_s}"

    async def unseal(self) -> None:
        self.sealed = False

    async def wait_failed(self) -> AnyaError:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError


class Stages:
    """A `Progress` that remembers."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, str]] = []

    def stage(self, name: str, text: str) -> None:
        self.stages.append((name, text))

    def ready(self, addresses: Addresses, facts: dict[str, Any]) -> None:
        raise NotImplementedError

    def failed(self, error: AnyaError) -> None:
        raise NotImplementedError


async def never_started(*_: object) -> Any:
    raise NotImplementedError


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = load_settings(flags={"data_dir": tmp_path}, environ={"XDG_CONFIG_HOME": str(tmp_path)})
    found.run_dir.mkdir()
    return found


async def test_a_sealed_hsm_lets_the_platform_come_up_and_says_how_to_unseal(settings: Settings) -> None:
    progress = Stages()
    await Launcher(settings, progress, never_started)._first_admin_token(SealedPlatform())
    (stage,) = progress.stages
    assert stage[0] == "sealed"
    assert "anya up --unseal" in stage[1]
    assert not (settings.run_dir / "admin-token").exists()


async def test_a_start_that_unseals_makes_its_token(settings: Settings) -> None:
    progress = Stages()
    await Launcher(settings, progress, never_started, unseal=True)._first_admin_token(SealedPlatform())
    assert progress.stages == []
    assert (settings.run_dir / "admin-token").exists()


def test_commands_without_a_token_are_told_that_the_hsm_is_sealed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = settings.run_dir / "admin-token"
    found = record(phase="ready", admin_token_file=str(file), addresses=SealedPlatform.addresses)
    monkeypatch.setattr("anya_actors.cli.api_client.running", lambda _: found)
    with pytest.raises(NoAdminTokenError, match="anya up --unseal"), admin_client(settings):
        pass
    write_private(file, b"token")
    with admin_client(settings) as client:
        assert client.url == "http://127.0.0.1:1"
