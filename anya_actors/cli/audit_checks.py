"""Checks of what an HSM says of its audit trail, made here and not believed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from anya_actors.cli.remote import Remote
from anya_actors.domain.hsm.audit import Head, checkpoint_message
from anya_actors.domain.hsm.merkle_log import (
    InvalidLogProofError,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from anya_actors.domain.hsm.views import AuditProofView, CheckpointView, ConsistencyProofView
from anya_actors.domain.machine import InvalidInputError

V = TypeVar("V")


def check_checkpoint(given: Mapping[str, Any]) -> CheckpointView:
    """The checkpoint, if its key signed for what it says; raise `InvalidLogProofError`."""
    checkpoint = _read(given, CheckpointView)
    head = Head(checkpoint.entries, bytes.fromhex(checkpoint.head))
    message = checkpoint_message(head, bytes.fromhex(checkpoint.root), checkpoint.at_unix_ms, checkpoint.then)
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(checkpoint.key))
        key.verify(bytes.fromhex(checkpoint.signature), message)
    except (InvalidSignature, ValueError):
        raise InvalidLogProofError("checkpoint", "its key did not sign for it") from None
    return checkpoint


def check_inclusion(given: Mapping[str, Any], sequence: int) -> None:
    """Return if the checkpoint signs for the entry; raise `InvalidLogProofError`."""
    proof = _read(given, AuditProofView)
    checkpoint = check_checkpoint(given["checkpoint"])
    verify_inclusion(
        leaf_hash(bytes.fromhex(proof.data)),
        sequence - 1,
        checkpoint.entries,
        [bytes.fromhex(one) for one in proof.path],
        bytes.fromhex(checkpoint.root),
    )


def check_consistency(remote: Remote, saved_in: Path, key: str) -> None:
    """Return if the log still begins as a saved checkpoint says; raise `InvalidLogProofError`."""
    try:
        saved = check_checkpoint(json.loads(saved_in.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise InvalidInputError("--since", f"{saved_in} holds no checkpoint ({error})") from None
    if saved.key != key:
        raise InvalidLogProofError("consistency", "another HSM signed the saved checkpoint")
    answer = remote.get(f"/api/v1/security/audit/consistency?entries={saved.entries}")
    proof = _read(answer, ConsistencyProofView)
    newest = check_checkpoint(answer["checkpoint"])
    if newest.key != key:
        raise InvalidLogProofError("consistency", "another HSM signs now")
    verify_consistency(
        saved.entries,
        newest.entries,
        bytes.fromhex(saved.root),
        bytes.fromhex(newest.root),
        [bytes.fromhex(one) for one in proof.path],
    )


def _read(given: object, kind: type[V]) -> V:
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise InvalidLogProofError("log", f"what was given is none ({error})") from None
