"""What the roles make is what the consensus rules take: every kind of descriptor spent through the kernel."""

from __future__ import annotations

import hashlib

import pytest
from coincurve import PrivateKey

from anya_actors.adapters.bitcoinkernel.engine import verify_scripts
from anya_actors.domain.bitcoin.descriptors import Descriptor, ParsedDescriptor, ScriptPlan, parse_descriptor
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.psbt import Psbt, PsbtInputError, parse_psbt_base64
from anya_actors.domain.bitcoin.psbt.fields import In
from anya_actors.domain.bitcoin.psbt.finalize import finalize_psbt
from anya_actors.domain.bitcoin.psbt.roles import create_psbt, extract_transaction
from anya_actors.domain.bitcoin.psbt.sign import SignatureRequest, signature_requests, with_signature
from anya_actors.domain.bitcoin.psbt.update import update_psbt, with_utxos
from anya_actors.domain.bitcoin.taproot import tweak
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.keys.curve import ORDER
from anya_actors.domain.keys.extended import ExtendedPrivateKey, master_key
from anya_actors.domain.keys.key_origin import KeyOrigin

MASTERS = [master_key(bytes([number]) * 32, is_mainnet=False) for number in range(1, 9)]
A, B, C, D, E, F, G, H = (f"{master.reveal()}/0/*" for master in MASTERS)
PREIMAGE = bytes(range(32))
SHA = hashlib.sha256(PREIMAGE).hexdigest()
HASH256 = hashlib.sha256(hashlib.sha256(PREIMAGE).digest()).hexdigest()
NUMS = "50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0"

DESCRIPTORS = [
    f"pk({A})",
    f"pkh({A})",
    f"wpkh({A})",
    f"sh(wpkh({A}))",
    f"sh(pkh({A}))",
    f"wsh(pk({A}))",
    f"wsh(pkh({A}))",
    f"sh(wsh(pkh({A})))",
    f"multi(1,{A},{B})",
    f"sh(multi(2,{A},{B},{C}))",
    f"wsh(sortedmulti(2,{A},{B},{C}))",
    f"sh(wsh(multi(2,{A},{B})))",
    f"tr({A})",
    f"rawtr({A})",
    f"tr({NUMS},pk({A}))",
    f"tr({NUMS},multi_a(2,{A},{B},{C}))",
    f"tr({NUMS},{{pk({A}),{{sortedmulti_a(2,{B},{C},{D}),pkh({E})}}}})",
    # Miniscript: what BIP379 and Core's tests hold up as examples.
    f"wsh(and_v(v:pk({A}),older(10)))",
    f"wsh(and_v(v:pk({A}),after(100)))",
    f"wsh(or_d(pk({A}),and_v(v:pkh({B}),older(10))))",
    f"wsh(andor(pk({A}),older(10),pk({B})))",
    f"wsh(thresh(2,pk({A}),s:pk({B}),sln:older(10)))",
    f"wsh(and_v(or_c(pk({A}),v:older(10)),pk({B})))",
    f"wsh(and_b(pk({A}),a:pkh({B})))",
    f"wsh(or_i(and_v(v:sha256({SHA}),pk({A})),pk({B})))",
    f"wsh(and_v(v:hash256({HASH256}),multi(2,{A},{B})))",
    f"wsh(or_b(pk({A}),s:pk({B})))",
    f"wsh(andor(multi(2,{A},{B}),older(5),and_v(v:pkh({C}),after(50))))",
    f"tr({NUMS},and_v(v:pk({A}),older(10)))",
    f"tr({NUMS},{{and_v(v:multi_a(2,{A},{B}),after(100)),thresh(2,pk({C}),s:pk({D}),s:pk({E}))}})",
    f"tr({NUMS},and_v(v:sha256({SHA}),pk({A})))",
    f"tr({NUMS},or_i(pkh({A}),and_v(v:pkh({B}),older(10))))",
]


