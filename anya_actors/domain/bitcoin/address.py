"""Addresses: bech32 and bech32m (BIP173, BIP350) and base58check, to output scripts and back."""

from __future__ import annotations

from typing import Final

from btclib import b32, b58
from btclib.base58 import decode as base58_decode
from btclib.base58 import encode as base58_encode
from btclib.exceptions import BTClibTypeError, BTClibValueError

from anya_actors.domain.bitcoin.errors import AddressError, WrongNetworkError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import (
    ScriptType,
    classify,
    hash160,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    witness_program,
    witness_script,
)

_PREFIXES: Final = {"bc": Network.MAINNET, "tb": Network.TESTNET, "bcrt": Network.REGTEST}


def parse_address(text: str, network: Network) -> bytes:
    """The output script that the address stands for.

    Raises `AddressError` with the reason, or `WrongNetworkError` for a right address of another
    network.
    """
    if not text or not text.isascii() or not text.isprintable() or " " in text or len(text) > 90:
        raise AddressError(repr(text[:100]), "it is empty, too long, or holds characters no address has")
    if text.rpartition("1")[0].lower() in _PREFIXES:
        return _parse_segwit(text, network)
    return _parse_base58(text, network)


def _parse_segwit(text: str, network: Network) -> bytes:
    prefix = text.rpartition("1")[0].lower()
    try:
        version, program, _ = b32.witness_from_address(text)
    except (BTClibValueError, BTClibTypeError, IndexError) as error:
        raise AddressError(text, str(error)) from error
    if prefix != network.bech32_prefix:
        raise WrongNetworkError(text, _PREFIXES[prefix].value, network.value)
    return witness_script(version, program)


def _parse_base58(text: str, network: Network) -> bytes:
    try:
        kind, payload, _ = b58.h160_from_address(text)
        version = base58_decode(text, 21)[0]
    except (BTClibValueError, BTClibTypeError) as error:
        raise AddressError(text, str(error)) from error
    expected = network.base58_pubkey_hash if kind == "p2pkh" else network.base58_script_hash
    if version != expected:
        found = Network.MAINNET if version in (0, 5) else Network.TESTNET
        raise WrongNetworkError(text, found.value, network.value)
    return p2pkh_script(payload) if kind == "p2pkh" else p2sh_script(payload)


def encode_address(script: bytes, network: Network) -> str | None:
    """The address of an output script, or None for scripts that have none."""
    program = witness_program(script)
    kind = classify(script)
    if program is not None and kind is not ScriptType.NONSTANDARD:
        return str(b32.address_from_witness(*program, network=network.value))
    if kind is ScriptType.PUBKEYHASH:
        return _base58(network.base58_pubkey_hash, script[3:23])
    if kind is ScriptType.SCRIPTHASH:
        return _base58(network.base58_script_hash, script[2:22])
    return None


def _base58(version: int, payload: bytes) -> str:
    return str(base58_encode(bytes((version,)) + payload).decode("ascii"))


def p2wpkh_address(public_key: bytes, network: Network) -> str:
    """The P2WPKH address of a compressed public key (33 bytes)."""
    _check_public_key(public_key)
    return _address_of(p2wpkh_script(hash160(public_key)), network)


def p2tr_address(output_key: bytes, network: Network) -> str:
    """The P2TR address of an x-only output key (32 bytes, already tweaked)."""
    if len(output_key) != 32:
        raise AddressError(output_key.hex(), "an output key has 32 bytes")
    return _address_of(p2tr_script(output_key), network)


def _check_public_key(public_key: bytes) -> None:
    if len(public_key) != 33 or public_key[0] not in (2, 3):
        raise AddressError(public_key.hex(), "a compressed public key has 33 bytes, the first 2 or 3")


def _address_of(script: bytes, network: Network) -> str:
    address = encode_address(script, network)
    if address is None:
        raise AddressError(script.hex(), "this script has no address")
    return address
