"""PSBTs, descriptors and BIP32 beside wallycore and bare coincurve, in one run.

``python -m benchmarks.bitcoin.bench_psbt [--inputs 4] [--rounds 5]`` writes ``results/psbt.json``.
Every party does the same work on the same bytes; each figure is operations per second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import wallycore
from coincurve import PrivateKey, PublicKey

from anya_actors.domain.bitcoin.descriptors import Descriptor, parse_descriptor
from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.psbt import Psbt, parse_psbt
from anya_actors.domain.bitcoin.psbt.finalize import finalize_psbt
from anya_actors.domain.bitcoin.psbt.roles import create_psbt, extract_transaction
from anya_actors.domain.bitcoin.psbt.sign import SignatureRequest, sign_psbt
from anya_actors.domain.bitcoin.psbt.update import update_psbt, with_utxos
from anya_actors.domain.bitcoin.transaction import Outpoint, Transaction, TxInput, TxOutput
from anya_actors.domain.keys.extended import master_key
from benchmarks.report import show, spread, write

PRIVATE = PrivateKey(bytes([7]) * 32)
KEY = PRIVATE.public_key.format()
MASTER = master_key(bytes([9]) * 32)
DERIVED = 500
REPEAT = 100


def unsigned(inputs: int) -> Psbt:
    """A payment from P2WPKH outputs with whole previous transactions, ready to sign."""
    descriptor = parse_descriptor(f"wpkh({KEY.hex()})", Network.MAINNET).single
    (plan,) = descriptor.expand()
    coinbase = TxInput(Outpoint(Txid(bytes(31) + b"\x01"), 0))
    funding = Transaction(2, (coinbase,), (TxOutput(10_000, plan.script_pubkey),) * inputs)
    spent = tuple(TxInput(Outpoint(funding.txid, index)) for index in range(inputs))
    payment = Transaction(2, spent, (TxOutput(10_000 * inputs - 500, plan.script_pubkey),))
    psbt = with_utxos(create_psbt(payment), {funding.txid: funding})
    return update_psbt(psbt, lambda script: plan if script == plan.script_pubkey else None)


def everything(_key: bytes, _origin: object) -> bool:
    return True


def sign(request: SignatureRequest) -> bytes:
    return PRIVATE.sign(request.digest, hasher=None)


def wally_signs(data: bytes) -> None:
    """Read, sign, finalise, extract: what libwally does in C."""
    psbt = wallycore.psbt_from_bytes(data, 0)
    wallycore.psbt_sign(psbt, PRIVATE.secret, wallycore.EC_FLAG_GRIND_R)
    wallycore.psbt_finalize(psbt, 0)
    wallycore.psbt_extract(psbt, 0)


def anya_signs(data: bytes) -> None:
    signed = sign_psbt(parse_psbt(data), everything, sign)
    extract_transaction(finalize_psbt(signed))


def coincurve_signs(digests: list[bytes]) -> None:
    """The curve alone: sign and verify each input once, as `anya_signs` signs once and verifies twice."""
    public = PublicKey(KEY)
    for digest in digests:
        signature = PRIVATE.sign(digest, hasher=None)
        assert public.verify(signature, digest, hasher=None)


def anya_derives(descriptor: Descriptor, start: int) -> None:
    for index in range(start, start + DERIVED):
        descriptor.address(index)


def wally_derives(text: str, start: int) -> None:
    descriptor = wallycore.descriptor_parse(text, None, wallycore.WALLY_NETWORK_BITCOIN_MAINNET, 0)
    for index in range(start, start + DERIVED):
        wallycore.descriptor_to_address(descriptor, 0, 0, index, 0)


def anya_children(start: int) -> None:
    parent = MASTER.public
    for number in range(start, start + DERIVED):
        parent.child(number)


def wally_children(start: int) -> None:
    parent = wallycore.bip32_key_from_base58(str(MASTER.public))
    for number in range(start, start + DERIVED):
        wallycore.bip32_key_from_parent(parent, number, wallycore.BIP32_FLAG_KEY_PUBLIC)


def coincurve_children(start: int) -> None:
    """The point addition alone."""
    parent = PublicKey(MASTER.public.public_key)
    for number in range(start, start + DERIVED):
        parent.add(number.to_bytes(32, "big")).format()


def repeated(work: Callable[[], object]) -> Callable[[int], object]:
    """The work, `REPEAT` times."""

    def again(_: int) -> None:
        for _ in range(REPEAT):
            work()

    return again


def per_second(work: Callable[[int], object], operations: int, rounds: int) -> list[float]:
    """Operations per second in each round, after one round that is not counted."""
    rates = []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        work(number)
        rates.append(operations / (time.perf_counter() - begun))
    return rates[1:]


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inputs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    data = unsigned(given.inputs).serialize()
    text = f"wpkh({MASTER.public}/0/*)"
    descriptor = parse_descriptor(text, Network.MAINNET).single
    digests = [bytes([number]) * 32 for number in range(given.inputs)]
    works: dict[str, tuple[Callable[[int], object], int]] = {
        "PSBT read and written: anya": (repeated(lambda: parse_psbt(data).serialize()), REPEAT),
        "PSBT read and written: wallycore": (
            repeated(lambda: wallycore.psbt_to_bytes(wallycore.psbt_from_bytes(data, 0), 0)),
            REPEAT,
        ),
        "PSBT signed, finalised: anya": (repeated(lambda: anya_signs(data)), REPEAT),
        "PSBT signed, finalised: wallycore": (repeated(lambda: wally_signs(data)), REPEAT),
        "its signatures alone: coincurve": (repeated(lambda: coincurve_signs(digests)), REPEAT),
        "addresses of a descriptor: anya": (lambda n: anya_derives(descriptor, n * DERIVED), DERIVED),
        "addresses of a descriptor: wallycore": (lambda n: wally_derives(text, n * DERIVED), DERIVED),
        "BIP32 public children: anya": (lambda n: anya_children(n * DERIVED), DERIVED),
        "BIP32 public children: wallycore": (lambda n: wally_children(n * DERIVED), DERIVED),
        "their points alone: coincurve": (lambda n: coincurve_children(n * DERIVED), DERIVED),
    }
    rows = {name: spread(per_second(work, count, given.rounds)) for name, (work, count) in works.items()}
    show(f"PSBTs of {given.inputs} P2WPKH inputs, descriptors, BIP32", "per second", rows)
    write("psbt", {"unit": "per second", "inputs": given.inputs, "rows": rows})


if __name__ == "__main__":
    main()
