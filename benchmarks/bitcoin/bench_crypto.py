"""Signatures, MuSig2 and silent payments beside coincurve, wallycore and btclib, in one run.

Interleaved rounds: in each round every row is measured once, so that a slow moment of the machine
hits all of them. ``python -m benchmarks.bitcoin.bench_crypto --rounds 20``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import wallycore
from btclib_wallet import silent_payments as btclib_silent_payments
from coincurve import PrivateKey, PublicKey, PublicKeyXOnly
from ecc.ecc import musig2 as ecc_musig2

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.script import hash160, p2tr_script, p2wpkh_script
from anya_actors.domain.bitcoin.silent_payment_keys import make_label
from anya_actors.domain.bitcoin.silent_payments import scan_outputs, taproot_keys, tweak_of_transaction
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.keys.curve import Point, shared_point
from anya_actors.domain.keys.musig2 import Session, aggregate, aggregate_nonces
from anya_actors.domain.keys.musig2_signing import generate_nonce, sign_partially
from anya_actors.domain.keys.secret import Secret
from benchmarks.report import show, spread, write

SIGNERS = 3
Row = Callable[[], object]


def signature_rows() -> dict[str, Row]:
    """One signature or verification a call: ours, the bare library, another library."""
    private, digest = b"\x2a" * 32, b"\x17" * 32
    algorithms = LibraryKeyAlgorithms(SystemRandomness())
    ours, bare = algorithms.load("secp256k1", Secret(private)), PrivateKey(private)
    public = bare.public_key.format()
    point, x_only = PublicKey(public), PublicKeyXOnly(public[1:])
    ecdsa, schnorr = bare.sign(digest, hasher=None), bare.sign_schnorr(digest, bytes(32))
    flag = wallycore.EC_FLAG_ECDSA
    wally_flag = wallycore.EC_FLAG_SCHNORR
    wally = wallycore.ec_sig_from_bytes(private, digest, flag)

    def verify(algorithm: str, signature: bytes) -> Row:
        return lambda: algorithms.verify("secp256k1", public, digest, signature, algorithm)

    return {
        "ECDSA sign: ours": lambda: ours.sign(digest, "ecdsa-secp256k1"),
        "ECDSA sign: coincurve": lambda: bare.sign(digest, hasher=None),
        "ECDSA sign: wallycore": lambda: wallycore.ec_sig_from_bytes(private, digest, flag),
        "ECDSA verify: ours": verify("ecdsa-secp256k1", ecdsa),
        "ECDSA verify: coincurve": lambda: point.verify(ecdsa, digest, hasher=None),
        "ECDSA verify: wallycore": lambda: wallycore.ec_sig_verify(public, digest, flag, wally),
        "Schnorr sign: ours": lambda: ours.sign(digest, "schnorr-bip340"),
        "Schnorr sign: coincurve": lambda: bare.sign_schnorr(digest, os.urandom(32)),
        "Schnorr sign: wallycore": lambda: wallycore.ec_sig_from_bytes(private, digest, wally_flag),
        "Schnorr verify: ours": verify("schnorr-bip340", schnorr),
        "Schnorr verify: coincurve": lambda: x_only.verify(schnorr, digest),
        "Schnorr verify: wallycore": lambda: wallycore.ec_sig_verify(public, digest, wally_flag, schnorr),
    }


def musig2_rows() -> dict[str, Row]:
    """One whole session a call: nonces, parts, each part verified, the signature verified."""
    privates = [bytes([at + 1]) * 32 for at in range(SIGNERS)]
    keys = [Point.of_secret(Secret(private)).serialize() for private in privates]
    message = b"\x17" * 32

    def ours() -> None:
        key = aggregate(keys)
        secrets = [Secret(private) for private in privates]
        nonces = [
            generate_nonce(os.urandom(32), public, private_key=secret)
            for public, secret in zip(keys, secrets, strict=True)
        ]
        session = Session(key, aggregate_nonces([nonce.public_nonce for nonce in nonces]), message)
        parts = [
            sign_partially(nonce, secret, session) for nonce, secret in zip(nonces, secrets, strict=True)
        ]
        session.verify(session.aggregate(parts))

    def theirs() -> None:
        context = ecc_musig2.key_agg_var(keys)
        pairs = [
            ecc_musig2.nonce_gen(
                int.from_bytes(private, "big"), public, context.Q[0].to_bytes(32, "big"), message
            )
            for public, private in zip(keys, privates, strict=True)
        ]
        session = ecc_musig2.SessionContext(
            ecc_musig2.nonce_agg_var([p for _, p in pairs]), keys, [], [], message
        )
        parts = [
            ecc_musig2.sign(secret, int.from_bytes(private, "big"), session)
            for (secret, _), private in zip(pairs, privates, strict=True)
        ]
        ecc_musig2.partial_sig_agg(parts, session)

    return {f"MuSig2 {SIGNERS} of {SIGNERS}: ours": ours, f"MuSig2 {SIGNERS} of {SIGNERS}: ecc": theirs}


def block(transactions: int) -> list[tuple[Transaction, list[TxOutput]]]:
    """A block of ordinary payments, each of one P2WPKH input to two taproot outputs."""
    made = []
    for at in range(1, transactions + 1):
        key = Point.of_scalar(at).serialize()
        spent = TxInput(Outpoint(Txid(at.to_bytes(32, "big")), 0), witness=(bytes(72), key))
        outputs = (TxOutput(1, p2tr_script(key[1:])), TxOutput(2, p2tr_script(Point.of_scalar(at + 9).x)))
        made.append((Transaction(2, (spent,), outputs), [TxOutput(9, p2wpkh_script(hash160(key)))]))
    return made


def scanning_rows(transactions: int) -> dict[str, Row]:
    """One block a call, of which nothing is ours: what a receiver does all day."""
    scan, spend = Secret(b"\x11" * 32), Secret(b"\x22" * 32)
    spend_key, labels = Point.of_secret(spend), [make_label(scan, 0)]
    found = block(transactions)
    tweaks = [tweak_of_transaction(transaction, spent) for transaction, spent in found]
    scalar, spend_bytes = int.from_bytes(scan.reveal(), "big"), spend_key.serialize()
    change = {label.point.serialize(): label.scalar.to_bytes(32, "big") for label in labels}

    def tweak() -> None:
        for transaction, spent in found:
            tweak_of_transaction(transaction, spent)

    def ours() -> None:
        for (transaction, _), point in zip(found, tweaks, strict=True):
            if point is not None:
                scan_outputs(shared_point(point, scan), spend_key, taproot_keys(transaction), labels)

    def theirs() -> None:
        for (transaction, _), point in zip(found, tweaks, strict=True):
            if point is not None:
                btclib_silent_payments.scan_outputs(
                    scalar, spend_bytes, point.serialize(), taproot_keys(transaction), change
                )

    return {
        f"block of {transactions}, tweaks: ours": tweak,
        f"block of {transactions}, silent scan: ours": ours,
        f"block of {transactions}, silent scan: btclib": theirs,
    }


def rate(row: Row, at_least_s: float) -> float:
    """Calls per second over at least so long."""
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < at_least_s or not calls:
        row()
        calls += 1
    return calls / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.1, help="of one row in one round")
    parser.add_argument("--transactions", type=int, default=2000, help="in a block to scan")
    options = parser.parse_args()
    rows = {**signature_rows(), **musig2_rows(), **scanning_rows(options.transactions)}
    rates: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, row in rows.items():
            rates[name].append(rate(row, options.seconds))
    result = {name: spread(values) for name, values in rates.items()}
    show("calls per second, one thread", "1/s", result)
    write("crypto", {"unit": "calls per second, one thread", "rows": result})


if __name__ == "__main__":
    main()