def spending_of(parsed: ParsedDescriptor, version: int) -> tuple[Psbt, Transaction]:
    """A PSBT that spends the output at index 3, old and late enough for every lock; and what it spends."""
    (plan,) = parsed.single.expand(3, parsed.private_keys)
    funding = Transaction(
        2, (TxInput(Outpoint(Txid(bytes(31) + b"\x01"), 0)),), (TxOutput(100_000, plan.script_pubkey),)
    )
    spent = TxInput(Outpoint(funding.txid, 0), sequence=20)
    payment = Transaction(2, (spent,), (TxOutput(99_000, plan.script_pubkey),), lock_time=200)
    psbt = with_utxos(create_psbt(payment, version), {funding.txid: funding})

    def find(script: bytes) -> ScriptPlan | None:
        return plan if script == plan.script_pubkey else None

    psbt = update_psbt(psbt, find)
    held = psbt.inputs[0].with_value(In.SHA256, PREIMAGE, bytes.fromhex(SHA))
    held = held.with_value(In.HASH256, PREIMAGE, bytes.fromhex(HASH256))
    return psbt.with_input(0, held), funding


def owns(_key: bytes, origin: KeyOrigin | None) -> bool:
    return origin is not None and origin.fingerprint in {each.public.fingerprint for each in MASTERS}


def sign(request: SignatureRequest) -> bytes:
    """As an HSM would: the origin says which master key and which path."""
    assert request.origin is not None
    (master,) = (each for each in MASTERS if each.public.fingerprint == request.origin.fingerprint)
    return sign_with(master.derive(request.origin.path), request)


def sign_with(key: ExtendedPrivateKey, request: SignatureRequest) -> bytes:
    private = PrivateKey(key.secret.reveal())
    if request.algorithm == "ecdsa":
        return private.sign(request.digest, hasher=None)
    if request.merkle_root is not None:
        number = int.from_bytes(private.secret, "big")
        if key.public.public_key[0] == 3:
            number = ORDER - number
        number += int.from_bytes(tweak(request.public_key, request.merkle_root), "big")
        private = PrivateKey((number % ORDER).to_bytes(32, "big"))
    return private.sign_schnorr(request.digest, bytes(32))


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("text", DESCRIPTORS)
def test_every_descriptor_is_spent(text: str, version: int) -> None:
    parsed = parse_descriptor(text, Network.REGTEST)
    psbt, funding = spending_of(parsed, version)
    with pytest.raises(PsbtInputError):
        finalize_psbt(psbt)
    for request in list(signature_requests(psbt, owns)):
        psbt = with_signature(psbt, request, sign(request))
        psbt = parse_psbt_base64(psbt.to_base64())  # as if each signer sat at another desk
    transaction = extract_transaction(finalize_psbt(psbt))
    verify_scripts(transaction, funding.outputs)
    _check_weight(parsed.single, transaction)


def _check_weight(descriptor: Descriptor, transaction: Transaction) -> None:
    most = descriptor.max_satisfaction_weight(high_r=True)
    assert most is not None
    spent = transaction.inputs[0]
    used = 4 * len(spent.script_sig) + sum(1 + len(item) for item in spent.witness)
    if "tr(" not in str(descriptor):  # of taproot outputs the key path is estimated
        assert used <= most + 4  # a push of more than 75 bytes has a longer opcode


@pytest.mark.parametrize("text", [text for text in DESCRIPTORS if "older" in text or "after" in text])
def test_time_locks_are_kept(text: str) -> None:
    parsed = parse_descriptor(text, Network.REGTEST)
    psbt, funding = spending_of(parsed, 0)
    whole = psbt.unsigned_transaction
    early = Transaction(1, (TxInput(Outpoint(funding.txid, 0), sequence=1),), whole.outputs, lock_time=10)
    psbt = Psbt(create_psbt(early).globals, psbt.inputs, psbt.outputs)
    for request in list(signature_requests(psbt, owns)):
        psbt = with_signature(psbt, request, sign(request))
    try:
        transaction = extract_transaction(finalize_psbt(psbt))
    except PsbtInputError:
        return
    # There is another way to spend it, which needs no lock.
    verify_scripts(transaction, funding.outputs)


def test_the_kernel_notices_a_changed_payment() -> None:
    psbt, funding = spending_of(parse_descriptor(f"tr({A})", Network.REGTEST), 2)
    (request,) = signature_requests(psbt, owns)
    signed = extract_transaction(finalize_psbt(with_signature(psbt, request, sign(request))))
    changed = Transaction(2, signed.inputs, (TxOutput(98_999, b"\x51"),), signed.lock_time)
    with pytest.raises(RejectedTransactionError):
        verify_scripts(changed, funding.outputs)
