"""Sealing, unsealing, rekeying, resealing: crashes at every call of the store lose no key."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest

from anya_actors.services.hsm import HsmService
from tests.unit.services.faulty_store import Death
from tests.unit.services.hsm.faulty_hsm import FaultyHsm, wait_rekeyed


async def rekeying(hsm: HsmService) -> None:
    await hsm.rekey("root", message_id="x")
    await wait_rekeyed(hsm)


async def rotating_the_master(hsm: HsmService) -> None:
    await hsm.rekey("root", True, message_id="x")
    await wait_rekeyed(hsm)


async def changing_the_passphrase(hsm: HsmService) -> None:
    await hsm.change_passphrase("root", message_id="x")


async def sealing_and_unsealing(hsm: HsmService) -> None:
    await hsm.seal("root", message_id="x")
    await hsm.unseal("root", message_id="y")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    "act", [rekeying, rotating_the_master, changing_the_passphrase, sealing_and_unsealing]
)
async def test_a_crash_at_any_call_of_the_store_loses_no_key(
    act: Callable[[HsmService], Awaitable[None]], after: bool
) -> None:
    for at in itertools.count(1):
        bench = FaultyHsm()
        hsm = await bench.start()
        for name in ("a", "b"):
            await hsm.create_key(name, "ed25519", "alice", message_id=name)
        await hsm.close()
        bench._alive.clear()
        bench.source.next_passphrase = b"the next one"
        died = await bench.run_until_death(act, Death(at, after=after))
        hsm = await bench.start()
        await hsm.unseal("root", message_id="again")
        await act(hsm)
        await wait_rekeyed(hsm)
        await hsm.verify_audit()
        hsm = await bench.start()
        session = await hsm.open_session("alice", ("a", "b"), message_id="o")
        for name in ("a", "b"):
            await bench.actors.call(session.actor, "sign", name, b"x", "ed25519")
        view = await hsm.seal_status()
        assert (view.sealed, view.older_keks) == (False, 0), at
        moved = [entry.key for entry in await hsm.audit(0, 1000) if entry.operation == "rewrap-key"]
        assert sorted(moved) == sorted(set(moved)), at  # each one once, whoever did it
        await bench.close()
        if not died:
            assert at > 10
            return
