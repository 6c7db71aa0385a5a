"""Signatures by keys that never leave the HSM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from anya_actors.domain.keys.operations import KeyPath, MusigRound, SignRequest


class Signer(Protocol):
    """Signs with keys named by their HSM key name, of type ``secp256k1`` or ``bip32``.

    A ``path`` leads from a ``bip32`` key to the child that acts; a ``secp256k1`` key has no children.
    Every method raises `UnknownKeyError` for a key that is not there or of another owner,
    `OperationRefusedError` for what the key's policy forbids, `InvalidInputError` for what can
    never be answered.
    """

    async def public_key(self, key: str, *, path: KeyPath = ()) -> bytes:
        """The compressed SEC1 public key (33 bytes)."""

    async def extended_public_key(self, key: str, path: KeyPath = (), *, testnet: bool = False) -> str:
        """The BIP32 extended public key at the path, as text: ``xpub…``, or ``tpub…``."""

    async def fingerprint(self, key: str) -> bytes:
        """The first four bytes of the HASH160 of the ``bip32`` key itself: for key origins."""

    async def sign_ecdsa(self, key: str, digest: bytes, *, path: KeyPath = ()) -> bytes:
        """DER signature (low S, RFC 6979) of a 32-byte digest; deterministic."""

    async def sign_schnorr(
        self,
        key: str,
        message: bytes,
        *,
        path: KeyPath = (),
        taproot_merkle_root: bytes | None = None,
        tweak: bytes | None = None,
    ) -> bytes:
        """BIP340 signature (64 bytes) of a 32-byte message.

        ``taproot_merkle_root``: None signs with the key as it is, ``b""`` with the tweak of an
        output that has no scripts (BIP86), 32 bytes with the tweak of that root (BIP341).
        ``tweak``: instead, a scalar (32 bytes) to add to the key, as the outputs of silent payments
        are spent (BIP352).
        """

    async def sign_many(self, requests: Sequence[SignRequest]) -> tuple[bytes, ...]:
        """Many signatures in one call, in order; all or none."""

    async def shared_point(self, key: str, public_key: bytes, *, path: KeyPath = ()) -> bytes:
        """The public key times the private key (33 bytes): ECDH without a hash."""

    async def shared_points(
        self, key: str, public_keys: Sequence[bytes], *, path: KeyPath = ()
    ) -> tuple[bytes, ...]:
        """Many such points, in order; all or none. One audit entry counts up to 1024 of them."""

    async def musig2_nonce(
        self, key: str, *, path: KeyPath = (), aggregate_key: bytes = b"", message: bytes | None = None
    ) -> bytes:
        """A fresh MuSig2 public nonce (66 bytes) of the key at ``path``.

        What is given, the x-only ``aggregate_key`` and the ``message``, the nonce is bound to.
        Its secret half can sign once, in the process that drew it, and ends with that process.
        """

    async def musig2_partial_sign(
        self, key: str, public_nonce: bytes, signing: MusigRound, *, path: KeyPath = ()
    ) -> bytes:
        """The partial signature (32 bytes) with a nonce that `musig2_nonce` returned.

        Raises `NonceReusedError` for one that was used, `NonceLostError` for one that is not held
        (any more): then begin again with a new nonce.
        """
