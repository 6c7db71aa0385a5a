"""Ray for one platform: on this machine with settings for small ones, or a cluster that is there."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import resource
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from anya_actors.bootstrap.ray_environment import NAMESPACE, NO_IDLE_WORKERS, RAY_ENVIRONMENT
from anya_actors.cli.faults import RayBootError
from anya_actors.cli.instance import write_private
from anya_actors.cli.processes import MARKER, TEMPORARY_PREFIX
from anya_actors.config import Settings

ATTEMPTS: Final = 3
_OPEN_FILES: Final = 65_536

# Ray's own spelling. Workers are started when actors need them, not in advance.
# Metrics would be served to all interfaces without a token.
_LOCAL: Final = {
    **NO_IDLE_WORKERS,
    "RAY_enable_metrics_collection": "0",
}

# Unix sockets below Ray's directory have names of up to 107 bytes, so it cannot lie in the data
# directory, whose path may be long.
_SHORT_PLACES: Final = ("/tmp", "/var/tmp")  # noqa: S108 - mkdtemp makes a private directory there


def make_temporary_directory() -> Path:
    """A private directory with a short path, for Ray's sockets and logs."""
    place = next((p for p in _SHORT_PLACES if os.access(p, os.W_OK)), None)
    return Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=place))


def limit_resources() -> None:
    """No core dumps, which could hold keys; as many open files as Ray's many sockets need."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def ray_token_file(settings: Settings) -> Path:
    """The token that opens the platform's own Ray."""
    return settings.run_dir / "ray-token"


def prepare_environment(settings: Settings, instance: str) -> None:
    """Set what Ray reads when it is imported and what every process of the platform inherits."""
    token = ray_token_file(settings)
    if not token.exists():
        write_private(token, secrets.token_hex(32).encode())
    os.environ.update(
        {
            MARKER: instance,
            # Ray's workers name themselves in `ps`; they must not write over the mark to do it.
            "SPT_NOENV": "1",
            **RAY_ENVIRONMENT,
        }
    )
    if settings.ray.address == "local":
        # Ray's own ports listen on all interfaces and unpickle what they get: a token guards them.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
        os.environ.update(_LOCAL)


def import_ahead() -> None:
    """Import what the start needs next, on another thread: Ray's boot is mostly waiting."""

    def import_all() -> None:
        for module in ("ray.serve", "anya_actors.bootstrap.platform"):
            importlib.import_module(module)

    threading.Thread(target=import_all, daemon=True).start()


def boot_ray(settings: Settings, temp_dir: Path, *, clean_up: Callable[[], object]) -> None:
    """Start or join Ray; on a busy machine a boot can fail, so try again after ``clean_up``.

    Call on the main thread: Ray's processes die with the thread that started them. Raises
    `RayBootError`.
    """
    import ray

    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _idle_servers_left_out() if settings.ray.address == "local" else contextlib.nullcontext():
                ray.init(**_arguments(settings, temp_dir))
        except Exception as error:  # noqa: BLE001 - Ray raises bare Exception, RuntimeError and more
            stop_ray()
            clean_up()
            if attempt == ATTEMPTS:
                raise RayBootError(ATTEMPTS, str(error).split("\n", 1)[0]) from None
        else:
            return


def ray_address() -> str:
    """Where other programs join the Ray that this process is connected to."""
    import ray

    return str(ray.get_runtime_context().gcs_address)


def stop_ray() -> None:
    """Leave Ray; a Ray of our own ends with it. No error if it was never reached."""
    shutdown = getattr(sys.modules.get("ray"), "shutdown", None)
    if shutdown is not None:  # an interrupted import leaves half a module
        with contextlib.suppress(Exception):
            shutdown()


@contextlib.contextmanager
def _idle_servers_left_out() -> Iterator[None]:
    """Leave out Ray's autoscaler, log monitor and dashboard server: nobody asks them here.

    `ray.init` has no switch for them; they cost 3 s of CPU at the boot and 200 MiB for ever (ADR 13).
    The two methods of Ray that start them are replaced, if this Ray has them.
    """
    from ray._private import ray_constants
    from ray._private.node import Node

    def start_no_dashboard(node: Any, **_: Any) -> None:
        node._webui_url = ""
        # Runs before the node's other processes are started, so what they are told can be set here.
        node._ray_params.include_log_monitor = False
        # Ray's fixed port is free for one Ray of a machine; the second would wait 3.4 s for it in vain.
        node._ray_params.dashboard_agent_listen_port = 0
        # The agent asks for this address every second until it has one. Nobody can listen on port 0.
        address, namespace = ray_constants.DASHBOARD_ADDRESS, ray_constants.KV_NAMESPACE_DASHBOARD
        node.get_gcs_client().internal_kv_put(address.encode(), b"http://127.0.0.1:0", True, namespace)

    stand_ins = {"start_monitor": lambda node: None, "start_api_server": start_no_dashboard}
    kept = {name: getattr(Node, name) for name in stand_ins if hasattr(Node, name)}
    for name in kept:
        setattr(Node, name, stand_ins[name])
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def _arguments(settings: Settings, temp_dir: Path) -> dict[str, Any]:
    shared: dict[str, Any] = {
        "address": settings.ray.address,
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": logging.ERROR,
    }
    if settings.ray.address != "local":
        return shared
    return shared | {
        "num_cpus": settings.ray.num_cpus,
        "object_store_memory": settings.ray.object_store_bytes,
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "_temp_dir": str(temp_dir),
    }
