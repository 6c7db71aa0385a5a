"""Signatures by keys that never leave the HSM."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """Signs with keys named by their HSM key name."""

    async def public_key(self, key: str) -> bytes:
        """The compressed SEC1 public key (33 bytes) of a secp256k1 key."""

    async def sign_ecdsa(self, key: str, digest: bytes) -> bytes:
        """DER signature (low S, RFC 6979) of a 32-byte digest; deterministic."""

    async def sign_schnorr(self, key: str, message: bytes) -> bytes:
        """BIP340 signature (64 bytes) of a 32-byte message."""
