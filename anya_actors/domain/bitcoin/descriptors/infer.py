"""From a script to the descriptor that Core infers for it, given what is known of keys and scripts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from anya_actors.domain.bitcoin.address import encode_address
from anya_actors.domain.bitcoin.descriptors.descriptor import Descriptor
from anya_actors.domain.bitcoin.descriptors.key_parser import Context
from anya_actors.domain.bitcoin.descriptors.keys import ConstKey, DerivedKey
from anya_actors.domain.bitcoin.descriptors.miniscript.decode import NotDecodedError, decode_miniscript
from anya_actors.domain.bitcoin.descriptors.miniscript.node import Node as MiniscriptNode
from anya_actors.domain.bitcoin.descriptors.plan import ScriptPlan, TaprootPlan
from anya_actors.domain.bitcoin.descriptors.tree import (
    Addr,
    Leaf,
    Miniscript,
    Multi,
    MultiA,
    Node,
    Pk,
    Pkh,
    Raw,
    RawTr,
    Sh,
    Tr,
    Wpkh,
    Wsh,
)
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.script import ScriptType, classify, hash160, multisig_of, public_key_of
from anya_actors.domain.keys.curve import CurveError, Point
from anya_actors.domain.keys.key_origin import KeyOrigin

_SCRIPTS = (Context.TOP, Context.P2SH, Context.P2WSH)


class Known:
    """Keys, their origins, and scripts that a wallet or a PSBT knows. Empty: nothing but the script."""

    def __init__(self, plans: Iterable[ScriptPlan] = ()) -> None:
        self.origins: dict[bytes, KeyOrigin] = {}
        self.keys_by_hash: dict[bytes, bytes] = {}
        self.scripts: dict[bytes, bytes] = {}
        """By their hash: of 20 bytes as in P2SH, of 32 as in P2WSH."""
        self.taproot: dict[bytes, TaprootPlan] = {}
        """By output key."""
        for plan in plans:
            self.add(plan)

    def add(self, plan: ScriptPlan) -> None:
        """Learn what a descriptor says of one of its scripts."""
        for key in plan.keys:
            self.add_key(key)
        for script in (plan.redeem_script, plan.witness_script):
            if script is not None:
                self.add_script(script)
        if plan.taproot is not None:
            self.taproot[plan.script_pubkey[2:]] = plan.taproot

    def add_key(self, key: DerivedKey) -> None:
        self.keys_by_hash[hash160(key.public_key)] = key.public_key
        self.keys_by_hash[hash160(key.x_only)] = key.public_key  # pkh() in a taproot leaf
        # A key without a path of its own says nothing that the key does not.
        if key.origin.path or key.origin.fingerprint != hash160(key.public_key)[:4]:
            self.origins[key.public_key] = self.origins[key.x_only] = key.origin

    def add_script(self, script: bytes) -> None:
        self.scripts[hash160(script)] = self.scripts[hashlib.sha256(script).digest()] = script


def infer_descriptor(script: bytes, network: Network, known: Known | None = None) -> Descriptor:
    """The descriptor of an output script; every script has one, in the end ``raw()``."""
    node = _Inference(known or Known()).infer(script, Context.TOP)
    if node is None:
        address = encode_address(script, network)
        node = Raw(script) if address is None else Addr(address, script)
    return Descriptor(node, network)


def describe_script(script: bytes, network: Network, redeem: bytes | None = None) -> str:
    """The descriptor that Core infers for an output script whose keys it does not know, as text.

    ``redeem`` is the script that a script hash stands for, where that is known.
    """
    known = Known()
    if redeem is not None:
        known.add_script(redeem)
    return str(infer_descriptor(script, network, known))


class _Inference:
    def __init__(self, known: Known) -> None:
        self._known = known

    def infer(self, script: bytes, context: Context) -> Node | None:
        """What the script is in its context; None if it can only be told by address or as it is."""
        if context is Context.P2TR:
            return self._leaf(script)
        kind = classify(script)
        node: Node | None = None
        if kind is ScriptType.PUBKEY and context in _SCRIPTS:
            key = self._key(public_key_of(script), context)
            node = None if key is None else Pk(key)
        elif kind in (ScriptType.PUBKEYHASH, ScriptType.WITNESS_V0_KEYHASH):
            node = self._key_hash(script, kind, context)
        elif kind is ScriptType.MULTISIG and context in _SCRIPTS:
            node = self._multisig(script, context)
        elif kind is ScriptType.SCRIPTHASH and context is Context.TOP:
            inner = self._inner(script[2:22], Context.P2SH)
            node = None if inner is None else Sh(inner)  # type: ignore[arg-type]
        elif kind is ScriptType.WITNESS_V0_SCRIPTHASH and context in (Context.TOP, Context.P2SH):
            inner = self._inner(script[2:], Context.P2WSH)
            node = None if inner is None else Wsh(inner)  # type: ignore[arg-type]
        elif kind is ScriptType.WITNESS_V1_TAPROOT and context is Context.TOP:
            node = self._taproot(script[2:])
        if node is None and context is Context.P2WSH:
            return self._miniscript(script, tapscript=False)
        return node

    def _inner(self, name: bytes, context: Context) -> Node | None:
        script = self._known.scripts.get(name)
        return None if script is None else self.infer(script, context)

    def _key(self, data: bytes | None, context: Context) -> ConstKey | None:
        if data is None or (len(data) != 33 and context not in (Context.TOP, Context.P2SH)):
            return None
        try:
            Point.parse(data)
        except CurveError:
            return None
        return ConstKey(data, origin=self._known.origins.get(data))

    def _x_only_key(self, data: bytes) -> ConstKey | None:
        try:
            key = Point.from_x(data).serialize()
        except CurveError:
            return None
        return ConstKey(key, True, self._known.origins.get(data))

    def _key_hash(self, script: bytes, kind: ScriptType, context: Context) -> Node | None:
        is_witness = kind is ScriptType.WITNESS_V0_KEYHASH
        if is_witness and context is Context.P2WSH:
            return None
        data = self._known.keys_by_hash.get(script[2:] if is_witness else script[3:23])
        key = self._key(data, Context.P2WPKH if is_witness else context)
        if key is None:
            return None
        return Wpkh(key) if is_witness else Pkh(key)

    def _multisig(self, script: bytes, context: Context) -> Node | None:
        found = multisig_of(script)
        if found is None or (context is Context.TOP and len(found[1]) > 3):
            return None
        keys = [self._key(data, context) for data in found[1]]
        there = tuple(key for key in keys if key is not None)
        return Multi(found[0], there, is_sorted=False) if len(there) == len(keys) else None

    def _taproot(self, output_key: bytes) -> Node | None:
        plan = self._known.taproot.get(output_key)
        if plan is not None:
            internal = self._x_only_key(plan.internal_key.x_only)
            leaves = [(leaf.depth, self._leaf(leaf.script)) for leaf in plan.leaves]
            there = tuple((depth, leaf) for depth, leaf in leaves if leaf is not None)
            if internal is not None and len(there) == len(leaves):
                return Tr(internal, there)
        key = self._x_only_key(output_key)
        return None if key is None else RawTr(key)

    def _leaf(self, script: bytes) -> Leaf | None:
        if len(script) == 34 and script[0] == 32 and script[33] == 0xAC:
            key = self._x_only_key(script[1:33])
            return None if key is None else Pk(key)
        node = self._miniscript(script, tapscript=True)
        if node is not None and node.expression.fragment == "multi_a":
            return MultiA(node.expression.k, node.expression.keys, is_sorted=False)
        return node

    def _miniscript(self, script: bytes, *, tapscript: bool) -> Miniscript | None:
        try:
            node = decode_miniscript(script, tapscript=tapscript)
            expression = node.with_keys(lambda data: self._miniscript_key(data, tapscript=tapscript))
        except NotDecodedError:
            return None
        return Miniscript(expression) if _is_sane(expression) else None

    def _miniscript_key(self, data: bytes, *, tapscript: bool) -> ConstKey:
        if len(data) == 20:
            data = self._known.keys_by_hash.get(data, b"")
            data = data[1:] if tapscript else data
        key = self._x_only_key(data) if tapscript else self._key(data, Context.P2WSH)
        if key is None:
            raise NotDecodedError
        return key


def _is_sane(node: MiniscriptNode) -> bool:
    keys = [key.public_key for key in node.all_keys()]
    is_sane = node.is_sane_part(has_duplicates=len(set(keys)) < len(keys))
    return is_sane and node.needs_signature and node.is_satisfiable
