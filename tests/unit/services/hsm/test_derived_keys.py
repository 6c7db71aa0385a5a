"""Keys derived for a context, and convergent encryption: Vault's Transit scheme, version 3."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from anya_actors.adapters.keys.derived import DerivedKeys
from anya_actors.domain.hsm.errors import KeyExhaustedError, OperationRefusedError
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.root import key_context
from anya_actors.domain.hsm.slots import KeyPlan
from anya_actors.domain.hsm.views import SessionView
from anya_actors.domain.keys.algorithms import InvalidCiphertextError, InvalidSignatureError
from anya_actors.domain.keys.operations import (
    Answer,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    RewrapRequest,
    SignRequest,
    VerifyRequest,
)
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.hsm import HsmService
from anya_actors.services.hsm.importing import import_key
from anya_actors.testing.local_hsm import LocalHsm

ALL = ("decrypt", "encrypt", "sign", "verify")
AEADS: dict[str, type[AESGCM] | type[ChaCha20Poly1305]] = {
    "aes256-gcm": AESGCM,
    "chacha20-poly1305": ChaCha20Poly1305,
}
DERIVED = KeyPolicy(derived=True)
CONVERGENT = KeyPolicy(derived=True, convergent=True, encryption_limit=2)
ROOT = bytes(range(32))


def hkdf(root: bytes, context: bytes, size: int) -> bytes:
    """RFC 5869 with SHA-256 and no salt, by the standard library."""
    extracted = hmac.digest(bytes(32), root, "sha256")
    block, found = b"", b""
    for number in range(1, 4):
        block = hmac.digest(extracted, block + context + bytes([number]), "sha256")
        found += block
    return found[:size]


async def opened(bench: LocalHsm, hsm: HsmService, key_type: str, policy: KeyPolicy) -> SessionView:
    """Alice's session for the key ``k``, whose root is known."""
    from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes

    plan = KeyPlan("k", key_type, "alice", ALL, policy)
    await import_key(bench.actors, NaclSealedBoxes(), plan, KeyMaterial("raw", ROOT), message_id="k")
    return await hsm.open_session("alice", ("k",), message_id="open")


async def do(bench: LocalHsm, session: SessionView, request: Any) -> Answer:
    answer: Answer = (await bench.actors.call(session.actor, "perform", (request,)))[0]
    return answer


@pytest.mark.parametrize("key_type", sorted(AEADS))
async def test_each_context_has_a_key_of_its_own(bench: LocalHsm, hsm: HsmService, key_type: str) -> None:
    session = await opened(bench, hsm, key_type, DERIVED)
    sealed = (await do(bench, session, EncryptRequest("k", b"text", key_type, context=b"a"))).data
    assert AEADS[key_type](hkdf(ROOT, b"a", 32)).decrypt(sealed[:12], sealed[12:], b"") == b"text"
    again = (await do(bench, session, EncryptRequest("k", b"text", key_type, context=b"a"))).data
    assert again != sealed
    opens = await do(bench, session, DecryptRequest("k", sealed, key_type, context=b"a"))
    assert opens.data == b"text"
    with pytest.raises(InvalidCiphertextError):
        await do(bench, session, DecryptRequest("k", sealed, key_type, context=b"b"))


@pytest.mark.parametrize("key_type", sorted(AEADS))
async def test_convergent_encryption_is_vaults(bench: LocalHsm, hsm: HsmService, key_type: str) -> None:
    session = await opened(bench, hsm, key_type, CONVERGENT)
    keys = hkdf(ROOT, b"a", 64)
    nonce = hmac.digest(keys[32:], b"text", "sha256")[:12]
    expected = nonce + AEADS[key_type](keys[:32]).encrypt(nonce, b"text", b"")
    for _ in range(5):  # more than its encryption limit: no nonce is used up
        found = await do(bench, session, EncryptRequest("k", b"text", key_type, context=b"a"))
        assert found.data == expected
    other = await do(bench, session, EncryptRequest("k", b"texu", key_type, context=b"a"))
    elsewhere = await do(bench, session, EncryptRequest("k", b"text", key_type, context=b"b"))
    assert len({expected[:12], other.data[:12], elsewhere.data[:12]}) == 3
    opens = await do(bench, session, DecryptRequest("k", expected, key_type, context=b"a"))
    assert opens.data == b"text"


async def test_random_nonces_under_derived_keys_keep_their_limit(bench: LocalHsm, hsm: HsmService) -> None:
    policy = KeyPolicy(derived=True, encryption_limit=2)
    session = await opened(bench, hsm, "aes256-gcm", policy)
    for context in (b"a", b"b"):
        await do(bench, session, EncryptRequest("k", b"text", "aes256-gcm", context=context))
    with pytest.raises(KeyExhaustedError):
        await do(bench, session, EncryptRequest("k", b"text", "aes256-gcm", context=b"c"))


async def test_counted_nonces_differ_over_all_contexts(bench: LocalHsm, hsm: HsmService) -> None:
    policy = KeyPolicy(derived=True, counter_nonces=True)
    await hsm.create_key("k", "aes256-gcm", "alice", ALL, policy, message_id="k")
    session = await hsm.open_session("alice", ("k",), message_id="open")
    requests = [EncryptRequest("k", b"text", "aes256-gcm", context=each) for each in (b"a", b"b", b"a")]
    sealed = [(await do(bench, session, request)).data[:12] for request in requests]
    assert sealed == [number.to_bytes(12, "big") for number in range(3)]


