"""The `Signer` port on an HSM session reached through `Actors`."""

from __future__ import annotations

from collections.abc import Sequence

from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.hsm.errors import UnknownKeyError
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.operations import MAX_BATCH, KeyPath, MusigRound, SignRequest, check_path
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.randomness import Randomness
from anya_actors.services.hsm_client import SessionClient


class RemoteSigner:
    """Signs with the keys of one owner, in a session that it opens at the first need.

    The session is opened for the keys that are asked for, and extended when another one is. One
    that is over, or whose process died, is replaced by a new one and the signature is asked for
    again; ECDSA is deterministic, so asking twice gives the same one. Public keys come from the
    HSM itself and never change. An owner has one signer at a time: a new one closes what
    its predecessor left open.
    """

    def __init__(self, actors: Actors, owner: str, randomness: Randomness) -> None:
        self._actors = actors
        self._owner = owner
        self._public_keys: dict[str, bytes] = {}
        self._client = SessionClient(
            actors, owner, lambda: f"signer/{randomness.token_bytes(16).hex()}", exclusive=True
        )

    async def public_key(self, key: str, *, path: KeyPath = ()) -> bytes:
        """The compressed SEC1 public key (33 bytes)."""
        if path:
            return bytes(await self._client.ask([key], "public_key", key, check_path(path)))
        known = self._public_keys.get(key)
        if known is None:
            view: KeyView = await self._actors.call(HSM, "key", key)
            if view.owner != self._owner:
                raise UnknownKeyError(key)
            known = self._public_keys[key] = bytes.fromhex(view.public_key)
        return known

    async def extended_public_key(self, key: str, path: KeyPath = (), *, testnet: bool = False) -> str:
        """The BIP32 extended public key at the path, as text."""
        return str(await self._client.ask([key], "extended_public_key", key, check_path(path), testnet))

    async def fingerprint(self, key: str) -> bytes:
        """The first four bytes of the HASH160 of the key itself."""
        return hash160(await self.public_key(key))[:4]

    async def sign_ecdsa(self, key: str, digest: bytes, *, path: KeyPath = ()) -> bytes:
        """DER signature (low S, RFC 6979) of a 32-byte digest; deterministic."""
        return (await self.sign_many([SignRequest(key, digest, "ecdsa-secp256k1", path)]))[0]

    async def sign_schnorr(
        self,
        key: str,
        message: bytes,
        *,
        path: KeyPath = (),
        taproot_merkle_root: bytes | None = None,
        tweak: bytes | None = None,
    ) -> bytes:
        """BIP340 signature (64 bytes) of a 32-byte message, tweaked as BIP341 or BIP352 says if wanted."""
        request = SignRequest(key, message, "schnorr-bip340", path, taproot_merkle_root, tweak=tweak)
        return (await self.sign_many([request]))[0]

    async def sign_many(self, requests: Sequence[SignRequest]) -> tuple[bytes, ...]:
        """Many signatures, in order, in calls of up to 1024; all or none."""
        signatures: list[bytes] = []
        for start in range(0, len(requests), MAX_BATCH):
            batch = tuple(requests[start : start + MAX_BATCH])
            keys = list(dict.fromkeys(request.key for request in batch))
            signatures.extend(await self._client.ask(keys, "sign_many", batch))
        return tuple(signatures)

    async def shared_point(self, key: str, public_key: bytes, *, path: KeyPath = ()) -> bytes:
        """The public key times the private key (33 bytes)."""
        return bytes(await self._client.ask([key], "shared_point", key, public_key, check_path(path)))

    async def shared_points(
        self, key: str, public_keys: Sequence[bytes], *, path: KeyPath = ()
    ) -> tuple[bytes, ...]:
        """Many such points, in order, in calls of up to 1024; all or none."""
        points: list[bytes] = []
        for start in range(0, len(public_keys), MAX_BATCH):
            batch = tuple(public_keys[start : start + MAX_BATCH])
            points.extend(await self._client.ask([key], "shared_points", key, batch, check_path(path)))
        return tuple(points)

    async def musig2_nonce(
        self, key: str, *, path: KeyPath = (), aggregate_key: bytes = b"", message: bytes | None = None
    ) -> bytes:
        """A fresh MuSig2 public nonce (66 bytes), good for one signature in the present session."""
        return bytes(
            await self._client.ask([key], "musig2_nonce", key, check_path(path), aggregate_key, message)
        )

    async def musig2_partial_sign(
        self, key: str, public_nonce: bytes, signing: MusigRound, *, path: KeyPath = ()
    ) -> bytes:
        """The partial signature (32 bytes); a session that replaced another has none of its nonces."""
        return bytes(
            await self._client.ask([key], "musig2_partial_sign", key, public_nonce, signing, check_path(path))
        )

    async def close(self) -> None:
        """Close the session, if one is open."""
        await self._client.close()
