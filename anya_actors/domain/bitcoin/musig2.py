"""MuSig2 keys in Bitcoin: one extended key for several signers (BIP328), and taproot outputs (BIP341)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from btclib.base58 import encode as base58_encode

from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.keys.curve import tagged_hash
from anya_actors.domain.keys.musig2 import AggregateKey, MusigError

CHAIN_CODE: Final = bytes.fromhex("868087ca02a6f974c4598924c36b57762d32cb45717167e300622c7167e38965")
"""SHA-256 of "MuSig2MuSig2MuSig2": the chain code of every aggregate (BIP328)."""
_HARDENED: Final = 1 << 31
_XPUB, _TPUB = bytes.fromhex("0488b21e"), bytes.fromhex("043587cf")


def synthetic_xpub(key: AggregateKey, network: Network) -> str:
    """The extended public key whose children are children of the aggregate (BIP328)."""
    version = _XPUB if network is Network.MAINNET else _TPUB
    return str(base58_encode(version + bytes(9) + CHAIN_CODE + key.public_key).decode("ascii"))


def derive(key: AggregateKey, path: Sequence[int]) -> AggregateKey:
    """The aggregate's child at an unhardened BIP32 path, ready for signing.

    All signers must derive the same; raises `MusigError` for a hardened step, which nobody can take.
    """
    for tweak in path_tweaks(key, path):
        key = key.tweak(tweak, x_only=False)
    return key


def path_tweaks(key: AggregateKey, path: Sequence[int]) -> tuple[bytes, ...]:
    """The plain tweaks, one for each step, that lead from the aggregate to its child."""
    chain_code, tweaks = CHAIN_CODE, []
    for index in path:
        if not 0 <= index < _HARDENED:
            raise MusigError("the derivation path", f"step {index} is hardened or out of range (BIP328)")
        digest = hmac.digest(chain_code, key.public_key + index.to_bytes(4, "big"), hashlib.sha512)
        tweaks.append(digest[:32])
        key, chain_code = key.tweak(digest[:32], x_only=False), digest[32:]
    return tuple(tweaks)


def taproot_tweak(internal: AggregateKey, merkle_root: bytes = b"") -> bytes:
    """The x-only tweak that makes a taproot output key; without a root it has no scripts (BIP341, BIP86)."""
    if len(merkle_root) not in (0, 32):
        raise MusigError("the merkle root", f"it has {len(merkle_root)} bytes, not 32")
    return tagged_hash("TapTweak", internal.x_only + merkle_root)


def taproot_output_key(internal: AggregateKey, merkle_root: bytes = b"") -> AggregateKey:
    """The aggregate tweaked as a taproot internal key."""
    return internal.tweak(taproot_tweak(internal, merkle_root), x_only=True)
