"""Blocks and headers: what is read comes back byte for byte."""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["anya_actors.domain"]):
    from anya_actors.domain.bitcoin.block import block_merkle_root, parse_block, parse_header
    from anya_actors.domain.bitcoin.errors import MalformedBlockError
    from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS

from fuzz.engine import run, vector_strings


def one_input(data: bytes) -> None:
    try:
        assert parse_header(data[:80]).serialize() == data[:80]
    except MalformedBlockError:
        assert len(data) < 80
    try:
        block = parse_block(data)
    except MalformedBlockError:
        return
    assert block.serialize() == data
    assert len(block_merkle_root(block.transactions)) == 32


if __name__ == "__main__":
    texts = [text for text in vector_strings("bip158_testnet19") if len(text) > 160]
    hexadecimal = [text for text in texts if set(text) <= set("0123456789abcdef")]
    run(one_input, [REGTEST_GENESIS.serialize(), *(bytes.fromhex(text) for text in hexadecimal)])
