"""Keys: made once, seen by their owners, refused in our own words."""

from __future__ import annotations

import asyncio

import pytest

from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.domain.hsm.errors import (
    AuditUnavailableError,
    KeyExistsError,
    OperationRefusedError,
    SessionClosedError,
    UnknownKeyError,
)
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.durable import IdempotencyConflictError
from anya_actors.services.hsm import HsmService, HsmSettings
from anya_actors.testing.local_hsm import CHEAP, LocalHsm


async def test_a_repeated_creation_gives_the_first_key(bench: LocalHsm, hsm: HsmService) -> None:
    first = await hsm.create_key("k", "secp256k1", "alice", message_id="m1")
    assert await hsm.create_key("k", "secp256k1", "alice", message_id="m1") == first
    again = await bench.start()
    assert await again.create_key("k", "secp256k1", "alice", message_id="m1") == first
    made = [entry for entry in await again.audit() if entry.operation == "create-key"]
    assert len(made) == 3  # two are the HSM's own


async def test_creations_at_once_with_one_message_id_make_one_key(hsm: HsmService) -> None:
    made = await asyncio.gather(*(hsm.create_key("k", "ed25519", "alice", message_id="m1") for _ in range(8)))
    assert len({key.public_key for key in made}) == 1


async def test_a_message_id_does_not_serve_for_another_request(hsm: HsmService) -> None:
    await hsm.create_key("k", "secp256k1", "alice", message_id="m1")
    with pytest.raises(IdempotencyConflictError):
        await hsm.create_key("k", "ed25519", "alice", message_id="m1")


async def test_a_name_is_taken_once(hsm: HsmService) -> None:
    await hsm.create_key("k", "secp256k1", "alice", message_id="m1")
    with pytest.raises(KeyExistsError):
        await hsm.create_key("k", "secp256k1", "bob", message_id="m2")


@pytest.mark.parametrize(
    ("name", "key_type", "owner", "operations", "field"),
    [
        ("", "ed25519", "alice", ("sign",), "name"),
        ("../root", "ed25519", "alice", ("sign",), "name"),
        ("a" * 129, "ed25519", "alice", ("sign",), "name"),
        ("k\n", "ed25519", "alice", ("sign",), "name"),
        ("k", "p224", "alice", ("sign",), "key_type"),
        ("k", "ed25519", "", ("sign",), "owner"),
        ("k", "ed25519", "hsm", ("sign",), "owner"),
        ("k", "ed25519", "alice", (), "operations"),
        ("k", "ed25519", "alice", ("export",), "operations"),
    ],
)
async def test_what_cannot_be_a_key_is_refused_by_field(
    hsm: HsmService, name: str, key_type: str, owner: str, operations: tuple[str, ...], field: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field} "):
        await hsm.create_key(name, key_type, owner, operations, message_id="m1")
    last = (await hsm.audit())[-1]
    assert (last.operation, last.outcome) == ("create-key", "refused: invalid-input")


async def test_keys_are_listed_by_owner(hsm: HsmService) -> None:
    await hsm.create_key("a", "ed25519", "alice", message_id="m1")
    await hsm.create_key("b", "ed25519", "bob", message_id="m2")
    assert [key.name for key in await hsm.keys("alice")] == ["a"]
    assert [key.name for key in await hsm.keys()] == ["a", "api-jwt", "audit-checkpoint", "b"]
    with pytest.raises(UnknownKeyError):
        await hsm.key("c")


async def test_a_disabled_key_closes_its_sessions_and_opens_none(bench: LocalHsm, hsm: HsmService) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    session = await hsm.open_session("alice", ("k",), message_id="m2")
    await bench.actors.call(session.actor, "sign", "k", b"message", "ed25519")
    assert (await hsm.disable_key("k", "alice", message_id="m3")).enabled is False
    with pytest.raises(SessionClosedError):
        await bench.actors.call(session.actor, "sign", "k", b"message", "ed25519")
    with pytest.raises(OperationRefusedError):
        await hsm.open_session("alice", ("k",), message_id="m4")
    assert (await hsm.enable_key("k", "alice", message_id="m5")).enabled is True
    await hsm.open_session("alice", ("k",), message_id="m6")


async def test_only_its_owner_disables_a_key(hsm: HsmService) -> None:
    await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    for name, owner in (("k", "bob"), ("api-jwt", "hsm"), ("none", "alice")):
        with pytest.raises(UnknownKeyError):
            await hsm.disable_key(name, owner, message_id=f"{name} {owner}")


class _StuckLog(MemoryAppendLog):
    stuck = False

    async def append(self, *records: bytes) -> int:
        while self.stuck:
            await asyncio.Event().wait()
        return await super().append(*records)


async def test_nothing_is_answered_while_the_audit_log_takes_nothing() -> None:
    log = _StuckLog()
    bench = LocalHsm(log=log, settings=HsmSettings(kdf=CHEAP, audit_timeout_s=0.01))
    hsm = await bench.start()
    log.stuck = True
    with pytest.raises(AuditUnavailableError):
        await hsm.create_key("k", "ed25519", "alice", message_id="m1")
    log.stuck = False
    bench.kill("hsm/main")
    again = await bench.start()
    made = await again.create_key("k", "ed25519", "alice", message_id="m1")
    entries = [entry for entry in await again.audit() if entry.key == made.name]
    assert [entry.outcome for entry in entries] == ["ok"]
