"""`cluster.yaml` is one that `ray up` accepts, and starts the platform with the cluster's settings."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from anya_actors.config import load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "cluster.yaml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def prepared(cluster: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of the file before it calls the first machine."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    complete: dict[str, Any] = prepare_config(cluster)
    validate_config(complete)
    return complete


def start_commands(cluster: dict[str, Any]) -> list[str]:
    return [*cluster["head_start_ray_commands"], *cluster["worker_start_ray_commands"]]


def test_ray_accepts_it(prepared: dict[str, Any]) -> None:
    assert prepared["provider"]["type"] == "local"
    assert prepared["available_node_types"]["local.cluster.node"]["min_workers"] == 2


def test_rays_schema_does_refuse_what_it_does_not_know(cluster: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config({**cluster, "head_start_commands": []}))


def test_what_it_copies_to_the_machines_is_there(cluster: dict[str, Any]) -> None:
    for local in cluster["file_mounts"].values():
        assert (ROOT / local).is_dir()


def test_every_command_is_sound_bash(cluster: dict[str, Any]) -> None:
    for command in [*cluster["setup_commands"], *start_commands(cluster)]:
        subprocess.run(["bash", "-n", "-c", command], check=True, timeout=10)


def test_every_ray_is_started_with_its_token(cluster: dict[str, Any]) -> None:
    starting = [c for c in start_commands(cluster) if "ray start" in c or "anya up" in c]
    assert len(starting) == 3
    for command in starting:
        assert "RAY_AUTH_MODE=token" in command
        assert "RAY_AUTH_TOKEN_PATH=~/anya-cluster/ray-token" in command


def test_the_dashboard_stays_on_loopback(cluster: dict[str, Any]) -> None:
    assert any("--dashboard-host=127.0.0.1" in command for command in start_commands(cluster))


def test_the_mounted_settings_are_those_of_a_cluster() -> None:
    folder = ROOT / "examples" / "cluster"
    settings = load_settings(config_file=folder / "anya.toml", environ={})
    assert settings.ray.address == "auto"
    assert settings.store.kind == "postgresql"
    assert settings.store.dsn_file == folder / "postgresql.dsn"
    assert settings.passphrase_file == folder / "passphrase"
    assert settings.api.replicas == 2


def test_the_secrets_of_a_cluster_cannot_be_committed() -> None:
    ignored = (ROOT / "examples" / "cluster" / ".gitignore").read_text("utf-8").split()
    assert {"ray-token", "passphrase", "postgresql.dsn", "bitcoin-password"} <= set(ignored)


def test_the_secrets_travel_in_their_own_folder_alone(cluster: dict[str, Any]) -> None:
    assert "/examples/cluster" in cluster["rsync_exclude"]
    # A filter file would also hold back the secrets from the folder that is to carry them.
    assert "rsync_filter" not in cluster