async def test_an_ed25519_key_derives_as_go_writes_private_keys(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(bench, hsm, "ed25519", DERIVED)
    root = ROOT + Ed25519PrivateKey.from_private_bytes(ROOT).public_key().public_bytes_raw()
    child = Ed25519PrivateKey.from_private_bytes(hkdf(root, b"a", 32))
    signed = (await do(bench, session, SignRequest("k", b"text", "ed25519", context=b"a"))).data
    assert signed == child.sign(b"text")
    await do(bench, session, VerifyRequest("k", b"text", signed, "ed25519", context=b"a"))
    with pytest.raises(InvalidSignatureError):
        await do(bench, session, VerifyRequest("k", b"text", signed, "ed25519", context=b"b"))
    public = await bench.actors.call(session.actor, "public_key", "k", (), 0, b"a")
    assert public == child.public_key().public_bytes_raw()


async def test_what_one_version_sealed_is_rewrapped_in_its_context(bench: LocalHsm, hsm: HsmService) -> None:
    session = await opened(bench, hsm, "aes256-gcm", CONVERGENT)
    old = (await do(bench, session, EncryptRequest("k", b"text", "aes256-gcm", context=b"a"))).data
    await hsm.rotate_key("k", "alice", message_id="rotate")
    request = RewrapRequest("k", old, "aes256-gcm", version=1, context=b"a")
    new = await do(bench, session, request)
    assert (new.version, new.data != old) == (2, True)
    opens = await do(bench, session, DecryptRequest("k", new.data, "aes256-gcm", context=b"a"))
    assert opens.data == b"text"


@pytest.mark.parametrize(
    ("policy", "request_"),
    [
        (DERIVED, EncryptRequest("k", b"text", "aes256-gcm")),
        (DERIVED, DecryptRequest("k", bytes(40), "aes256-gcm")),
        (DERIVED, EncryptRequest("k", b"text", "aes256-gcm", context=bytes(4097))),
        (DERIVED, MacRequest("k", b"text", "hmac-sha256")),
        (KeyPolicy(), EncryptRequest("k", b"text", "aes256-gcm", context=b"a")),
        (CONVERGENT, EncryptRequest("k", b"text", "aes256-gcm", b"data", context=b"a")),
        (CONVERGENT, DecryptRequest("k", bytes(40), "aes256-gcm", b"data", context=b"a")),
    ],
)
async def test_a_context_that_does_not_belong_is_refused(
    bench: LocalHsm, hsm: HsmService, policy: KeyPolicy, request_: Any
) -> None:
    session = await opened(bench, hsm, "aes256-gcm", policy)
    with pytest.raises(InvalidInputError):
        await do(bench, session, request_)


@pytest.mark.parametrize(
    ("key_type", "policy"),
    [
        ("p256", DERIVED),
        ("hmac-sha256", DERIVED),
        ("ed25519", CONVERGENT),
        ("aes256-gcm", KeyPolicy(convergent=True)),
        ("aes256-gcm", KeyPolicy(derived=True, convergent=True, counter_nonces=True)),
    ],
)
async def test_what_cannot_be_derived_is_not_made(hsm: HsmService, key_type: str, policy: KeyPolicy) -> None:
    with pytest.raises(InvalidInputError):
        await hsm.create_key("k", key_type, "alice", ALL, policy, message_id="k")


async def test_a_key_stays_derived(bench: LocalHsm, hsm: HsmService) -> None:
    await opened(bench, hsm, "aes256-gcm", CONVERGENT)
    for policy in (KeyPolicy(), DERIVED):
        with pytest.raises(OperationRefusedError):
            await hsm.configure_key("k", "alice", 1, 0, policy, message_id=str(policy))
    kept = msgspec.structs.replace(CONVERGENT, deletion_allowed=False)
    assert (await hsm.configure_key("k", "alice", 1, 0, kept, message_id="kept")).policy == kept


def test_a_wiped_family_derives_nothing() -> None:
    family = DerivedKeys("aes256-gcm", Secret(ROOT), convergent=False)
    family.wipe()
    with pytest.raises(InvalidInputError, match="wiped"), family.under(b"a"):
        pass


def test_keys_that_were_stored_before_have_the_same_associated_data() -> None:
    context = key_context("k", 1, "aes256-gcm", "alice", ALL, b"", KeyPolicy(exportable=True))
    expected = "bbaa102eeac3d74af672b76070984e07b59e1c6fa3de7ce5153fedc954f13b65"
    assert hashlib.sha256(context).hexdigest() == expected
    much = KeyPolicy(
        exportable=True, expires_unix_ms=5, rate_per_s=3, deletion_allowed=False, guarded=("rotate",),
        approvers=("bob",), approvals_needed=1, derived=True, convergent=True, backup=True,
    )  # fmt: skip
    context = key_context("k", 1, "aes256-gcm", "alice", ALL, b"", much)
    expected = "785a7152130249da3d00de529d3eaf6b82d746e7a340c461fa0e30487aa9229c"
    assert hashlib.sha256(context).hexdigest() == expected
    counting = KeyPolicy(paths=((84 + 2**31, 0),), counter_nonces=True, auto_rotate_s=3600)
    context = key_context("k", 1, "bip32", "alice", ALL, b"", counting)
    expected = "7c61e6f8c1f50bee8628b29efd25e68b78f597cfcca4d4da8476729664495e04"
    assert hashlib.sha256(context).hexdigest() == expected
