"""Every file of official Bitcoin vectors has a test that reads it, whole."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FOLDER = Path(os.environ.get("ANYA_VECTORS", TESTS.parent / ".." / "shared" / "vectors")) / "bitcoin"

# Which test reads which files. A second test may read a file too.
READERS = {
    "unit/domain/bitcoin/test_address.py": (
        "bip173_bech32.json",
        "bip350_bech32m.json",
        "core_key_io_*.json",
    ),
    "unit/domain/bitcoin/test_transaction.py": ("bip341_wallet.json", "core_sighash.json"),
    "unit/domain/bitcoin/descriptors/test_infer.py": ("core_rpc_decodescript.json",),
    "unit/domain/bitcoin/test_account_paths.py": ("bip84.json", "bip86.json"),
    "unit/domain/bitcoin/test_block_filter_vectors.py": ("bip158_testnet19.json",),
    "unit/domain/bitcoin/test_signed_message.py": ("bip322_basic.json", "bip322_generated.json"),
    "unit/domain/bitcoin/p2p_v2/test_p2p_v2.py": ("bip324_*.csv",),
    "unit/domain/bitcoin/test_musig2.py": ("bip328_musig2_xpub.json",),
    "unit/domain/bitcoin/test_silent_payments.py": ("bip352_send_receive.json",),
    "unit/domain/bitcoin/test_silent_payment_psbt.py": ("bip375_psbt_silent_payments.json",),
    "unit/domain/bitcoin/test_payment_instructions.py": ("bip353_dnssec_proofs.json",),
    "unit/domain/bitcoin/psbt/test_codec.py": (
        "bip174_psbt.json",
        "bip370_psbtv2.json",
        "bip371_psbt_taproot.json",
        "bip373_psbt_musig2.json",
        "core_rpc_psbt.json",
    ),
    "unit/domain/bitcoin/descriptors/test_descriptors.py": (
        "bip380_key_expressions.json",
        "bip38[1-7]_descriptors.json",
        "bip390_descriptors.json",
        "core_rpc_bip67.json",
    ),
    "unit/domain/keys/test_musig2.py": ("bip327_*.json",),
    "unit/domain/keys/test_curve.py": ("bip340_schnorr.csv",),
    "unit/domain/keys/test_dleq.py": ("bip374_dleq_*.csv",),
    "unit/domain/keys/test_extended.py": ("bip32.json", "core_base58_encode_decode.json"),
    "unit/domain/keys/test_mnemonic.py": ("bip39_trezor.json",),
    "integration/bitcoin_node/test_core_vectors.py": ("core_script_tests.json", "core_tx_*valid.json"),
}


def named(pattern: str) -> str:
    """What of a file's name must stand in the test that reads it; the rest may be put together there."""
    match = re.match(r"bip\d+|core_[a-z_]*[a-z]", pattern)
    assert match is not None, pattern
    return match[0]


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_names_its_vectors(reader: str) -> None:
    source = (TESTS / reader).read_text("utf-8")
    assert [pattern for pattern in READERS[reader] if named(pattern) not in source] == []


def test_every_file_of_vectors_is_read() -> None:
    if not FOLDER.is_dir():
        pytest.skip("no vectors; set ANYA_VECTORS")
    patterns = [pattern for reader in READERS.values() for pattern in reader]
    files = sorted(path.name for path in FOLDER.iterdir() if path.name != "README.md")
    assert [name for name in files if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)] == []
    assert [one for one in patterns if not fnmatch.filter(files, one)] == []
