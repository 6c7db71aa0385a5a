"""Request bodies of a key's life and of operations by keys. All byte strings are hex."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from anya_actors.domain.hsm.approvals import APPROVAL_TTL_S, MAX_APPROVAL_TTL_S, MAX_USES
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.keys.algorithms import KeyType
from anya_actors.domain.keys.key_origin import parse_key_path
from anya_actors.serve.shapes import Body

HEX = r"^([0-9a-fA-F]{2})*$"
Hex = Annotated[str, Field(pattern=HEX, description="Bytes in hex")]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Allowed = Literal["decrypt", "derive", "encrypt", "sign", "verify"]
MaterialForm = Literal["raw", "pkcs8", "seed", "mnemonic", "extended-private-key"]
Digest = Literal["sha1", "sha256", "sha384", "sha512"]


Guarded = Literal[
    "destroy", "delete", "export", "rotate", "configure", "decrypt", "derive", "encrypt", "sign"
]


class Policy(Body):
    """Bounds of a key; what is left out does not bind it."""

    paths: list[Annotated[str, Field(max_length=128)]] = Field(
        [], max_length=64, description="A bip32 key acts at these paths and below, like m/84h/0h/0h"
    )
    exportable: bool = False
    expires_unix_ms: int = Field(0, ge=0, le=2**53)
    rate_per_s: int = Field(0, ge=0, le=1_000_000)
    encryption_limit: int = Field(2**32, ge=1, le=2**32)
    counter_nonces: bool = False
    deletion_wait_s: int = Field(7 * 24 * 3600, ge=0, le=366 * 24 * 3600)
    deletion_allowed: bool = True
    guarded: list[Guarded] = Field([], max_length=9)
    approvers: list[Name] = Field([], max_length=16)
    approvals_needed: int = Field(0, ge=0, le=16)
    derived: bool = Field(False, description="Each operation names a context, whose derived key acts")
    convergent: bool = Field(False, description="The same text in the same context is encrypted alike")
    auto_rotate_s: int = Field(
        0, ge=0, le=10 * 366 * 24 * 3600, description="The key rotates once its newest version is so old"
    )
    backup: bool = Field(False, description="It may leave sealed for this HSM, and come back from there")
    every_version: bool = Field(False, description="Older versions encrypt and sign too, asked by number")


def policy_of(policy: Policy) -> KeyPolicy:
    """The body's policy in the rules' words."""
    return KeyPolicy(
        paths=tuple(parse_key_path(path) for path in policy.paths),
        exportable=policy.exportable,
        expires_unix_ms=policy.expires_unix_ms,
        rate_per_s=policy.rate_per_s,
        encryption_limit=policy.encryption_limit,
        counter_nonces=policy.counter_nonces,
        deletion_wait_s=policy.deletion_wait_s,
        deletion_allowed=policy.deletion_allowed,
        guarded=tuple(policy.guarded),
        approvers=tuple(policy.approvers),
        approvals_needed=policy.approvals_needed,
        derived=policy.derived,
        convergent=policy.convergent,
        auto_rotate_s=policy.auto_rotate_s,
        backup=policy.backup,
        every_version=policy.every_version,
    )


class KeyFacts(Body):
    """What a key is to be."""

    name: Name
    key_type: KeyType
    operations: list[Allowed] = Field(["sign", "verify"], min_length=1, max_length=5)
    owner: str | None = Field(None, min_length=1, max_length=128, description="The caller, unless admin")
    policy: Policy = Field(default_factory=lambda: Policy.model_validate({}))


class VersionImport(Body):
    """A version of a key from outside: sealed to the transport key, or wrapped to the wrapping key."""

    box_hex: Hex | None = Field(None, description="Key material in a sealed box to the transport key")
    wrapped_hex: Hex | None = Field(None, description="RSA-OAEP of an AES-256 key, and AES-KWP of the key")
    form: MaterialForm = "raw"
    digest: Digest = "sha256"


class KeyImport(VersionImport, KeyFacts):
    """A key from outside: sealed to the transport key, or wrapped to the wrapping key."""


class KeyConfiguration(Body):
    """From which version on a key serves, and its policy, which is replaced as a whole."""

    minimum_version: int = Field(ge=1, le=1_000_000)
    minimum_encryption_version: int = Field(0, ge=0, le=1_000_000)
    policy: Policy = Field(default_factory=lambda: Policy.model_validate({}))


class KeyTrim(Body):
    """The first version that is kept."""

    first: int = Field(ge=1, le=1_000_000)


class KeyExport(Body):
    """Whom a key is wrapped to."""

    recipient_pem: str = Field(min_length=1, max_length=8192, description="RSA public key")
    version: int = Field(0, ge=0, le=1_000_000)
    digest: Digest = "sha256"


class KeyBackup(Body):
    """A backup that the HSM made."""

    backup_hex: Hex = Field(min_length=8, max_length=1 << 20, pattern=HEX)


class KeyApproval(Body):
    """Which operation the caller approves; one by the key perhaps for one message, or for several times."""

    operation: Guarded
    digest_hex: str = Field(
        "",
        pattern=r"^([0-9a-fA-F]{64})?$",
        description="SHA-256 of the message, ciphertext, or public key as sent",
    )
    uses: int = Field(1, ge=1, le=MAX_USES)
    ttl_s: int = Field(APPROVAL_TTL_S, ge=1, le=MAX_APPROVAL_TTL_S)


class RandomBytes(Body):
    """How many bytes."""

    length: int = Field(32, ge=1, le=65_536)


class MoreKeys(Body):
    """Keys that an open session is to hold too."""

    keys: list[Name] = Field(min_length=1, max_length=32)


class Operation(Body):
    """One operation by one key; which fields it takes depends on ``operation``."""

    operation: Literal[
        "sign",
        "verify",
        "encrypt",
        "decrypt",
        "rewrap",
        "mac",
        "verify-mac",
        "agree",
        "stretch",
        "random",
    ]
    key: str = Field("", max_length=128)
    algorithm: str = Field("", max_length=64)
    version: int = Field(0, ge=0, le=1_000_000, description="0 is the newest")
    to_version: int = Field(0, ge=0, le=1_000_000, description="rewrap: the version to encrypt by")
    data_hex: Hex = Field("", description="Message, plaintext or ciphertext", pattern=HEX)
    signature_hex: Hex = Field("", description="verify: the signature; verify-mac: the code", pattern=HEX)
    associated_data_hex: Hex = Field("", pattern=HEX)
    public_key: str = Field("", max_length=8192, description="agree: PEM, JWK, or hex of SEC1 or raw bytes")
    context_hex: Hex = Field("", max_length=8192, description="Of a derived key", pattern=HEX)
    path: str = Field("", max_length=128, description="From a bip32 key, like m/84h/0h/0h/0/5")
    taproot_merkle_root_hex: Hex | None = Field(None, description="BIP341: empty for no scripts")
    length: int = Field(0, ge=0, le=65_536, description="stretch, random: bytes wanted")
    salt_hex: Hex = Field("", pattern=HEX)
    info_hex: Hex = Field("", pattern=HEX)
    iterations: int = Field(0, ge=0, le=2_000_000)
    memory_kib: int = Field(0, ge=0, le=512 * 1024)
    lanes: int = Field(1, ge=1, le=64)


class Operations(Body):
    """Operations of any kind, in order: all or none, or each on its own."""

    operations: list[Operation] = Field(min_length=1, max_length=1024)
    each: bool = Field(False, description="Refuse each on its own, instead of all")
