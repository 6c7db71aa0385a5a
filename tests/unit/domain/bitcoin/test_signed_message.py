"""Messages signed by addresses of every kind (BIP322): valid, invalid, inconclusive."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from btclib.b58 import prv_key_data_from_wif
from coincurve import PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.address import encode_address, parse_address
from anya_actors.domain.bitcoin.errors import WrongNetworkError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import hash160, p2pkh_script, p2sh_script, p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.signed_message import (
    InconclusiveMessageError,
    SignedMessageError,
    ValidMessage,
    assemble_signature,
    digest_to_sign,
    full_signature,
    legacy_digest,
    legacy_signature,
    message_hash,
    simple_signature,
    to_sign,
    to_sign_psbt,
    to_spend,
    verify_message,
)
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput
from anya_actors.domain.keys.curve import add_to_secret, negate_secret, tagged_scalar
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import NotSupportedError

Vectors = Callable[[str], Any]
MAINNET = Network.MAINNET
KEY = PrivateKey(b"\x2a" * 32)
PUBLIC = KEY.public_key.format()

# From bip-0322/basic-test-vectors.json.
ADDRESS = "bc1q9vza2e8x573nczrlzms0wvx3gsqjx7vavgkx0l"
SIGNATURE = (
    "smpAkcwRAIgZRfIY3p7/DoVTty6YZbWS71bc5Vct9p9Fia83eRmw2QCICK/ENGfwLtptFluMGs2KsqoNSk89pO7F29zJLUx9a/s"
    "ASECx/EgAxlkQpQ9hYjgGu6EBCPMVPwVIVJqO4XCsMvViHI="
)


def test_the_virtual_transactions_are_those_of_the_vectors(vectors: Vectors) -> None:
    for case in vectors("bip322_basic.json")["tx_hashes"]:
        message, script = case["message"].encode(), parse_address(case["address"], MAINNET)
        assert message_hash(message).hex() == case["message_hash"]
        assert str(to_spend(message, script).txid) == case["to_spend_tx_hash"]
        assert str(to_sign(message, script).txid) == case["to_sign_tx_hash"]


@pytest.mark.parametrize("name", ["bip322_basic.json", "bip322_generated.json"])
def test_what_the_vectors_call_valid_is_valid(vectors: Vectors, name: str) -> None:
    file = vectors(name)
    variants = {"simple": "simple", "full": "full", "proof_of_funds": "proof-of-funds"}
    for group, variant in variants.items():
        for case in file.get(group, []):
            for signature in case["bip322_signatures"]:
                verdict = verify_message(case["message"].encode(), case["address"], signature, MAINNET)
                assert verdict.variant == variant
                assert verdict.lock_time == case.get("lock_time", 0)
                assert verdict.sequence == case.get("sequence", 0)
                assert len(verdict.coins) == sum(map(len, case.get("additional_inputs", [])))


@pytest.mark.parametrize("name", ["bip322_basic.json", "bip322_generated.json"])
def test_what_the_vectors_call_an_error_is_refused_for_that_reason(vectors: Vectors, name: str) -> None:
    for case in vectors(name)["error"]:
        with pytest.raises(SignedMessageError) as refusal:
            verify_message(case["message"].encode(), case["address"], case["signature"], MAINNET)
        assert case["error_substr"] in str(refusal.value), case["description"]


def test_single_keys_sign_what_the_vectors_hold(vectors: Vectors) -> None:
    file = vectors("bip322_basic.json")
    for case in file["simple"]:
        if case["type"] == "p2wpkh":
            secret = PrivateKey(prv_key_data_from_wif(case["private_keys"][0]).q.to_bytes(32, "big"))
            message, script = case["message"].encode(), parse_address(case["address"], MAINNET)
            public = secret.public_key.format()
            signature = secret.sign(digest_to_sign(message, script, public), hasher=None)
            assert assemble_signature(message, script, public, signature) in case["bip322_signatures"]


def test_a_signature_of_the_bip_holds_and_for_no_other_message() -> None:
    assert verify_message(b"Hello World", ADDRESS, SIGNATURE, MAINNET) == ValidMessage("simple")
    assert verify_message(b"Hello World", ADDRESS.upper(), SIGNATURE + "\n", MAINNET)
    with pytest.raises(SignedMessageError, match="invalid signature"):
        verify_message(b"Hello World!", ADDRESS, SIGNATURE, MAINNET)
    with pytest.raises(WrongNetworkError):
        verify_message(b"Hello World", ADDRESS, SIGNATURE, Network.REGTEST)


def tweaked() -> PrivateKey:
    with Secret(KEY.secret) as secret:
        if PUBLIC[0] == 3:
            negate_secret(secret)
        add_to_secret(secret, tagged_scalar("TapTweak", PUBLIC[1:]))
        return PrivateKey(secret.reveal())


SCRIPTS = {
    "p2pkh": p2pkh_script(hash160(PUBLIC)),
    "p2wpkh": p2wpkh_script(hash160(PUBLIC)),
    "p2sh-p2wpkh": p2sh_script(hash160(p2wpkh_script(hash160(PUBLIC)))),
    "p2tr": p2tr_script(tweaked().public_key.format()[1:]),
}


@pytest.mark.parametrize("network", [Network.MAINNET, Network.TESTNET4, Network.SIGNET, Network.REGTEST])
@pytest.mark.parametrize("kind", SCRIPTS)
def test_one_key_signs_for_each_kind_of_address(kind: str, network: Network) -> None:
    script = SCRIPTS[kind]
    address = encode_address(script, network)
    assert address is not None
    digest = digest_to_sign(b"mine", script, PUBLIC)
    signature = tweaked().sign_schnorr(digest) if kind == "p2tr" else KEY.sign(digest, hasher=None)
    text = assemble_signature(b"mine", script, PUBLIC, signature)
    expected = "full" if kind in ("p2pkh", "p2sh-p2wpkh") else "simple"
    assert verify_message(b"mine", address, text, network) == ValidMessage(expected)  # type: ignore[arg-type]
    with pytest.raises(SignedMessageError):
        verify_message(b"yours", address, text, network)


def test_another_key_signs_for_no_address() -> None:
    other = PrivateKey(b"\x2b" * 32).public_key.format()
    for kind in ("p2pkh", "p2wpkh", "p2sh-p2wpkh"):
        with pytest.raises(SignedMessageError, match="not its own"):
            digest_to_sign(b"", SCRIPTS[kind], other)
    with pytest.raises(NotSupportedError):
        digest_to_sign(b"", b"\x00\x20" + bytes(32), PUBLIC)


def test_a_message_of_the_old_kind_holds_for_p2pkh_alone() -> None:
    text = legacy_signature(b"old", PUBLIC, KEY.sign(legacy_digest(b"old"), hasher=None))
    address = encode_address(SCRIPTS["p2pkh"], MAINNET) or ""
    assert verify_message(b"old", address, text, MAINNET) == ValidMessage("legacy")
    with pytest.raises(SignedMessageError):
        verify_message(b"new", address, text, MAINNET)
    with pytest.raises(SignedMessageError, match="p2pkh"):
        verify_message(b"old", encode_address(SCRIPTS["p2wpkh"], MAINNET) or "", text, MAINNET)
    with pytest.raises(SignedMessageError):
        legacy_signature(b"new", PUBLIC, KEY.sign(legacy_digest(b"old"), hasher=None))


def test_a_witness_version_of_the_future_is_inconclusive() -> None:
    address = encode_address(b"\x52\x20" + bytes(31) + b"\x01", MAINNET) or ""
    with pytest.raises(InconclusiveMessageError):
        verify_message(b"", address, simple_signature((b"anything",)), MAINNET)


def test_a_version_without_meaning_is_inconclusive() -> None:
    script = b"\x00\x20" + hashlib.sha256(b"\x51").digest()
    unsigned = to_sign(b"", script, version=1)
    spent = TxInput(unsigned.inputs[0].prevout, b"", 0, (b"\x51",))
    signed = Transaction(1, (spent,), unsigned.outputs)
    with pytest.raises(InconclusiveMessageError, match="version"):
        verify_message(b"", encode_address(script, MAINNET) or "", full_signature(signed), MAINNET)
    again = full_signature(Transaction(2, (spent,), unsigned.outputs, 7))
    verdict = verify_message(b"", encode_address(script, MAINNET) or "", again, MAINNET)
    assert verdict == ValidMessage("full", 7, 0)


def test_a_signature_spends_the_message_and_nothing_else() -> None:
    script = b"\x00\x20" + hashlib.sha256(b"\x51").digest()
    address = encode_address(script, MAINNET) or ""
    unsigned = to_sign(b"", script)
    spent = TxInput(unsigned.inputs[0].prevout, b"", 0, (b"\x51",))
    verify_message(b"", address, full_signature(Transaction(0, (spent,), unsigned.outputs)), MAINNET)
    wrong = [
        Transaction(0, (spent,), unsigned.outputs * 2),
        Transaction(0, (TxInput(Outpoint(spent.prevout.txid, 1), b"", 0, (b"\x51",)),), unsigned.outputs),
        Transaction(0, (spent, spent), unsigned.outputs),
    ]
    for transaction in wrong:
        with pytest.raises(SignedMessageError):
            verify_message(b"", address, full_signature(transaction), MAINNET)


def test_several_keys_sign_by_a_psbt() -> None:
    address = encode_address(SCRIPTS["p2wpkh"], MAINNET) or ""
    psbt = to_sign_psbt(b"mine", address, MAINNET)
    assert psbt.startswith(b"psbt\xff")
    assert to_sign(b"mine", SCRIPTS["p2wpkh"]).serialize_stripped() in psbt


def test_a_signature_too_long_is_not_read() -> None:
    with pytest.raises(NotSupportedError):
        verify_message(b"", ADDRESS, "A" * 400_001, MAINNET)


@settings(max_examples=200)
@given(
    st.sampled_from(["", "smp", "ful", "pof"]), st.one_of(st.binary(max_size=200), st.just(b"psbt\xff\x00"))
)
def test_any_bytes_are_refused_and_crash_nothing(prefix: str, data: bytes) -> None:
    with pytest.raises(SignedMessageError):
        verify_message(b"", ADDRESS, prefix + base64.b64encode(data).decode(), MAINNET)


@given(st.text(max_size=50))
def test_any_text_is_refused_and_crashes_nothing(text: str) -> None:
    with pytest.raises(SignedMessageError):
        verify_message(b"", ADDRESS, text, MAINNET)
