"""Request bodies and path parts of `/api/v1/security`. All byte strings are hex."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from pydantic import Field

from anya_actors.domain.hsm.scopes import ROLES
from anya_actors.serve.shapes import Body

Hex = Annotated[str, Field(pattern=r"^([0-9a-fA-F]{2})*$", description="Bytes in hex")]

Algorithm = Annotated[
    str,
    Field(
        min_length=1, max_length=64, description="Like ed25519, ecdsa-p384-sha384 or rsa-pss-sha256-digest"
    ),
]
KeyName = Annotated[str, Path(min_length=1, max_length=128, description="Key name")]
SessionId = Annotated[
    str,
    Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$", description="Session id"),
]


Subject = Annotated[str, Field(min_length=1, max_length=128)]
Scopes = Annotated[list[str], Field(max_length=32)]
Roles = Annotated[list[str], Field(max_length=8, description=f"Sets of scopes: {', '.join(ROLES)}")]
TtlS = Annotated[int, Field(ge=1, le=365 * 24 * 3600, description="Seconds until a token expires")]


class NewSession(Body):
    """A session: one process that holds these keys and no other."""

    keys: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(min_length=1, max_length=32)


class SignRequest(Body):
    """What to sign. For ECDSA and BIP340 the message is the 32-byte digest itself."""

    key: str = Field(min_length=1, max_length=128)
    algorithm: Algorithm
    message_hex: Hex


class VerifyRequest(Body):
    """What to verify; an invalid signature is answered with a problem, never with false."""

    key: str = Field(min_length=1, max_length=128)
    algorithm: Algorithm
    message_hex: Hex
    signature_hex: Hex


class TokenKeyRotation(Body):
    """Whether the tokens of the old keys end too."""

    revoke: bool = False


class Rekeying(Body):
    """Whether a new master key is drawn too."""

    new_master_key: bool = False


class TokenRevocation(Body):
    """What is to end: one token, named by itself or by its id, or all of a subject or client."""

    token: str | None = Field(None, min_length=1, max_length=8192)
    token_id: str | None = Field(None, min_length=1, max_length=128, description="Its `jti`")
    subject: str | None = Field(
        None, min_length=1, max_length=128, description="Or a client: all that was issued to it until now"
    )


class NewToken(Body):
    """An access token for a subject."""

    subject: str = Field(min_length=1, max_length=128)
    scopes: Scopes = Field([])
    roles: Roles = Field([])
    ttl_s: int = Field(3600, ge=1, le=365 * 24 * 3600, description="Seconds until it expires")


class NewClient(Body):
    """A program that gets tokens by a secret of its own."""

    client_id: Subject
    subject: Subject | None = Field(None, description="Whom its tokens speak for; by default itself")
    scopes: Scopes = Field([])
    roles: Roles = Field([])
    ttl_s: TtlS = 3600


class ClientRotation(Body):
    """How long the client's other secrets still hold."""

    overlap_s: int = Field(0, ge=0, le=366 * 24 * 3600)
