"""One Ray for a whole test session, and several nodes for the tests that need them."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

from anya_actors.bootstrap.ray_environment import NAMESPACE, NO_IDLE_WORKERS, RAY_ENVIRONMENT

BOOT_ATTEMPTS = 3

# Small and closed: no dashboard, no worker before it is needed, token authentication on.
ENVIRONMENT = {**RAY_ENVIRONMENT, **NO_IDLE_WORKERS, "RAY_AUTH_MODE": "token"}
NODE_LOSS_IS_SEEN_SOON = {
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 500,
    "health_check_failure_threshold": 3,
}


class SharedRay:
    """Boots Ray when the first test asks for it; `stop` ends it and removes its files."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._cluster: Any = None

    def ensure(self) -> None:
        """Ray runs on this machine when this returns."""
        import ray

        if self._cluster is not None:
            self.stop()
        if ray.is_initialized():
            return
        for attempt in range(1, BOOT_ATTEMPTS + 1):
            folder = self._prepare()
            try:
                ray.init(
                    address="local",
                    num_cpus=2,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=128 * 1024 * 1024,
                    namespace=NAMESPACE,
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(folder),
                )
            except Exception:  # Ray raises bare Exception when a busy machine is too slow for it
                self.stop()
                if attempt == BOOT_ATTEMPTS:
                    raise
            else:
                return

    def ensure_cluster(self) -> Any:
        """A `ray.cluster_utils.Cluster` with a head of no CPUs; add nodes with ``add_node``."""
        import ray
        from ray.cluster_utils import Cluster

        self.stop()
        self._prepare()
        self._cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "_system_config": NODE_LOSS_IS_SEEN_SOON},
        )
        ray.init(
            address=self._cluster.address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
        return self._cluster

    def stop(self) -> None:
        """End Ray and remove what it left."""
        import ray

        ray.shutdown()
        if self._cluster is not None:
            self._cluster.shutdown()
            self._cluster = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _prepare(self) -> Path:
        # Short, because Unix sockets lie below it.
        self._folder = Path(tempfile.mkdtemp(prefix="anya-test-"))
        return self._folder


def prepare_environment(folder: Path) -> None:
    """Set what Ray reads when it is imported, once and for all; a token of its own in ``folder``."""
    token = folder / "ray-token"
    token.touch(mode=0o600)
    token.write_text(secrets.token_hex(32))
    os.environ.update(ENVIRONMENT, RAY_AUTH_TOKEN_PATH=str(token))
