"""The maps of a PSBT: every field as the bytes it came as, with typed views of what is known."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar, Final, TypeVar

import msgspec

from anya_actors.domain.bitcoin.hashes import Txid
from anya_actors.domain.bitcoin.psbt.fields import GLOBAL_ORDER, INPUT_ORDER, OUTPUT_ORDER, Global, In, Out
from anya_actors.domain.bitcoin.script import hash160
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput, parse_transaction
from anya_actors.domain.bitcoin.wire import Reader, compact_size, prefixed
from anya_actors.domain.keys.key_origin import KeyOrigin

M = TypeVar("M", bound="PsbtMap")

TapDerivation = tuple[tuple[bytes, ...], KeyOrigin]
_EMPTY: Final[Mapping[bytes, bytes]] = {}


class PsbtMap(msgspec.Struct, frozen=True, dict=True):
    """One key-value map. Keys are a type and its key data, unique; unknown fields are kept as they are."""

    ORDER: ClassVar[tuple[int, ...]] = ()
    fields: Mapping[bytes, bytes] = _EMPTY

    def value(self, kind: int, data: bytes = b"") -> bytes | None:
        return self.fields.get(bytes((kind,)) + data)

    def values_of(self, kind: int) -> dict[bytes, bytes]:
        """All fields of a type, by their key data."""
        return {key[1:]: value for key, value in self.fields.items() if key[0] == kind}

    def with_value(self: M, kind: int, value: bytes | None, data: bytes = b"") -> M:
        """Set one field, or drop it (None). A new one goes where Core would write it."""
        key = bytes((kind,)) + data
        if value is None:
            return self.without_keys(key) if key in self.fields else self
        if key in self.fields:
            return self._changed({**self.fields, key: value}, kind)
        place = self._place(key, value)
        fields: dict[bytes, bytes] = {}
        for other, held in self.fields.items():
            if key not in fields and self._place(other, held) > place:
                fields[key] = value
            fields[other] = held
        fields.setdefault(key, value)
        return self._changed(fields, kind)

    def with_values(self: M, kind: int, values: Mapping[bytes, bytes]) -> M:
        """Set several fields of one type, by their key data."""
        changed = self
        for data, value in values.items():
            changed = changed.with_value(kind, value, data)
        return changed

    def without(self: M, *kinds: int) -> M:
        """Drop every field of these types."""
        kept = {key: value for key, value in self.fields.items() if key[0] not in kinds}
        return self._changed(kept, *kinds)

    def _changed(self: M, fields: Mapping[bytes, bytes], *kinds: int) -> M:
        changed = type(self)(fields)
        if not set(kinds) & {In.NON_WITNESS_UTXO, In.WITNESS_UTXO}:
            # Whole transactions are read once: only these two types are remembered as read.
            changed.__dict__.update(self.__dict__)
        return changed

    def without_keys(self: M, *keys: bytes) -> M:
        return type(self)({key: value for key, value in self.fields.items() if key not in keys})

    def in_order(self: M) -> M:
        """The same fields as Core would write them."""
        return type(self)(dict(sorted(self.fields.items(), key=lambda field: self._place(*field))))

    def merged(self: M, other: M) -> M:
        """Both maps' fields; this one's where both have a value."""
        missing = [(key, value) for key, value in other.fields.items() if key not in self.fields]
        return type(self)({**self.fields, **dict(missing)}).in_order() if missing else self

    def serialize(self) -> bytes:
        pieces = [prefixed(key) + prefixed(value) for key, value in self.fields.items()]
        return b"".join(pieces) + b"\x00"

    def _place(self, key: bytes, value: bytes) -> tuple[Any, ...]:
        kind = key[0]
        rank = self.ORDER.index(kind) if kind in self.ORDER else len(self.ORDER)
        return rank, *self._order_within(kind, key, value)

    def _order_within(self, _kind: int, key: bytes, _value: bytes) -> tuple[Any, ...]:
        return (key,)


class GlobalMap(PsbtMap, frozen=True, dict=True):
    """The global map."""

    ORDER = GLOBAL_ORDER

    @property
    def version(self) -> int:
        value = self.value(Global.VERSION)
        return 0 if value is None else int.from_bytes(value, "little")

    @property
    def tx_modifiable(self) -> int:
        """Bit 0: inputs may be added or dropped, 1: outputs, 2: a SIGHASH_SINGLE signature is there."""
        return (self.value(Global.TX_MODIFIABLE) or b"\x00")[0]

    @property
    def xpubs(self) -> dict[bytes, KeyOrigin]:
        """Extended public keys as 78 bytes, with their origins."""
        return {data: read_origin(value) for data, value in self.values_of(Global.XPUB).items()}

    def number(self, kind: int) -> int | None:
        value = self.value(kind)
        return None if value is None else int.from_bytes(value, "little")

    def _order_within(self, kind: int, key: bytes, value: bytes) -> tuple[Any, ...]:
        if kind == Global.XPUB:
            return value[:4], len(value), read_origin(value).path, key
        return (key,)


class InputMap(PsbtMap, frozen=True, dict=True):
    """The map of one input."""

    ORDER = INPUT_ORDER

    @cached_property
    def non_witness_utxo(self) -> Transaction | None:
        value = self.value(In.NON_WITNESS_UTXO)
        return None if value is None else parse_transaction(value)

    @cached_property
    def witness_utxo(self) -> TxOutput | None:
        value = self.value(In.WITNESS_UTXO)
        return None if value is None else read_output(value)

    @property
    def partial_signatures(self) -> dict[bytes, bytes]:
        """ECDSA signatures with their type byte, by public key."""
        return self.values_of(In.PARTIAL_SIG)

    @property
    def sighash_type(self) -> int | None:
        return self.number(In.SIGHASH_TYPE)

    @property
    def redeem_script(self) -> bytes | None:
        return self.value(In.REDEEM_SCRIPT)

    @property
    def witness_script(self) -> bytes | None:
        return self.value(In.WITNESS_SCRIPT)

    @property
    def derivations(self) -> dict[bytes, KeyOrigin]:
        """Public keys and where they come from."""
        return {data: read_origin(value) for data, value in self.values_of(In.BIP32_DERIVATION).items()}

    @property
    def final_script_sig(self) -> bytes | None:
        return self.value(In.FINAL_SCRIPTSIG)

    @property
    def final_script_witness(self) -> tuple[bytes, ...] | None:
        value = self.value(In.FINAL_SCRIPTWITNESS)
        return None if value is None else read_stack(value)

    @property
    def is_final(self) -> bool:
        return bool(self.final_script_sig) or bool(self.final_script_witness)

    @property
    def sequence(self) -> int | None:
        return self.number(In.SEQUENCE)

    @property
    def previous_txid(self) -> Txid | None:
        value = self.value(In.PREVIOUS_TXID)
        return None if value is None else Txid(value)

    @property
    def tap_key_signature(self) -> bytes | None:
        return self.value(In.TAP_KEY_SIG)

    @property
    def tap_script_signatures(self) -> dict[tuple[bytes, bytes], bytes]:
        """BIP340 signatures by x-only key and leaf hash."""
        found = self.values_of(In.TAP_SCRIPT_SIG)
        return {(data[:32], data[32:]): value for data, value in found.items()}

    @property
    def tap_leaf_scripts(self) -> dict[bytes, tuple[bytes, int]]:
        """Scripts and their leaf versions, by control block."""
        found = self.values_of(In.TAP_LEAF_SCRIPT)
        return {data: (value[:-1], value[-1]) for data, value in found.items()}

    @property
    def tap_derivations(self) -> dict[bytes, TapDerivation]:
        """Leaf hashes and origins, by x-only key."""
        found = self.values_of(In.TAP_BIP32_DERIVATION)
        return {data: read_tap_derivation(value) for data, value in found.items()}

    @property
    def tap_internal_key(self) -> bytes | None:
        return self.value(In.TAP_INTERNAL_KEY)

    @property
    def tap_merkle_root(self) -> bytes | None:
        return self.value(In.TAP_MERKLE_ROOT)

    @property
    def musig2_participants(self) -> dict[bytes, tuple[bytes, ...]]:
        return _participants(self.values_of(In.MUSIG2_PARTICIPANT_PUBKEYS))

    @property
    def musig2_nonces(self) -> dict[tuple[bytes, bytes, bytes], bytes]:
        """Public nonces by participant, aggregate key and leaf hash (empty for the key path)."""
        return _musig2(self.values_of(In.MUSIG2_PUB_NONCE))

    @property
    def musig2_partial_signatures(self) -> dict[tuple[bytes, bytes, bytes], bytes]:
        return _musig2(self.values_of(In.MUSIG2_PARTIAL_SIG))

    def preimages(self, kind: int) -> dict[bytes, bytes]:
        """Preimages by their hashes: ``In.SHA256``, ``HASH256``, ``RIPEMD160`` or ``HASH160``."""
        return self.values_of(kind)

    def number(self, kind: int) -> int | None:
        value = self.value(kind)
        return None if value is None else int.from_bytes(value, "little")

    def _order_within(self, kind: int, key: bytes, value: bytes) -> tuple[Any, ...]:
        if kind == In.PARTIAL_SIG:
            return (hash160(key[1:]),)
        if kind == In.TAP_LEAF_SCRIPT:
            return value, len(key), key
        if kind in (In.MUSIG2_PUB_NONCE, In.MUSIG2_PARTIAL_SIG):
            return key[34:67], key[67:], key[1:34]
        return (key,)


class OutputMap(PsbtMap, frozen=True, dict=True):
    """The map of one output."""

    ORDER = OUTPUT_ORDER

    @property
    def redeem_script(self) -> bytes | None:
        return self.value(Out.REDEEM_SCRIPT)

    @property
    def witness_script(self) -> bytes | None:
        return self.value(Out.WITNESS_SCRIPT)

    @property
    def derivations(self) -> dict[bytes, KeyOrigin]:
        return {data: read_origin(value) for data, value in self.values_of(Out.BIP32_DERIVATION).items()}

    @property
    def amount_sat(self) -> int | None:
        value = self.value(Out.AMOUNT)
        return None if value is None else int.from_bytes(value, "little", signed=True)

    @property
    def script(self) -> bytes | None:
        return self.value(Out.SCRIPT)

    @property
    def silent_payment_script(self) -> bytes | None:
        """What stands for the script where a PSBT is named: the address, if it is a silent one (BIP375)."""
        info = self.value(Out.SP_V0_INFO)
        return self.script if info is None else b"\x00" + info

    @property
    def tap_internal_key(self) -> bytes | None:
        return self.value(Out.TAP_INTERNAL_KEY)

    @property
    def tap_tree(self) -> tuple[tuple[int, int, bytes], ...]:
        """Depth, leaf version and script of each leaf, depth first."""
        value = self.value(Out.TAP_TREE)
        return () if value is None else read_tap_tree(value)

    @property
    def tap_derivations(self) -> dict[bytes, TapDerivation]:
        found = self.values_of(Out.TAP_BIP32_DERIVATION)
        return {data: read_tap_derivation(value) for data, value in found.items()}

    @property
    def musig2_participants(self) -> dict[bytes, tuple[bytes, ...]]:
        return _participants(self.values_of(Out.MUSIG2_PARTICIPANT_PUBKEYS))


def _participants(fields: dict[bytes, bytes]) -> dict[bytes, tuple[bytes, ...]]:
    return {
        data: tuple(value[at : at + 33] for at in range(0, len(value), 33)) for data, value in fields.items()
    }


def _musig2(fields: dict[bytes, bytes]) -> dict[tuple[bytes, bytes, bytes], bytes]:
    return {(data[:33], data[33:66], data[66:]): value for data, value in fields.items()}


def read_origin(value: bytes) -> KeyOrigin:
    """A fingerprint and a path as PSBTs hold them. ``value`` was checked."""
    steps = range(4, len(value), 4)
    return KeyOrigin(value[:4], tuple(int.from_bytes(value[at : at + 4], "little") for at in steps))


def write_origin(origin: KeyOrigin) -> bytes:
    return origin.fingerprint + b"".join(step.to_bytes(4, "little") for step in origin.path)


def read_tap_derivation(value: bytes) -> TapDerivation:
    reader = Reader(value)
    hashes = tuple(reader.take(32) for _ in range(reader.compact_size()))
    return hashes, read_origin(reader.take(reader.left))


def write_tap_derivation(leaf_hashes: tuple[bytes, ...], origin: KeyOrigin) -> bytes:
    return compact_size(len(leaf_hashes)) + b"".join(sorted(leaf_hashes)) + write_origin(origin)


def read_tap_tree(value: bytes) -> tuple[tuple[int, int, bytes], ...]:
    reader, leaves = Reader(value), []
    while reader.left:
        leaves.append((reader.take(1)[0], reader.take(1)[0], reader.prefixed()))
    return tuple(leaves)


def read_output(value: bytes) -> TxOutput:
    reader = Reader(value)
    return TxOutput(reader.i64(), reader.prefixed())


def read_stack(value: bytes) -> tuple[bytes, ...]:
    reader = Reader(value)
    return tuple(reader.prefixed() for _ in range(reader.compact_size()))


def write_stack(items: tuple[bytes, ...]) -> bytes:
    return compact_size(len(items)) + b"".join(prefixed(item) for item in items)
