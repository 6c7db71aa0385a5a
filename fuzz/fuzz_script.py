"""Scripts: classified, written, read back to miniscript and satisfied without surprise."""

from __future__ import annotations

import atheris

with atheris.instrument_imports(include=["anya_actors.domain"]):
    from anya_actors.domain.bitcoin.address import encode_address, parse_address
    from anya_actors.domain.bitcoin.descriptors.miniscript.decode import NotDecodedError, decode_miniscript
    from anya_actors.domain.bitcoin.descriptors.miniscript.script import script_of
    from anya_actors.domain.bitcoin.network import Network
    from anya_actors.domain.bitcoin.script import classify, disassemble, multisig_of, witness_program

from fuzz.engine import run, vector_strings


def one_input(data: bytes) -> None:
    classify(data)
    disassemble(data)
    multisig_of(data)
    witness_program(data)
    for network in (Network.MAINNET, Network.REGTEST):
        address = encode_address(data, network)
        assert address is None or parse_address(address, network) == data
    for tapscript in (False, True):
        try:
            node = decode_miniscript(data, tapscript=tapscript)
        except NotDecodedError:
            continue
        assert script_of(node, bytes) == data
        assert len(data) == node.script_size


if __name__ == "__main__":
    names = [f"bip{number}_descriptors" for number in range(381, 388)]
    texts = vector_strings(*names, "core_rpc_decodescript", "core_tx_valid")
    hexadecimal = [text for text in texts if len(text) % 2 == 0 and set(text) <= set("0123456789abcdef")]
    run(one_input, [bytes.fromhex(text) for text in hexadecimal])
