"""The reckoning after a storm of kills: it holds for a whole HSM, and finds whatever is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from anya_actors.domain.keys.algorithms import InvalidSignatureError
from anya_actors.domain.keys.operations import Answer
from anya_actors.services.tokens import InvalidTokenError
from anya_actors.testing.crash_safety import BrokenPromiseError
from anya_actors.testing.hsm_storm.doors import RayDoor
from anya_actors.testing.hsm_storm.reckoning import reckon
from anya_actors.testing.hsm_storm.record import KnownKey, Record
from anya_actors.testing.hsm_storm.storm import KINDS, Worker
from anya_actors.testing.local_hsm import LocalHsm


async def worked(bench: LocalHsm) -> Record:
    """A caller that did a little of everything; nobody was killed."""
    await bench.start()
    record = Record()
    worker = Worker("alice-0", "alice", RayDoor(bench.actors, "alice"), record, 1)
    for kind in KINDS:
        await worker.create(*kind)
    for act in (*[worker.perform] * 12, *[worker.rotate] * 3, *[worker.sign_together] * 2, worker.take_token):
        await act()
    return record


def of_type(record: Record, key_type: str) -> KnownKey:
    return next(known for known in record.keys.values() if known.key_type == key_type)


def lose_a_key(record: Record) -> None:
    record.keys["lost"] = replace(of_type(record, "ed25519"), name="lost", sealed=[])


def forget_a_key(record: Record) -> None:
    del record.keys[of_type(record, "p256").name]


def change_a_key(record: Record) -> None:
    of_type(record, "ed25519").versions[1] = "00" * 32


def lose_a_rotation(record: Record) -> None:
    record.rotations[of_type(record, "ed25519").name] += 1


def lose_an_audit_entry(record: Record) -> None:
    record.answered[next(iter(record.answered))] += 1


def ask_for_less(record: Record) -> None:
    record.attempted[next(iter(record.answered))[0]] -= 1


def repeat_a_nonce(record: Record) -> None:
    known = next(known for known in record.keys.values() if known.sealed)
    known.sealed.append(known.sealed[0])


def draw_a_nonce(record: Record) -> None:
    known = next(known for known in record.keys.values() if known.counter_nonces and known.sealed)
    request, answer = known.sealed[0]
    known.sealed[0] = (request, Answer(b"\x01" + answer.data[1:], answer.version))


def show_a_nonce_twice(record: Record) -> None:
    record.nonces.append(record.nonces[0])


def sign_twice(record: Record) -> None:
    record.parts.append(replace(record.parts[0], message=bytes(32)))


def show_what_was_not_audited(record: Record) -> None:
    record.nonces.append((record.nonces[0][0], bytes(66)))


def forge_a_part(record: Record) -> None:
    record.parts[0] = replace(record.parts[0], message=bytes(32))


def lose_a_token(record: Record) -> None:
    record.tokens["another"] = next(iter(record.tokens.values()))


WRONGS: tuple[Callable[[Record], None], ...] = (
    lose_a_key,
    forget_a_key,
    change_a_key,
    lose_a_rotation,
    lose_an_audit_entry,
    ask_for_less,
    repeat_a_nonce,
    draw_a_nonce,
    show_a_nonce_twice,
    sign_twice,
    show_what_was_not_audited,
    forge_a_part,
    lose_a_token,
)


@pytest.fixture
def bench() -> LocalHsm:
    return LocalHsm()


async def test_a_whole_hsm_passes_and_everything_is_counted(bench: LocalHsm) -> None:
    record = await worked(bench)
    figures = await reckon(bench.actors, record, bench.clock)
    assert (figures["keys"], figures["rotations"], figures["musig2_signatures"]) == (len(KINDS), 3, 2)
    assert figures["operations_answered"] == record.operations > 20
    await bench.close()


@pytest.mark.parametrize("wrong", WRONGS, ids=lambda wrong: str(wrong.__name__))
async def test_each_broken_promise_is_found(bench: LocalHsm, wrong: Callable[[Record], None]) -> None:
    record = await worked(bench)
    wrong(record)
    with pytest.raises(BrokenPromiseError):
        await reckon(bench.actors, record, bench.clock)
    await bench.close()


async def test_altered_signatures_and_tokens_are_found(bench: LocalHsm) -> None:
    record = await worked(bench)
    place, (request, answer) = next(
        (place, proof) for place, proof in enumerate(record.proofs) if proof[0].algorithm == "ed25519"
    )
    record.proofs[place] = (request, Answer(random.Random(1).randbytes(64), answer.version))
    with pytest.raises(InvalidSignatureError):
        await reckon(bench.actors, record, bench.clock)
    record.proofs[place] = (request, answer)
    record.tokens = dict.fromkeys(record.tokens, "a.b.c")
    with pytest.raises(InvalidTokenError):
        await reckon(bench.actors, record, bench.clock)
    await bench.close()
