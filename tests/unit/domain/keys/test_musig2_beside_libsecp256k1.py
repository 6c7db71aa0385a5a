"""Our MuSig2 and libsecp256k1's own: signers of both make one signature together."""

from __future__ import annotations

from typing import Any

import pytest
from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.domain.keys.curve import ORDER, Point
from anya_actors.domain.keys.musig2 import (
    AggregateKey,
    InvalidContributionError,
    Session,
    aggregate,
    aggregate_nonces,
)
from anya_actors.domain.keys.musig2_signing import generate_nonce, sign_partially
from anya_actors.domain.keys.secret import Secret

CTX = GLOBAL_CONTEXT.ctx


def parsed(kind: str, parse: Any, data: bytes, *size: int) -> Any:
    handle = ffi.new(f"{kind} *")
    assert parse(CTX, handle, data, *size)
    return handle


class TheirSigner:
    """A signer by libsecp256k1's musig module alone."""

    def __init__(self, secret: bytes, keys: list[bytes], tweaks: list[tuple[bytes, bool]]) -> None:
        self.keypair = ffi.new("secp256k1_keypair *")
        assert lib.secp256k1_keypair_create(CTX, self.keypair, secret)
        self.secret, self.public = secret, Point.of_secret(Secret(secret)).serialize()
        self.cache = ffi.new("secp256k1_musig_keyagg_cache *")
        points = [parsed("secp256k1_pubkey", lib.secp256k1_ec_pubkey_parse, key, 33) for key in keys]
        assert lib.secp256k1_musig_pubkey_agg(
            CTX, ffi.NULL, self.cache, ffi.new("secp256k1_pubkey *[]", points), len(points)
        )
        for tweak, x_only in tweaks:
            add = (
                lib.secp256k1_musig_pubkey_xonly_tweak_add
                if x_only
                else lib.secp256k1_musig_pubkey_ec_tweak_add
            )
            assert add(CTX, ffi.NULL, self.cache, tweak)

    def nonce(self, message: bytes) -> bytes:
        self.secret_nonce = ffi.new("secp256k1_musig_secnonce *")
        public, randomness = ffi.new("secp256k1_musig_pubnonce *"), ffi.new("unsigned char[32]", b"\x09" * 32)
        point = parsed("secp256k1_pubkey", lib.secp256k1_ec_pubkey_parse, self.public, 33)
        assert lib.secp256k1_musig_nonce_gen(
            CTX, self.secret_nonce, public, randomness, self.secret, point, message, self.cache, ffi.NULL
        )
        output = ffi.new("unsigned char[66]")
        assert lib.secp256k1_musig_pubnonce_serialize(CTX, output, public)
        return bytes(ffi.buffer(output, 66))

    def sign(self, aggregate_nonce: bytes, message: bytes) -> bytes:
        total = parsed("secp256k1_musig_aggnonce", lib.secp256k1_musig_aggnonce_parse, aggregate_nonce)
        session = ffi.new("secp256k1_musig_session *")
        assert lib.secp256k1_musig_nonce_process(CTX, session, total, message, self.cache)
        part, output = ffi.new("secp256k1_musig_partial_sig *"), ffi.new("unsigned char[32]")
        assert lib.secp256k1_musig_partial_sign(
            CTX, part, self.secret_nonce, self.keypair, self.cache, session
        )
        assert lib.secp256k1_musig_partial_sig_serialize(CTX, output, part)
        return bytes(ffi.buffer(output, 32))


def tweaked(key: AggregateKey, tweaks: list[tuple[bytes, bool]]) -> AggregateKey:
    for tweak, x_only in tweaks:
        key = key.tweak(tweak, x_only=x_only)
    return key


SECRET = st.integers(1, ORDER - 1).map(lambda value: value.to_bytes(32, "big"))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(SECRET, min_size=1, max_size=3),
    st.lists(SECRET, min_size=1, max_size=2),
    st.lists(st.tuples(SECRET, st.booleans()), max_size=3),
    st.binary(min_size=32, max_size=32),
)
def test_signers_of_both_kinds_make_one_signature(
    ours: list[bytes], theirs: list[bytes], tweaks: list[tuple[bytes, bool]], message: bytes
) -> None:
    keys = [Point.of_secret(Secret(secret)).serialize() for secret in (*ours, *theirs)]
    key = tweaked(aggregate(keys), tweaks)
    their_signers = [TheirSigner(secret, keys, tweaks) for secret in theirs]
    our_nonces = [generate_nonce(bytes([at]) * 32, keys[at]) for at in range(len(ours))]
    nonces = [nonce.public_nonce for nonce in our_nonces] + [one.nonce(message) for one in their_signers]
    session = Session(key, aggregate_nonces(nonces), message)
    parts = [
        sign_partially(nonce, Secret(secret), session) for nonce, secret in zip(our_nonces, ours, strict=True)
    ]
    parts += [one.sign(session.aggregate_nonce, message) for one in their_signers]
    for at, part in enumerate(parts):
        session.verify_partial(part, nonces[at], keys[at], at)
        if len(set(keys)) == len(keys) > 1:
            with pytest.raises(InvalidContributionError):
                session.verify_partial(part, nonces[at], keys[at - 1], at)
    session.verify(session.aggregate(parts))
