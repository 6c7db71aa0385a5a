"""What every `Signer` promises, over the HSM and over keys in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from btclib_wallet.bip32 import BIP32KeyData, derive

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.memory.keyring import MemoryKeyring
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.hsm.errors import NonceLostError, UnknownKeyError
from anya_actors.domain.keys.curve import ORDER, Point, tagged_scalar
from anya_actors.domain.keys.musig2 import Session, aggregate, aggregate_nonces
from anya_actors.domain.keys.musig2_signing import NonceReusedError
from anya_actors.domain.keys.operations import HARDENED, MusigRound, SignRequest
from anya_actors.domain.machine import InvalidInputError
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

    async def make(self, name: str, key_type: str = "secp256k1") -> None:
        arguments = (name, key_type, "wallet", ("derive", "sign", "verify"))
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


# -- BIP32 keys -----------------------------------------------------------------------------------

ACCOUNT = (86 | HARDENED, 0 | HARDENED, 0 | HARDENED)


async def test_extended_public_keys_derive_what_the_signer_signs_with(desk: Desk) -> None:
    await desk.make("w", "bip32")
    text = await desk.signer.extended_public_key("w", ACCOUNT)
    assert text.startswith("xpub")
    assert (await desk.signer.extended_public_key("w", ACCOUNT, testnet=True)).startswith("tpub")
    origin = await desk.signer.fingerprint("w")
    master = await desk.signer.extended_public_key("w")
    assert BIP32KeyData.b58decode(master).key[:33] == await desk.signer.public_key("w")
    assert origin == hash160(await desk.signer.public_key("w"))[:4]
    child = BIP32KeyData.b58decode(derive(text, "m/0/7")).key
    public = await desk.signer.public_key("w", path=(*ACCOUNT, 0, 7))
    assert public == child
    signature = await desk.signer.sign_ecdsa("w", DIGEST, path=(*ACCOUNT, 0, 7))
    KEYS.verify("secp256k1", public, DIGEST, signature, "ecdsa-secp256k1")


@pytest.mark.parametrize("root", [b"", bytes(range(32))])
async def test_taproot_signatures_hold_under_the_output_key(desk: Desk, root: bytes) -> None:
    await desk.make("w", "bip32")
    for number in range(4):  # both parities of the internal key
        path = (*ACCOUNT, 0, number)
        internal = Point.parse(await desk.signer.public_key("w", path=path))
        even = Point.from_x(internal.x)
        output = even.plus(tagged_scalar("TapTweak", internal.x + root))
        assert output is not None
        signature = await desk.signer.sign_schnorr("w", DIGEST, path=path, taproot_merkle_root=root)
        KEYS.verify("secp256k1", output.x, DIGEST, signature, "schnorr-bip340")


async def test_many_signatures_of_many_keys_and_paths_are_one_call(desk: Desk) -> None:
    await desk.make("w", "bip32")
    await desk.make("k")
    requests = [
        SignRequest("w", DIGEST, "ecdsa-secp256k1", (*ACCOUNT, 0, 1)),
        SignRequest("k", DIGEST, "schnorr-bip340"),
        SignRequest("w", DIGEST, "schnorr-bip340", (*ACCOUNT, 1, 2)),
    ] * 100
    signatures = await desk.signer.sign_many(requests)
    assert len(signatures) == 300
    for request, signature in zip(requests[:3], signatures[:3], strict=True):
        public = await desk.signer.public_key(request.key, path=request.path)
        KEYS.verify("secp256k1", public, DIGEST, signature, request.algorithm)


async def test_two_signers_find_the_same_point_between_their_keys(desk: Desk) -> None:
    await desk.make("w", "bip32")
    ours, theirs = (*ACCOUNT, 0, 0), (*ACCOUNT, 0, 1)
    first = await desk.signer.shared_point("w", await desk.signer.public_key("w", path=theirs), path=ours)
    second = await desk.signer.shared_point("w", await desk.signer.public_key("w", path=ours), path=theirs)
    assert first == second


async def test_many_points_are_those_of_single_calls(desk: Desk) -> None:
    await desk.make("w", "bip32")
    ours = (*ACCOUNT, 1, 0)
    others = [Point.of_scalar(number).serialize() for number in range(1, 1101)]
    points = await desk.signer.shared_points("w", others, path=ours)
    assert points[0] == await desk.signer.public_key("w", path=ours)
    assert len(points) == 1100
    for at in (1, 1023, 1024, 1099):
        assert points[at] == await desk.signer.shared_point("w", others[at], path=ours)
    assert await desk.signer.shared_points("w", [], path=ours) == ()
    with pytest.raises(InvalidInputError, match="not a point"):
        await desk.signer.shared_points("w", [others[0], bytes(33)], path=ours)
    with pytest.raises(UnknownKeyError, match="nix"):
        await desk.signer.shared_points("nix", others[:1], path=ours)


async def test_a_scalar_added_to_the_key_signs_for_the_sum(desk: Desk) -> None:
    await desk.make("w", "bip32")
    for number in range(4):  # both parities of the key and of the sum
        path = (*ACCOUNT, 0, number)
        output = Point.parse(await desk.signer.public_key("w", path=path)).plus(number + 5)
        assert output is not None
        tweak = (number + 5).to_bytes(32, "big")
        signature = await desk.signer.sign_schnorr("w", DIGEST, path=path, tweak=tweak)
        KEYS.verify("secp256k1", output.x, DIGEST, signature, "schnorr-bip340")


async def test_a_tweak_is_a_scalar_and_of_schnorr_alone(desk: Desk) -> None:
    await desk.make("w", "bip32")
    for bad in (b"", bytes(31), bytes(33), ORDER.to_bytes(32, "big"), b"\xff" * 32):
        with pytest.raises(InvalidInputError, match="below the group order"):
            await desk.signer.sign_schnorr("w", DIGEST, tweak=bad)
    with pytest.raises(InvalidInputError, match="not both"):
        await desk.signer.sign_schnorr("w", DIGEST, taproot_merkle_root=b"", tweak=bytes(32))
    with pytest.raises(InvalidInputError, match="BIP340"):
        await desk.signer.sign_many([SignRequest("w", DIGEST, "ecdsa-secp256k1", tweak=bytes(32))])


async def test_what_no_key_can_do_is_refused(desk: Desk) -> None:
    await desk.make("w", "bip32")
    await desk.make("k")
    with pytest.raises(InvalidInputError, match="children"):
        await desk.signer.sign_ecdsa("k", DIGEST, path=(1,))
    with pytest.raises(InvalidInputError, match="10 steps"):
        await desk.signer.sign_ecdsa("w", DIGEST, path=(1,) * 11)
    with pytest.raises(InvalidInputError, match="32 bits"):
        await desk.signer.sign_ecdsa("w", DIGEST, path=(-1,))
    with pytest.raises(InvalidInputError, match="bip32"):
        await desk.signer.extended_public_key("k")
    request = SignRequest("w", DIGEST, "ecdsa-secp256k1", (), b"")
    with pytest.raises(InvalidInputError, match="BIP340"):
        await desk.signer.sign_many([request])
    with pytest.raises(InvalidInputError, match="not a point"):
        await desk.signer.shared_point("w", bytes(33))


# -- MuSig2 ---------------------------------------------------------------------------------------


async def test_musig2_partial_signatures_make_a_whole_one(desk: Desk) -> None:
    await desk.make("w", "bip32")
    await desk.make("k")
    keys = [await desk.signer.public_key("w", path=ACCOUNT), await desk.signer.public_key("k")]
    aggregated = aggregate(keys)
    nonces = [
        await desk.signer.musig2_nonce("w", path=ACCOUNT, aggregate_key=aggregated.x_only, message=DIGEST),
        await desk.signer.musig2_nonce("k"),
    ]
    signing = MusigRound(tuple(keys), aggregate_nonces(nonces), DIGEST)
    parts = [
        await desk.signer.musig2_partial_sign("w", nonces[0], signing, path=ACCOUNT),
        await desk.signer.musig2_partial_sign("k", nonces[1], signing),
    ]
    signature = Session(aggregated, signing.aggregate_nonce, DIGEST).aggregate(parts)
    KEYS.verify("secp256k1", aggregated.x_only, DIGEST, signature, "schnorr-bip340")


async def test_a_musig2_nonce_signs_once_and_for_nothing_else(desk: Desk) -> None:
    await desk.make("w", "bip32")
    await desk.make("k")
    keys = (await desk.signer.public_key("w"), await desk.signer.public_key("k"))
    other = await desk.signer.musig2_nonce("k")

    async def drawn(**bound: Any) -> tuple[bytes, MusigRound]:
        nonce = await desk.signer.musig2_nonce("w", **bound)
        return nonce, MusigRound(keys, aggregate_nonces([nonce, other]), DIGEST)

    nonce, signing = await drawn()
    await desk.signer.musig2_partial_sign("w", nonce, signing)
    for message in (DIGEST, bytes(32)):
        again = MusigRound(keys, signing.aggregate_nonce, message)
        with pytest.raises(NonceReusedError):
            await desk.signer.musig2_partial_sign("w", nonce, again)
    with pytest.raises(NonceLostError):
        await desk.signer.musig2_partial_sign("w", bytes(66), signing)
    for bound in ({"message": bytes(32)}, {"aggregate_key": bytes(31) + b"\x01"}):
        nonce, signing = await drawn(**bound)
        with pytest.raises(InvalidInputError):
            await desk.signer.musig2_partial_sign("w", nonce, signing)
        with pytest.raises(NonceReusedError):  # a refusal uses it up as well
            await desk.signer.musig2_partial_sign("w", nonce, signing)
    nonce, signing = await drawn(path=(5,))
    with pytest.raises(InvalidInputError, match="another key or path"):
        await desk.signer.musig2_partial_sign("w", nonce, signing)
