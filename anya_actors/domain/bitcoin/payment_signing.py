"""From a payment's bare transaction to a signed one: what each key signs, and where it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coincurve import PublicKey, PublicKeyXOnly

from anya_actors.domain.bitcoin.account import branch_of
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment import PaymentInput
from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.bitcoin.sighash import (
    Sighash,
    p2wpkh_script_code,
    segwit_v0_sighash,
    taproot_key_path_sighash,
)
from anya_actors.domain.bitcoin.transaction import Transaction, TxInput, TxOutput
from anya_actors.domain.bitcoin.wallet import Wallet
from anya_actors.domain.bitcoin.wallet_scripts import key_script
from anya_actors.domain.keys.operations import SignRequest
from anya_actors.domain.machine import NotSupportedError

_BARE_INPUT_WEIGHT: Final = 41 * 4  # outpoint, empty script, sequence


@dataclass(frozen=True, slots=True)
class Spend:
    """One input: the signature that it needs, and the key that the signature must hold for.

    ``output_key`` (x-only) is set for a taproot key path; otherwise it is ECDSA by ``public_key``.
    """

    request: SignRequest
    public_key: bytes
    output_key: bytes = b""

    def holds(self, signature: bytes) -> bool:
        """Whether it is the signature that was asked for."""
        try:
            if self.output_key:
                return bool(PublicKeyXOnly(self.output_key).verify(signature, self.request.message))
            return bool(PublicKey(self.public_key).verify(signature, self.request.message, hasher=None))
        except ValueError:
            return False

    def witness(self, signature: bytes) -> tuple[bytes, ...]:
        """The input's witness (BIP141, BIP341)."""
        if self.output_key:
            return (signature,)
        return signature + bytes((Sighash.ALL,)), self.public_key


def spends_of(wallet: Wallet, transaction: Transaction, inputs: Sequence[PaymentInput]) -> tuple[Spend, ...]:
    """What each input's key has to sign; raises `NotSupportedError` for scripts of several signers."""
    spent = [TxOutput(one.amount_sat, one.script_pubkey or key_script(one.public_key)) for one in inputs]
    return tuple(_spend(wallet, transaction, index, one, spent) for index, one in enumerate(inputs))


def _spend(
    wallet: Wallet, transaction: Transaction, index: int, one: PaymentInput, spent: Sequence[TxOutput]
) -> Spend:
    if one.tweak:
        if wallet.silent is None:
            raise NotSupportedError("signing for a silent payment", "the wallet receives none")
        digest = taproot_key_path_sighash(transaction, index, spent)
        # BIP352: the output's key is the spend key and the tweak, with no taproot tweak on top.
        path = wallet.silent.spend_path
        request = SignRequest(one.key, digest, "schnorr-bip340", path, tweak=one.tweak)
        return Spend(request, one.public_key, one.script_pubkey[2:])
    if wallet.account is None or one.branch < 0:
        return Spend(
            SignRequest(one.key, _p2wpkh_digest(transaction, index, one), "ecdsa-secp256k1"), one.public_key
        )
    derived = branch_of(wallet.account.descriptor(one.branch), Network(wallet.network))
    plan = derived.plan(one.place)
    own = [key for key in plan.keys if key.origin.fingerprint == wallet.account.fingerprint]
    if not own or len(plan.keys) != 1:
        raise NotSupportedError("signing for several signers at once", "go through a PSBT")
    path = own[0].origin.path
    if plan.taproot is not None:
        digest = taproot_key_path_sighash(transaction, index, spent)
        request = SignRequest(one.key, digest, "schnorr-bip340", path, plan.taproot.merkle_root)
        return Spend(request, one.public_key, plan.script_pubkey[2:])
    digest = _p2wpkh_digest(transaction, index, one)
    return Spend(SignRequest(one.key, digest, "ecdsa-secp256k1", path), one.public_key)


def _p2wpkh_digest(transaction: Transaction, index: int, one: PaymentInput) -> bytes:
    code = p2wpkh_script_code(hash160(one.public_key))
    return segwit_v0_sighash(transaction, index, code, one.amount_sat)


def with_witnesses(
    transaction: Transaction, spends: Sequence[Spend], signatures: Sequence[bytes]
) -> Transaction:
    """The transaction with every input's witness."""
    signed = tuple(
        TxInput(bare.prevout, bare.script_sig, bare.sequence, spend.witness(signature))
        for bare, spend, signature in zip(transaction.inputs, spends, signatures, strict=True)
    )
    return Transaction(transaction.version, signed, transaction.outputs, transaction.lock_time)


def estimated_vsize(transaction: Transaction, input_weights: Sequence[int]) -> int:
    """Virtual bytes once signed by inputs of these greatest weights; the signed one is never larger."""
    bare = 4 * len(transaction.serialize_stripped()) - sum(
        _BARE_INPUT_WEIGHT + 4 * len(one.script_sig) for one in transaction.inputs
    )
    return (bare + 2 + sum(input_weights) + 3) // 4
