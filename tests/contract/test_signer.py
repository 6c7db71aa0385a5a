"""What every `Signer` promises, over the HSM and over keys in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.memory.keyring import MemoryKeyring
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.errors import UnknownKeyError
from anya_actors.ports.actors import Actors
from anya_actors.ports.signer import Signer
from anya_actors.testing.local_hsm import LocalHsm

KEYS = LibraryKeyAlgorithms(SystemRandomness())
DIGEST = bytes(range(32))


@dataclass
class Desk:
    """A signer and where its keys are made."""

    signer: Signer
    actors: Actors

    async def make(self, name: str) -> None:
        arguments = (name, "secp256k1", "wallet", ("sign", "verify"))
        await self.actors.call("hsm/main", "create_key", *arguments, message_id=f"make {name}")


@pytest.fixture(params=["hsm", "memory"])
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    if request.param == "memory":
        keyring = MemoryKeyring()
        yield Desk(keyring, keyring)
        return
    bench = LocalHsm()
    await bench.start()
    yield Desk(bench.signer("wallet"), bench.actors)
    await bench.close()


async def test_public_keys_are_compressed_and_stay_the_same(desk: Desk) -> None:
    await desk.make("k")
    public = await desk.signer.public_key("k")
    assert (len(public), public[0] in (2, 3)) == (33, True)
    assert await desk.signer.public_key("k") == public


async def test_signatures_hold_under_the_public_key(desk: Desk) -> None:
    await desk.make("k")
    public = await desk.signer.public_key("k")
    signature = await desk.signer.sign_ecdsa("k", DIGEST)
    KEYS.verify("secp256k1", public, DIGEST, signature, "ecdsa-secp256k1")
    signature = await desk.signer.sign_schnorr("k", DIGEST)
    assert len(signature) == 64
    KEYS.verify("secp256k1", public, DIGEST, signature, "schnorr-bip340")


async def test_ecdsa_signatures_are_deterministic(desk: Desk) -> None:
    await desk.make("k")
    assert await desk.signer.sign_ecdsa("k", DIGEST) == await desk.signer.sign_ecdsa("k", DIGEST)


async def test_keys_made_after_the_first_signature_sign_too(desk: Desk) -> None:
    for name in ("a", "b", "c"):
        await desk.make(name)
        await desk.signer.sign_ecdsa(name, DIGEST)
    signed = await asyncio.gather(*(desk.signer.sign_ecdsa(name, DIGEST) for name in ("a", "b", "c") * 5))
    assert len(set(signed)) == 3


async def test_an_unknown_key_is_refused_by_name(desk: Desk) -> None:
    with pytest.raises(UnknownKeyError, match="nix"):
        await desk.signer.public_key("nix")
    with pytest.raises(UnknownKeyError, match="nix"):
        await desk.signer.sign_ecdsa("nix", DIGEST)
