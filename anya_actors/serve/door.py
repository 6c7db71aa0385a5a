"""The door as a Ray Serve deployment.

Serve keeps the replicas: it starts, counts, health-checks and replaces them. Requests never pass
through Serve: each replica listens with its own uvicorn on a port that all share (ADR 0004:
Serve's proxy costs 20 to 50 times what uvicorn does).
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Final

from anya_actors.serve.errors import DoorNotDeployedError
from anya_actors.serve.server import BuildApp, DoorServer
from anya_actors.serve.settings import Listen

APPLICATION: Final = "api"
DEPLOYMENT: Final = "http"
# A replica that dies is noticed at the next of these.
LOOK_EVERY_S: Final = 0.1
HEALTH_PERIOD_S: Final = 1.0
HEALTH_TIMEOUT_S: Final = 10.0
START_ATTEMPTS: Final = 2
_ERROR_LINE = re.compile(r"[\w.]+(Error|Exception): (?!Traceback)")


class HttpDoor:
    """One replica. A plain class; `deploy` makes a deployment of it.

    ``build`` makes the application; it runs in the replica, on the thread that will serve it.
    """

    def __init__(self, build: BuildApp, listen: Listen) -> None:
        self._server = DoorServer(build, listen)
        self._server.start()

    async def check_health(self) -> None:
        """Serve asks; raising has the replica replaced."""
        await self._server.check_health()

    async def address(self) -> tuple[str, int]:
        """Where this replica listens."""
        return self._server.address

    async def __del__(self) -> None:
        # Serve awaits this when it takes the replica away.
        await self._server.drain()


def deploy(build: BuildApp, listen: Listen, *, replicas: int = 1, name: str = APPLICATION) -> None:
    """Start or update the door on the Ray that this process is connected to.

    Blocks until its replicas listen; raises `DoorNotDeployedError`. Reserve the port first
    (`reserve_port`) and hold it. Serve's own proxies are not started, if Ray was booted with
    ``RAY_SERVE_ENABLE_DIRECT_INGRESS=0``.
    """
    from ray import serve

    serve.start(proxy_location="Disabled", logging_config={"enable_access_log": False})
    deployment = serve.deployment(
        name=DEPLOYMENT,
        num_replicas=replicas,
        max_constructor_retry_count=START_ATTEMPTS,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=HEALTH_TIMEOUT_S,
        graceful_shutdown_timeout_s=listen.drain_s + 10.0,
        graceful_shutdown_wait_loop_s=0.1,
    )(HttpDoor)
    target = serve.RunTarget(deployment.bind(build, listen), name=name, route_prefix=None)
    serve.run_many([target], wait_for_applications_running=False)
    _wait_running(name)


def _wait_running(name: str) -> None:
    """As `serve.run` waits, but it looks once a second, and a start is made of such seconds."""
    from ray import serve
    from ray.serve.schema import ApplicationStatus

    while True:
        application = serve.status().applications.get(name)
        if application is not None and application.status == ApplicationStatus.RUNNING:
            return
        if application is not None and application.status == ApplicationStatus.DEPLOY_FAILED:
            raise DoorNotDeployedError(_cause(name) or application.message)
        time.sleep(LOOK_EVERY_S)


async def undeploy(name: str = APPLICATION) -> None:
    """Drain and stop the door. No error if there is none."""
    from ray import serve

    await asyncio.to_thread(serve.delete, name)


def _cause(name: str) -> str:
    """What the last replica died of, out of the traces that Serve keeps."""
    from ray import serve

    application = serve.status().applications.get(name)
    deployment = None if application is None else application.deployments.get(DEPLOYMENT)
    lines = [] if deployment is None else deployment.message.splitlines()
    # Serve raises the trace as a message of its own, so the first error in it is the first cause.
    causes = [line.strip() for line in lines if _ERROR_LINE.match(line.strip())]
    return causes[0] if causes else ""
