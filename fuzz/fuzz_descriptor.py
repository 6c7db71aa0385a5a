"""Descriptors, extended keys, mnemonics and addresses: any text is read or refused, and reads back."""

from __future__ import annotations

import contextlib

import atheris

with atheris.instrument_imports(include=["anya_actors.domain"]):
    from anya_actors.domain.bitcoin.address import parse_address
    from anya_actors.domain.bitcoin.descriptors import DerivationError, DescriptorError, parse_descriptor
    from anya_actors.domain.bitcoin.errors import AddressError
    from anya_actors.domain.bitcoin.network import Network
    from anya_actors.domain.keys.extended import ExtendedKeyError, parse_extended_key
    from anya_actors.domain.keys.key_origin import KeyPathError, parse_key_path
    from anya_actors.domain.keys.mnemonic import MnemonicError, entropy_of
    from anya_actors.domain.keys.private_text import PrivateKeyError, parse_wif

from fuzz.engine import run, vector_strings


def one_input(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for network in (Network.MAINNET, Network.REGTEST):
        with contextlib.suppress(AddressError):
            parse_address(text, network)
        try:
            parsed = parse_descriptor(text.split("#")[0], network)
        except DescriptorError:
            continue
        for descriptor in parsed.descriptors:
            again = parse_descriptor(str(descriptor), network, require_checksum=True).single
            assert str(again) == str(descriptor)
            with contextlib.suppress(DerivationError):
                for plan in descriptor.expand(1, parsed.private_keys):
                    assert plan.script_pubkey
            descriptor.max_satisfaction_weight()
    with contextlib.suppress(ExtendedKeyError):
        parse_extended_key(text, slip132=True)
    with contextlib.suppress(KeyPathError):
        parse_key_path(text)
    with contextlib.suppress(PrivateKeyError):
        parse_wif(text)
    with contextlib.suppress(MnemonicError):
        entropy_of(text)


if __name__ == "__main__":
    names = [f"bip{number}_descriptors" for number in (*range(381, 388), 390)]
    run(one_input, [text.encode() for text in vector_strings(*names, "bip380_key_expressions")])
