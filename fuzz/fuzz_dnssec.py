"""DNSSEC proofs: any bytes are refused or resolved, and nothing altered resolves to anything else."""

from __future__ import annotations

import contextlib

import atheris

with atheris.instrument_imports(include=["anya_actors.domain", "dns"]):
    from anya_actors.domain.bitcoin.errors import AddressError
    from anya_actors.domain.bitcoin.network import Network
    from anya_actors.domain.bitcoin.payment_instructions import (
        HumanName,
        HumanNameError,
        parse_psbt_proof,
        verify_instructions,
    )
    from anya_actors.domain.bitcoin.payment_uri import PaymentUriError, parse_payment_uri
    from anya_actors.domain.dnssec.records import DnssecError
    from anya_actors.domain.machine import NotSupportedError

from fuzz.engine import run, vector_strings

NOON_OF_AUGUST_7_S = 1_754_568_000
KNOWN = {
    "bitcoin:?bc=bc1qztwy6xen3zdtt7z0vrgapmjtfz8acjkfp5fp7l",
    "BITCOIN:?BC=BC1QYYQ734DCNHHCWYW8YJXSWXG4P7K9NXU0QT84QZ",
}


def one_input(data: bytes) -> None:
    try:
        name, proof = parse_psbt_proof(data)
    except (HumanNameError, NotSupportedError):
        name, proof = HumanName("simple", "dnssec_proof_tests.bitcoin.ninja"), data
    with contextlib.suppress(DnssecError):
        # Whoever makes another URI verify has broken the chain of signatures.
        found = verify_instructions(name, proof, now_s=NOON_OF_AUGUST_7_S)
        if found.uri not in KNOWN:
            raise AssertionError(found.uri)
    with contextlib.suppress(PaymentUriError, AddressError):
        parse_payment_uri("bitcoin:" + data.decode("latin-1"), Network.MAINNET)


if __name__ == "__main__":
    texts = [text for text in vector_strings("bip353_dnssec_proofs") if len(text) > 1000]
    run(one_input, [bytes.fromhex(text) for text in texts])
