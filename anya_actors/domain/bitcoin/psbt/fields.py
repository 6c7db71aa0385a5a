"""The key types of BIP174, 370, 371, 373 and 375, and the order in which Core writes them."""

from __future__ import annotations

from typing import Final

PROPRIETARY: Final = 0xFC


class Global:
    """Key types of the global map."""

    UNSIGNED_TX: Final = 0x00
    XPUB: Final = 0x01
    TX_VERSION: Final = 0x02
    FALLBACK_LOCKTIME: Final = 0x03
    INPUT_COUNT: Final = 0x04
    OUTPUT_COUNT: Final = 0x05
    TX_MODIFIABLE: Final = 0x06
    SP_ECDH_SHARE: Final = 0x07
    SP_DLEQ: Final = 0x08
    VERSION: Final = 0xFB


class In:
    """Key types of input maps."""

    NON_WITNESS_UTXO: Final = 0x00
    WITNESS_UTXO: Final = 0x01
    PARTIAL_SIG: Final = 0x02
    SIGHASH_TYPE: Final = 0x03
    REDEEM_SCRIPT: Final = 0x04
    WITNESS_SCRIPT: Final = 0x05
    BIP32_DERIVATION: Final = 0x06
    FINAL_SCRIPTSIG: Final = 0x07
    FINAL_SCRIPTWITNESS: Final = 0x08
    RIPEMD160: Final = 0x0A
    SHA256: Final = 0x0B
    HASH160: Final = 0x0C
    HASH256: Final = 0x0D
    PREVIOUS_TXID: Final = 0x0E
    OUTPUT_INDEX: Final = 0x0F
    SEQUENCE: Final = 0x10
    REQUIRED_TIME_LOCKTIME: Final = 0x11
    REQUIRED_HEIGHT_LOCKTIME: Final = 0x12
    TAP_KEY_SIG: Final = 0x13
    TAP_SCRIPT_SIG: Final = 0x14
    TAP_LEAF_SCRIPT: Final = 0x15
    TAP_BIP32_DERIVATION: Final = 0x16
    TAP_INTERNAL_KEY: Final = 0x17
    TAP_MERKLE_ROOT: Final = 0x18
    MUSIG2_PARTICIPANT_PUBKEYS: Final = 0x1A
    MUSIG2_PUB_NONCE: Final = 0x1B
    MUSIG2_PARTIAL_SIG: Final = 0x1C
    SP_ECDH_SHARE: Final = 0x1D
    SP_DLEQ: Final = 0x1E


class Out:
    """Key types of output maps."""

    REDEEM_SCRIPT: Final = 0x00
    WITNESS_SCRIPT: Final = 0x01
    BIP32_DERIVATION: Final = 0x02
    AMOUNT: Final = 0x03
    SCRIPT: Final = 0x04
    TAP_INTERNAL_KEY: Final = 0x05
    TAP_TREE: Final = 0x06
    TAP_BIP32_DERIVATION: Final = 0x07
    MUSIG2_PARTICIPANT_PUBKEYS: Final = 0x08
    SP_V0_INFO: Final = 0x09
    SP_V0_LABEL: Final = 0x0A
    DNSSEC_PROOF: Final = 0x35


GLOBAL_ORDER: Final = (0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0xFB, PROPRIETARY)
# Core writes the final scripts behind the taproot and MuSig2 fields, and the fields of version 2 last.
INPUT_ORDER: Final = (
    *range(0x07),
    *range(0x0A, 0x0E),
    *range(0x13, 0x19),
    *range(0x1A, 0x1F),
    In.FINAL_SCRIPTSIG,
    In.FINAL_SCRIPTWITNESS,
    *range(0x0E, 0x13),
    PROPRIETARY,
)
OUTPUT_ORDER: Final = (*range(0x05), PROPRIETARY, *range(0x05, 0x0B), Out.DNSSEC_PROOF)
