"""The roles of BIP174 and BIP370: Core's walk-through, and what each role refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from coincurve import PrivateKey
from coincurve._libsecp256k1 import ffi

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.descriptors import parse_descriptor
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.psbt import (
    AbsurdFeeError,
    InputMap,
    OutputMap,
    Psbt,
    PsbtInputError,
    PsbtStateError,
    parse_psbt_base64,
)
from anya_actors.domain.bitcoin.psbt.fields import Global, In, Out
from anya_actors.domain.bitcoin.psbt.finalize import finalize_psbt, finalize_what_is_complete
from anya_actors.domain.bitcoin.psbt.roles import (
    add_input,
    add_output,
    combine_psbts,
    create_psbt,
    extract_transaction,
    to_version_0,
    to_version_2,
)
from anya_actors.domain.bitcoin.psbt.sign import (
    SignatureRequest,
    input_requests,
    sign_psbt,
    signature_requests,
    with_signature,
)
from anya_actors.domain.bitcoin.psbt.update import update_psbt, with_sighash_type, with_utxos
from anya_actors.domain.bitcoin.sighash import Sighash
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.keys.private_text import parse_wif

Vectors = Callable[[str], Any]

PRIVATE = PrivateKey(bytes([7]) * 32)
KEY = PRIVATE.public_key.format()
WPKH = parse_descriptor(f"wpkh({KEY.hex()})", Network.REGTEST).single
FUNDING = Transaction(
    2,
    (TxInput(Outpoint(Txid(bytes(31) + b"\x01"), 0)),),
    (TxOutput(100_000, WPKH.script_pubkey()), TxOutput(50_000, WPKH.script_pubkey())),
)


def spending(version: int = 0, *, fee_sat: int = 1_000, modifiable: int = 0) -> Psbt:
    """A PSBT that spends both outputs of the funding transaction, updated and not signed."""
    inputs = tuple(TxInput(Outpoint(FUNDING.txid, index)) for index in range(2))
    outputs = (TxOutput(150_000 - fee_sat, WPKH.script_pubkey()),)
    psbt = create_psbt(Transaction(2, inputs, outputs), version, modifiable=modifiable)
    psbt = with_utxos(psbt, {FUNDING.txid: FUNDING})
    (plan,) = WPKH.expand()
    return update_psbt(psbt, lambda script: plan if script == plan.script_pubkey else None)


def sign(request: SignatureRequest) -> bytes:
    return PRIVATE.sign(request.digest, hasher=None)


def everything(_key: bytes, _origin: object) -> bool:
    return True


def ground(private: PrivateKey, digest: bytes) -> bytes:
    """Core draws nonces until R is low: RFC 6979 with a counter as extra entropy."""
    for count in range(1000):
        extra = ffi.new("unsigned char[32]", count.to_bytes(32, "little")) if count else ffi.NULL
        signature = private.sign(digest, hasher=None, custom_nonce=(ffi.NULL, extra))
        if len(signature) < 71:
            return signature
    raise AssertionError


def requests_of_core(psbt: Psbt, keys: dict[bytes, PrivateKey]) -> Iterator[SignatureRequest]:
    """Core passes over inputs that do not fit together."""
    for index in range(len(psbt.inputs)):
        try:
            yield from input_requests(psbt, index, lambda key, _: key in keys, public_keys=list(keys))
        except PsbtInputError:
            continue


def test_the_creator_writes_what_core_writes(vectors: Vectors) -> None:
    for case in vectors("core_rpc_psbt.json")["creator"]:
        inputs = tuple(
            TxInput(Outpoint(Txid.from_hex(each["txid"]), each["vout"]), sequence=0xFFFFFFFF)
            for each in case["inputs"]
        )
        outputs = tuple(
            TxOutput(round(amount * 10**8), parse_address(address, Network.REGTEST))
            for each in case["outputs"]
            for address, amount in each.items()
        )
        assert create_psbt(Transaction(2, inputs, outputs)).to_base64() == case["result"]


def test_the_signer_signs_what_core_signs(vectors: Vectors) -> None:
    for case in vectors("core_rpc_psbt.json")["signer"]:
        privates = [parse_wif(text) for text in case["privkeys"]]
        keys = {key.public_key(): PrivateKey(key.secret.reveal()) for key in privates}
        psbt = parse_psbt_base64(case["psbt"])
        for request in list(requests_of_core(psbt, keys)):
            psbt = with_signature(psbt, request, ground(keys[request.public_key], request.digest))
        assert psbt.in_order().to_base64() == case["result"]


def test_combiner_finaliser_and_extractor_give_what_core_gives(vectors: Vectors) -> None:
    cases = vectors("core_rpc_psbt.json")
    for case in cases["combiner"]:
        parts = [parse_psbt_base64(text) for text in case["combine"]]
        assert combine_psbts(parts).to_base64() == case["result"]
        assert combine_psbts(parts[::-1]).to_base64() == case["result"]
    for case in cases["finalizer"]:
        assert finalize_psbt(parse_psbt_base64(case["finalize"])).to_base64() == case["result"]
    for case in cases["extractor"]:
        assert extract_transaction(parse_psbt_base64(case["extract"])).serialize().hex() == case["result"]


def test_a_signer_refuses_what_bip174_tells_it_to(vectors: Vectors) -> None:
    for case in vectors("bip174_psbt.json")["signer_must_reject"]:
        with pytest.raises(PsbtInputError):
            list(signature_requests(parse_psbt_base64(case["psbt"]), everything))


@pytest.mark.parametrize("version", [0, 2])
def test_a_payment_goes_through_every_role(version: int) -> None:
    psbt = spending(version)
    assert psbt.fee_sat() == 1_000
    signed = sign_psbt(psbt, everything, sign)
    assert not list(signature_requests(signed, everything))
    transaction = extract_transaction(finalize_psbt(signed))
    assert [len(spent.witness) for spent in transaction.inputs] == [2, 2]
    assert parse_psbt_base64(signed.to_base64()) == signed


def test_signers_apart_are_combined() -> None:
    psbt = spending()
    first, second = signature_requests(psbt, everything)
    parts = [with_signature(psbt, request, sign(request)) for request in (second, first)]
    assert combine_psbts(parts) == sign_psbt(psbt, everything, sign)
    for part in parts:
        finished, is_complete = finalize_what_is_complete(part)
        assert not is_complete
        assert sum(held.is_final for held in finished.inputs) == 1
        with pytest.raises(PsbtInputError, match="not finalised"):
            extract_transaction(finished)


def test_psbts_of_different_transactions_are_not_combined() -> None:
    with pytest.raises(PsbtStateError, match="PSBTs not compatible"):
        combine_psbts([spending(), spending(fee_sat=2_000)])
    with pytest.raises(PsbtStateError, match="PSBTs not compatible"):
        combine_psbts([spending(0), spending(2)])
    with pytest.raises(PsbtStateError, match="none"):
        combine_psbts([])


def test_a_signature_that_does_not_hold_is_not_kept() -> None:
    psbt = spending()
    request = next(signature_requests(psbt, everything))
    wrong = PRIVATE.sign(bytes(32), hasher=None)
    with pytest.raises(PsbtInputError, match="not one of its digest"):
        with_signature(psbt, request, wrong)
    forged = psbt.inputs[0].with_value(In.PARTIAL_SIG, wrong + b"\x01", KEY)
    with pytest.raises(PsbtInputError, match="does not hold"):
        finalize_psbt(psbt.with_input(0, forged))


def test_unusual_signature_types_need_to_be_allowed() -> None:
    psbt = with_sighash_type(spending(), 0, Sighash.NONE)
    with pytest.raises(PsbtInputError, match="0x02, which is not allowed"):
        list(signature_requests(psbt, everything))
    requests = list(signature_requests(psbt, everything, sighashes=tuple(Sighash)))
    assert [request.sighash for request in requests] == [Sighash.NONE, Sighash.ALL]


def test_a_signature_of_another_type_than_wanted_is_not_finalised() -> None:
    psbt = sign_psbt(spending(), everything, sign)
    held = psbt.inputs[1].with_value(In.SIGHASH_TYPE, b"\x03\0\0\0")
    with pytest.raises(PsbtInputError, match="0x01, not 0x03"):
        finalize_psbt(psbt.with_input(1, held))
    with pytest.raises(PsbtStateError, match="signed already"):
        with_sighash_type(psbt, 0, Sighash.NONE)


def test_amounts_that_contradict_each_other_are_not_signed() -> None:
    psbt = spending()
    lie = TxOutput(1, WPKH.script_pubkey()).serialize()
    psbt = psbt.with_input(0, psbt.inputs[0].with_value(In.WITNESS_UTXO, lie))
    with pytest.raises(PsbtInputError, match="do not agree"):
        list(signature_requests(psbt, everything))


def test_absurd_negative_and_unknown_fees_are_not_extracted() -> None:
    absurd = finalize_psbt(sign_psbt(spending(fee_sat=140_000), everything, sign))
    with pytest.raises(AbsurdFeeError) as caught:
        extract_transaction(absurd, max_feerate_sat_per_kvb=10_000)
    assert caught.value.args[0] == 140_000
    assert extract_transaction(absurd, max_feerate_sat_per_kvb=None).outputs[0].amount_sat == 10_000
    negative = finalize_psbt(sign_psbt(spending(fee_sat=-1), everything, sign))
    with pytest.raises(PsbtStateError, match="greater than its inputs"):
        extract_transaction(negative)
    blind = absurd.with_input(0, absurd.inputs[0].without(In.NON_WITNESS_UTXO, In.WITNESS_UTXO))
    with pytest.raises(PsbtStateError, match="fee is not known"):
        extract_transaction(blind)


def test_versions_turn_into_each_other() -> None:
    psbt = spending()
    assert to_version_0(to_version_2(psbt)) == psbt
    assert to_version_2(psbt).unsigned_transaction == psbt.unsigned_transaction
    assert to_version_2(psbt).unique_id != psbt.unique_id
    silent = to_version_2(psbt)
    silent = silent.with_output(0, silent.outputs[0].with_value(Out.SP_V0_INFO, bytes(66)))
    with pytest.raises(PsbtStateError, match="silent payment"):
        to_version_0(silent)


def test_a_signed_transaction_is_no_beginning() -> None:
    signed = Transaction(2, (TxInput(Outpoint(FUNDING.txid, 0), b"\x51"),), FUNDING.outputs)
    with pytest.raises(PsbtStateError, match="signed already"):
        create_psbt(signed)


def test_inputs_and_outputs_are_added_while_the_flags_allow_it() -> None:
    another = TxInput(Outpoint(Txid(bytes(31) + b"\x09"), 3))
    psbt = spending(2, modifiable=3)
    grown = add_output(add_input(psbt, another, InputMap()), FUNDING.outputs[0], OutputMap())
    assert parse_psbt_base64(grown.to_base64()) == grown
    assert (len(grown.inputs), len(grown.outputs)) == (3, 2)
    with pytest.raises(PsbtStateError, match=r"spends .* already"):
        add_input(grown, another)
    with pytest.raises(PsbtStateError, match="version 0"):
        add_input(spending(), another)
    signed = sign_psbt(psbt, everything, sign)
    assert signed.globals.tx_modifiable == 0
    with pytest.raises(PsbtStateError, match="fixed"):
        add_input(signed, another)
    with pytest.raises(PsbtStateError, match="fixed"):
        add_output(signed, FUNDING.outputs[0])


def test_signatures_leave_open_what_they_do_not_sign() -> None:
    psbt = with_sighash_type(spending(2, modifiable=3), 0, Sighash.SINGLE_ANYONECANPAY)
    request = next(signature_requests(psbt, everything, sighashes=tuple(Sighash)))
    flags = with_signature(psbt, request, sign(request)).globals.value(Global.TX_MODIFIABLE)
    assert flags == b"\x05"


def test_an_input_that_would_move_the_lock_time_is_not_added_to_a_signed_psbt() -> None:
    psbt = with_sighash_type(spending(2, modifiable=3), 0, Sighash.NONE_ANYONECANPAY)
    request = next(signature_requests(psbt, everything, sighashes=tuple(Sighash)))
    psbt = with_signature(psbt, request, sign(request))
    later = InputMap().with_value(In.REQUIRED_HEIGHT_LOCKTIME, (500).to_bytes(4, "little"))
    with pytest.raises(PsbtStateError, match="lock time"):
        add_input(psbt, TxInput(Outpoint(Txid(bytes(31) + b"\x09"), 3)), later)
