"""The HSM and its sessions on a real Ray: processes apart, deaths, and errors that arrive whole."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from anya_actors.domain.hsm.errors import OperationRefusedError, SessionClosedError, UnknownKeyError
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.algorithms import InvalidSignatureError
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.actors import Actors

if TYPE_CHECKING:
    from anya_actors.coordinator.root import Plan

pytestmark = pytest.mark.ray

HSM = "hsm/main"
DIGEST = bytes(range(32))

Run = Callable[["Plan"], Awaitable[Actors]]
Strike = Callable[[Actors, str], Awaitable[int]]


def security_plan(folder: Path) -> Plan:
    """The platform's own plan with nothing but its HSM."""
    from anya_actors.bootstrap.plan import plan_of
    from anya_actors.testing.storm_plan import storm_settings

    plan = plan_of(storm_settings(folder))
    security = tuple(child for child in plan.tree.children if child.name == "security")
    return replace(plan, tree=replace(plan.tree, children=security))


@pytest.fixture
async def actors(run_platform: Run, data_dir: Path) -> Actors:
    return await run_platform(security_plan(data_dir))


async def make(actors: Actors, name: str, *operations: str) -> None:
    arguments = (name, "secp256k1", "alice", operations or ("sign", "verify"))
    await actors.call(HSM, "create_key", *arguments, message_id=f"make {name}")


async def pids(actors: Actors) -> dict[str, int]:
    system = await actors.call("coordinator", "system")
    return {actor.name: actor.pid for actor in system.actors if actor.pid is not None}


async def gone(actors: Actors, name: str) -> None:
    """Return once no such actor lives."""
    system: Any = await actors.call("coordinator", "system")
    while any(actor.name == name for actor in system.actors):
        system = await actors.call(
            "coordinator", "system_after", system.coordinator_epoch, system.version, 5.0
        )


async def test_a_batch_of_python_goes_on_in_a_new_session_when_its_process_is_killed_in_the_middle(
    actors: Actors, kill_actor: Strike
) -> None:
    from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
    from anya_actors.adapters.system.randomness import SystemRandomness
    from anya_actors.services.owned_hsm import OwnedHsm

    hsm = OwnedHsm(actors, "alice", SystemRandomness(), NaclSealedBoxes())
    await hsm.create_key("k", "ed25519")
    messages = [index.to_bytes(4, "big") for index in range(20_000)]
    async with hsm.session("k") as s:
        signing = asyncio.ensure_future(s.sign_batch("k", messages, "ed25519"))
        (first,) = await hsm.sessions()
        await kill_actor(actors, first.actor)
        signatures = await signing
        await s.verify_batch("k", messages, signatures, "ed25519")
        (second,) = await hsm.sessions()
        assert second.session_id != first.session_id
    assert await hsm.sessions() == []
    await gone(actors, second.actor)


async def test_a_session_signs_in_a_process_of_its_own_and_ends_with_it(actors: Actors) -> None:
    await make(actors, "k")
    await make(actors, "readonly", "verify")
    session: SessionView = await actors.call(
        HSM, "open_session", "alice", ("k", "readonly"), message_id="open"
    )
    signature = await actors.call(session.actor, "sign", "k", DIGEST, "ecdsa-secp256k1")
    await actors.call(session.actor, "verify", "k", DIGEST, signature, "ecdsa-secp256k1")
    found = await pids(actors)
    assert len({found[HSM], found[session.actor]}) == 2
    refused: list[tuple[tuple[Any, ...], type[Exception]]] = [
        (("verify", "k", bytes(32), signature, "ecdsa-secp256k1"), InvalidSignatureError),
        (("sign", "readonly", DIGEST, "ecdsa-secp256k1"), OperationRefusedError),
        (("sign", "other", DIGEST, "ecdsa-secp256k1"), UnknownKeyError),
        (("sign", "k", b"short", "ecdsa-secp256k1"), InvalidInputError),
    ]
    for call, error in refused:
        with pytest.raises(error):
            await actors.call(session.actor, *call)
    await actors.call(HSM, "close_session", session.session_id, message_id="close")
    with pytest.raises(SessionClosedError):
        await actors.call(session.actor, "sign", "k", DIGEST, "ecdsa-secp256k1")
    await gone(actors, session.actor)


async def test_signatures_go_on_when_sessions_and_the_hsm_are_killed(
    actors: Actors, kill_actor: Strike
) -> None:
    from anya_actors.adapters.system.randomness import SystemRandomness
    from anya_actors.services.signer import RemoteSigner

    await make(actors, "k")
    signer = RemoteSigner(actors, "alice", SystemRandomness())
    expected = await signer.sign_ecdsa("k", DIGEST)
    (first,) = await actors.call(HSM, "sessions")
    await kill_actor(actors, first.actor)
    assert await signer.sign_ecdsa("k", DIGEST) == expected
    await kill_actor(actors, HSM)
    signed = await asyncio.gather(*(signer.sign_ecdsa("k", DIGEST) for _ in range(20)))
    assert set(signed) == {expected}
    entries = await actors.call(HSM, "audit", 0, 1000)
    assert sum(entry.operation == "sign" and entry.outcome == "ok" for entry in entries) == 22
    assert (await actors.call(HSM, "verify_audit")).entries == len(entries)
    assert len(await actors.call(HSM, "sessions")) == 1
