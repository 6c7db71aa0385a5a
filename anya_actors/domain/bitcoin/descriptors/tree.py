"""Descriptors as trees of their functions: BIP381 to BIP387, rawtr() and miniscript."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from anya_actors.domain.bitcoin.descriptors.keys import KeyExpression
from anya_actors.domain.bitcoin.descriptors.miniscript.node import Node as MiniscriptNode
from anya_actors.domain.bitcoin.descriptors.miniscript.text import format_miniscript

WriteKey = Callable[[KeyExpression], str]


class Pk(msgspec.Struct, frozen=True):
    """``pk(KEY)``; in a taproot leaf the key is x-only."""

    key: KeyExpression


class Pkh(msgspec.Struct, frozen=True):
    """Pay to the hash of a key (BIP381)."""

    key: KeyExpression


class Wpkh(msgspec.Struct, frozen=True):
    """Pay to the hash of a key by a witness (BIP382)."""

    key: KeyExpression


class Combo(msgspec.Struct, frozen=True):
    """All scripts that pay to one key in the simple ways (BIP384)."""

    key: KeyExpression


class Multi(msgspec.Struct, frozen=True):
    """``multi`` and ``sortedmulti``."""

    threshold: int
    keys: tuple[KeyExpression, ...]
    is_sorted: bool


class MultiA(msgspec.Struct, frozen=True):
    """``multi_a`` and ``sortedmulti_a``."""

    threshold: int
    keys: tuple[KeyExpression, ...]
    is_sorted: bool


class Miniscript(msgspec.Struct, frozen=True):
    """Any other sane miniscript."""

    expression: MiniscriptNode


class Wsh(msgspec.Struct, frozen=True):
    """Pay to the hash of a script by a witness (BIP382)."""

    script: Pk | Pkh | Multi | Miniscript


class Sh(msgspec.Struct, frozen=True):
    """Pay to the hash of a script (BIP381)."""

    script: Pk | Pkh | Wpkh | Multi | Wsh


Leaf = Pk | MultiA | Miniscript


class Tr(msgspec.Struct, frozen=True):
    """An internal key and a tree of scripts: each with its depth, depth first."""

    internal_key: KeyExpression
    leaves: tuple[tuple[int, Leaf], ...] = ()


class RawTr(msgspec.Struct, frozen=True):
    """An output key as it is (Core, ``doc/descriptors.md``)."""

    key: KeyExpression


class Unused(msgspec.Struct, frozen=True):
    """A key without a script, which a wallet only keeps (Core, ``unused()``)."""

    key: KeyExpression


class Addr(msgspec.Struct, frozen=True):
    """Pay to an address (BIP385)."""

    address: str
    script_pubkey: bytes


class Raw(msgspec.Struct, frozen=True):
    """Pay to a script as it is (BIP385)."""

    script_pubkey: bytes


Node = Pk | Pkh | Wpkh | Combo | Multi | MultiA | Miniscript | Wsh | Sh | Tr | RawTr | Unused | Addr | Raw
_ONE_KEY = {Pk: "pk", Pkh: "pkh", Wpkh: "wpkh", Combo: "combo", RawTr: "rawtr", Unused: "unused"}


def keys_of(node: Node) -> list[KeyExpression]:
    """Every key expression, in order of the text."""
    if isinstance(node, Multi | MultiA):
        return list(node.keys)
    if isinstance(node, Miniscript):
        return node.expression.all_keys()
    if isinstance(node, Sh | Wsh):
        return keys_of(node.script)
    if isinstance(node, Tr):
        return [node.internal_key, *(key for _, leaf in node.leaves for key in keys_of(leaf))]
    if isinstance(node, Addr | Raw):
        return []
    return [node.key]


def with_keys(node: Node, replace: Callable[[KeyExpression], KeyExpression]) -> Node:
    """The same tree over other keys."""
    if isinstance(node, Multi | MultiA):
        return msgspec.structs.replace(node, keys=tuple(replace(key) for key in node.keys))
    if isinstance(node, Miniscript):
        return Miniscript(node.expression.with_keys(replace))
    if isinstance(node, Sh | Wsh):
        return msgspec.structs.replace(node, script=with_keys(node.script, replace))
    if isinstance(node, Tr):
        leaves = tuple((depth, with_keys(leaf, replace)) for depth, leaf in node.leaves)
        return Tr(replace(node.internal_key), leaves)  # type: ignore[arg-type]
    if isinstance(node, Addr | Raw):
        return node
    return msgspec.structs.replace(node, key=replace(node.key))


def write_node(node: Node, write_key: WriteKey) -> str:
    """The tree as text, without a checksum."""
    if isinstance(node, Multi | MultiA):
        name = f"{'sorted' * node.is_sorted}multi{'_a' * isinstance(node, MultiA)}"
        return f"{name}({','.join((str(node.threshold), *map(write_key, node.keys)))})"
    if isinstance(node, Miniscript):
        return format_miniscript(node.expression, write_key)
    if isinstance(node, Sh | Wsh):
        return f"{'sh' if isinstance(node, Sh) else 'wsh'}({write_node(node.script, write_key)})"
    if isinstance(node, Tr):
        leaves = [(depth, write_node(leaf, write_key)) for depth, leaf in node.leaves]
        tree = f",{_tree_text(leaves)}" if leaves else ""
        return f"tr({write_key(node.internal_key)}{tree})"
    if isinstance(node, Addr):
        return f"addr({node.address})"
    if isinstance(node, Raw):
        return f"raw({node.script_pubkey.hex()})"
    return f"{_ONE_KEY[type(node)]}({write_key(node.key)})"


def _tree_text(leaves: list[tuple[int, str]]) -> str:
    stack: list[tuple[int, str]] = []
    for leaf in leaves:
        stack.append(leaf)
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            depth, right = stack.pop()
            _, left = stack.pop()
            stack.append((depth - 1, f"{{{left},{right}}}"))
    return stack[0][1]
