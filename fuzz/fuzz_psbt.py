"""PSBTs: what is read comes back byte for byte, and no role breaks on it."""

from __future__ import annotations

import base64
import contextlib

import atheris

with atheris.instrument_imports(include=["anya_actors.domain"]):
    from anya_actors.domain.bitcoin.psbt import PsbtError, PsbtStateError, parse_psbt
    from anya_actors.domain.bitcoin.psbt.finalize import finalize_what_is_complete
    from anya_actors.domain.bitcoin.psbt.roles import (
        combine_psbts,
        extract_transaction,
        to_version_0,
        to_version_2,
    )
    from anya_actors.domain.bitcoin.psbt.sign import signature_requests

from fuzz.engine import run, vector_strings

NAMES = ("bip174_psbt", "bip370_psbtv2", "bip371_psbt_taproot", "bip373_psbt_musig2", "core_rpc_psbt")


def one_input(data: bytes) -> None:
    try:
        psbt = parse_psbt(data)
    except PsbtError:
        return
    assert psbt.serialize() == data
    assert parse_psbt(psbt.in_order().serialize()) == psbt
    with contextlib.suppress(PsbtStateError):
        list(signature_requests(psbt, lambda _key, _origin: True, sighashes=range(256)))
    with contextlib.suppress(PsbtStateError):
        assert combine_psbts([psbt, psbt]) == psbt
    with contextlib.suppress(PsbtStateError):
        finalize_what_is_complete(psbt)
        extract_transaction(psbt, max_feerate_sat_per_kvb=None)
    with contextlib.suppress(PsbtStateError):
        assert to_version_2(to_version_0(psbt)).unsigned_transaction == psbt.unsigned_transaction


if __name__ == "__main__":
    texts = [text for text in vector_strings(*NAMES) if text.startswith("cHNidP")]
    run(one_input, [base64.b64decode(text + "=" * (-len(text) % 4)) for text in texts])
