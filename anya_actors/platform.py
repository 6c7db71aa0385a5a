"""A running platform from Python: join its Ray, call its actors, use its HSM.

    import anya_actors.platform

    async with anya_actors.platform.connect() as platform:
        await platform.hsm.create_key("invoices", "ed25519")
        async with platform.hsm.session("invoices") as s:
            signature = await s.sign("invoices", b"message", "ed25519")

It stands above the command line because it finds a platform as commands do, by the files of its data
directory, and chooses adapters as `bootstrap` does. Nothing of the platform imports it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from anya_actors.bootstrap.ray_environment import INSIDE_CALLS, NAMESPACE
from anya_actors.cli.faults import StillStartingError
from anya_actors.cli.instance import running
from anya_actors.config import load_settings
from anya_actors.domain.machine import AnyaError

if TYPE_CHECKING:
    from anya_actors.ports.actors import Actors
    from anya_actors.services.owned_hsm import OwnedHsm

ADMIN: Final = "admin"
"""The subject of the command line's own token: what `anya hsm` makes is there in Python, and back."""
REACH_TIMEOUT_S: Final = 5.0


class RayUnreachableError(AnyaError):
    """The platform's Ray does not let this process in."""

    code = "ray-unreachable"
    message = "Ray at {} cannot be joined: {}"
    remedy = "Check the address, Ray's token (RAY_AUTH_TOKEN_PATH) and that Ray's versions are the same."

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(address, reason)


class OtherRayError(AnyaError):
    """This process is connected to another Ray, and it can be connected to one."""

    code = "other-ray"
    message = "this process is connected to the Ray at {}, the platform runs on the one at {}"
    remedy = "Call ray.shutdown() before, or connect from a process of its own."

    def __init__(self, present: str, wanted: str) -> None:
        super().__init__(present, wanted)


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform: its HSM for one owner, and every actor by its name."""

    hsm: OwnedHsm
    actors: Actors


@contextlib.asynccontextmanager
async def connect(
    data_dir: str | os.PathLike[str] | None = None, *, ray_address: str | None = None, owner: str = ADMIN
) -> AsyncIterator[Platform]:
    """The platform that runs on a data directory of this machine, or in the Ray at ``ray_address``.

    Without either it is the one of the directory that `anya up` would take; inside Ray (a task, an
    actor, after `ray.init`), the one of that Ray. A Ray elsewhere takes its token from
    ``RAY_AUTH_TOKEN_PATH``. Keys and sessions are those of ``owner``.

    Ray lets in whoever has its token, and then trusts them with everything: ``owner`` keeps the keys of
    several programs apart, it does not keep a program out (SECURITY.md).

    Raises `NotRunningError`, `StillStartingError`, `RayUnreachableError` and `OtherRayError`.
    """
    async with _joined(None if data_dir is None else Path(data_dir), ray_address):
        # Not before: they import Ray, which reads its environment then.
        from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
        from anya_actors.adapters.system.randomness import SystemRandomness
        from anya_actors.coordinator.client import RayActors
        from anya_actors.services.owned_hsm import OwnedHsm

        actors = RayActors(NAMESPACE)
        with contextlib.closing(actors):
            yield Platform(OwnedHsm(actors, owner, SystemRandomness(), NaclSealedBoxes()), actors)


_users = 0
_ours = False


@contextlib.asynccontextmanager
async def _joined(data_dir: Path | None, ray_address: str | None) -> AsyncIterator[None]:
    """This process is connected to Ray; the last to leave disconnects it, if it was us who did connect."""
    global _users, _ours
    address, token = ray_address, None
    if address is None and (data_dir is not None or not _connected()):
        address, token = _find(data_dir)
    if _connected():
        _check_same(address)
    elif address is not None:
        await _check_reachable(address)
        _join(address, token)
        _ours = True
    _users += 1
    try:
        yield
    finally:
        _users -= 1
        if _users == 0 and _ours:
            _ours = False
            importlib.import_module("ray").shutdown()


def _connected() -> bool:
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _find(data_dir: Path | None) -> tuple[str, str | None]:
    """Where the Ray of a data directory's platform is, and the file of its token."""
    settings = load_settings(flags={"data_dir": data_dir})
    record = running(settings)
    if record.ray_address is None:
        raise StillStartingError(str(settings.data_dir))
    return record.ray_address, record.ray_token_file


def _check_same(address: str | None) -> None:
    import ray

    present = str(ray.get_runtime_context().gcs_address)
    if address not in (None, present):
        raise OtherRayError(present, str(address))


async def _check_reachable(address: str) -> None:
    """Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(REACH_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, int(port))
    except (OSError, ValueError, TimeoutError) as error:
        raise RayUnreachableError(address, str(error) or "nobody answers") from None
    writer.close()


def _join(address: str, token: str | None) -> None:
    os.environ.update(INSIDE_CALLS)
    if token is not None:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=token)
        if "ray" in sys.modules:  # it has read its environment already
            importlib.import_module("ray._raylet").Config.initialize("")
    import ray

    try:
        ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise RayUnreachableError(address, str(error).split("\n", 1)[0]) from None
