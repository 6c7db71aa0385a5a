"""What a descriptor pays to at one index: output scripts, and everything needed to spend them."""

from __future__ import annotations

import hashlib

import msgspec

from anya_actors.domain.bitcoin.descriptors.errors import DerivationError
from anya_actors.domain.bitcoin.descriptors.keys import DerivedKey, KeyExpression, KeyRing
from anya_actors.domain.bitcoin.descriptors.miniscript.node import Node as MiniscriptNode
from anya_actors.domain.bitcoin.descriptors.miniscript.script import (
    multi_a_script,
    multisig_script,
    script_of,
)
from anya_actors.domain.bitcoin.descriptors.tree import (
    Addr,
    Combo,
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
    Unused,
    Wpkh,
    Wsh,
)
from anya_actors.domain.bitcoin.script import (
    hash160,
    p2pkh_script,
    p2sh_script,
    p2tr_script,
    p2wpkh_script,
    push,
    witness_script,
)
from anya_actors.domain.bitcoin.taproot import TapLeaf, TapTree, build_tree, control_block, output_of


class TaprootPlan(msgspec.Struct, frozen=True, dict=True):
    """The inside of a tr() output."""

    internal_key: DerivedKey
    tree: TapTree | None = None
    leaf_keys: tuple[tuple[DerivedKey, ...], ...] = ()
    """The keys of each leaf's script."""

    @property
    def merkle_root(self) -> bytes:
        """32 bytes; none for an output without scripts."""
        return b"" if self.tree is None else self.tree.merkle_root

    @property
    def leaves(self) -> tuple[TapLeaf, ...]:
        return () if self.tree is None else self.tree.leaves

    def control_block(self, number: int) -> bytes:
        """What shows that leaf ``number`` belongs to the output."""
        if self.tree is None:
            raise DerivationError("the output has no scripts")
        return control_block(self.internal_key.x_only, self.tree, number)


class ScriptPlan(msgspec.Struct, frozen=True):
    """One output script with the scripts and keys behind it."""

    script_pubkey: bytes
    keys: tuple[DerivedKey, ...] = ()
    redeem_script: bytes | None = None
    witness_script: bytes | None = None
    taproot: TaprootPlan | None = None


class _Script(msgspec.Struct, frozen=True):
    """A script that is not yet wrapped, with its keys."""

    script: bytes
    keys: tuple[DerivedKey, ...]


class Expander:
    """Derives keys at one index and builds the scripts over them."""

    def __init__(self, index: int, private_keys: KeyRing) -> None:
        self._index = index
        self._private_keys = private_keys

    def plans(self, node: Node) -> list[ScriptPlan]:
        """Every output script of a descriptor; raises `DerivationError`."""
        if isinstance(node, Addr | Raw):
            return [ScriptPlan(node.script_pubkey)]
        if isinstance(node, Unused):
            return []
        if isinstance(node, Combo):
            return self._combo(node)
        if isinstance(node, Tr):
            return [self._taproot(node)]
        if isinstance(node, RawTr):
            key = self._derive(node.key)
            return [ScriptPlan(p2tr_script(key.x_only), (key,))]
        if isinstance(node, Sh):
            return [self._pay_to_script_hash(node)]
        if isinstance(node, Wsh):
            inner = self._script(node.script)
            output = witness_script(0, hashlib.sha256(inner.script).digest())
            return [ScriptPlan(output, inner.keys, witness_script=inner.script)]
        plain = self._script(node)
        return [ScriptPlan(plain.script, plain.keys)]

    def _derive(self, key: KeyExpression) -> DerivedKey:
        return key.derive(self._index, self._private_keys)

    def _combo(self, node: Combo) -> list[ScriptPlan]:
        key = self._derive(node.key)
        name, keys = hash160(key.public_key), (key,)
        plans = [ScriptPlan(push(key.public_key) + b"\xac", keys), ScriptPlan(p2pkh_script(name), keys)]
        if len(key.public_key) == 33:
            program = p2wpkh_script(name)
            plans.append(ScriptPlan(program, keys))
            plans.append(ScriptPlan(p2sh_script(hash160(program)), keys, redeem_script=program))
        return plans

    def _pay_to_script_hash(self, node: Sh) -> ScriptPlan:
        if isinstance(node.script, Wsh):
            inner = self.plans(node.script)[0]
            redeem, keys, witness = inner.script_pubkey, inner.keys, inner.witness_script
        else:
            script = self._script(node.script)
            redeem, keys, witness = script.script, script.keys, None
        return ScriptPlan(p2sh_script(hash160(redeem)), keys, redeem, witness)

    def _script(self, node: Node) -> _Script:
        if isinstance(node, Multi):
            keys = tuple(self._derive(key) for key in node.keys)
            texts = [key.public_key for key in keys]
            return _Script(multisig_script(node.threshold, sorted(texts) if node.is_sorted else texts), keys)
        if isinstance(node, Miniscript):
            return self._miniscript(node.expression)
        if isinstance(node, Pk | Pkh | Wpkh):
            key = self._derive(node.key)
            if isinstance(node, Pk):
                return _Script(push(key.public_key) + b"\xac", (key,))
            make = p2pkh_script if isinstance(node, Pkh) else p2wpkh_script
            return _Script(make(hash160(key.public_key)), (key,))
        raise DerivationError("this function stands where it has no script")

    def _miniscript(self, node: MiniscriptNode) -> _Script:
        derived = node.with_keys(self._derive)
        script = script_of(derived, lambda key: key.x_only if node.tapscript else key.public_key)
        return _Script(script, tuple(derived.all_keys()))

    def _taproot(self, node: Tr) -> ScriptPlan:
        internal = self._derive(node.internal_key)
        scripts = [(depth, self._leaf(leaf)) for depth, leaf in node.leaves]
        tree = None
        if scripts:
            tree = build_tree([TapLeaf(leaf.script, depth=depth) for depth, leaf in scripts])
        plan = TaprootPlan(internal, tree, tuple(leaf.keys for _, leaf in scripts))
        output = output_of(internal.x_only, plan.merkle_root)
        keys = dict.fromkeys((internal, *(key for _, leaf in scripts for key in leaf.keys)))
        return ScriptPlan(output.script_pubkey, tuple(keys), taproot=plan)

    def _leaf(self, node: Node) -> _Script:
        if isinstance(node, Pk):
            key = self._derive(node.key)
            return _Script(push(key.x_only) + b"\xac", (key,))
        if isinstance(node, MultiA):
            keys = tuple(self._derive(key) for key in node.keys)
            texts = [key.x_only for key in keys]
            return _Script(multi_a_script(node.threshold, sorted(texts) if node.is_sorted else texts), keys)
        return self._script(node)
