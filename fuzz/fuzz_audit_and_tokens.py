"""Audit entries and access tokens: whatever is believed is exactly what was written and signed."""

from __future__ import annotations

import contextlib

import atheris

with atheris.instrument_imports(include=["anya_actors.domain", "anya_actors.services", "joserfc"]):
    from anya_actors.domain.hsm.audit import (
        AuditRecord,
        Head,
        TagKey,
        chain,
        encode_entry,
        parse_entry,
        verify_entries,
    )
    from anya_actors.domain.hsm.errors import AuditBrokenError
    from anya_actors.domain.keys.secret import Secret
    from anya_actors.services.tokens import (
        ExpiredTokenError,
        InvalidTokenError,
        TokenClaims,
        TokenVerifier,
        public_jwk,
        sign_token,
    )

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fuzz.engine import run

SEED = bytes(range(32))
PUBLIC_KEY = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
VERIFIER = TokenVerifier({"keys": [public_jwk(PUBLIC_KEY)]}, audience="anya", issuer="anya-hsm")
NOW_S = 1_800_000_000
CLAIMS = TokenClaims("anya-hsm", "anya", "alice", "security", NOW_S, NOW_S + 60, "id", None, "alice")
TOKEN = sign_token(CLAIMS, SEED, PUBLIC_KEY)
RECORD = AuditRecord("request", 1, "hsm/main", "alice", "sign", "key", 1, "ed25519")
FIRST, ENTRY = chain(Head(), RECORD)
WRITTEN = encode_entry(ENTRY)
TAGGED = encode_entry(chain(FIRST, RECORD, TagKey(Secret(SEED)))[1])


def demand(holds: bool) -> None:
    if not holds:
        raise AssertionError


def one_input(data: bytes) -> None:
    with contextlib.suppress(AuditBrokenError):
        demand(encode_entry(parse_entry(data, 1)) != b"")
        head, entries = verify_entries(Head(), [data])
        demand(encode_entry(entries[0]) == data)
        demand(head.entries == 1)
    with contextlib.suppress(InvalidTokenError, ExpiredTokenError):
        token = data.decode("latin-1")
        claims = VERIFIER.verify(token, NOW_S)
        # Base64 without padding may end in bits that nobody reads: the claims are what was signed.
        demand((claims.subject, claims.scopes) == ("alice", frozenset({"security"})))
        demand(token.rpartition(".")[0] == TOKEN.rpartition(".")[0])


if __name__ == "__main__":
    run(one_input, [WRITTEN, TAGGED, TOKEN.encode(), encode_entry(chain(FIRST, RECORD)[1])])
