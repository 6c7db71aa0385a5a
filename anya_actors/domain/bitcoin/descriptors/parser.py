"""Reading descriptors. What is refused, and with which words, is as in Core (``descriptor.cpp``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.descriptors.errors import DescriptorError
from anya_actors.domain.bitcoin.descriptors.key_parser import Context, KeyParser
from anya_actors.domain.bitcoin.descriptors.keys import KeyExpression
from anya_actors.domain.bitcoin.descriptors.miniscript.sanity import check_sane
from anya_actors.domain.bitcoin.descriptors.miniscript.text import (
    MAX_MULTI_A_KEYS,
    MAX_MULTISIG_KEYS,
    NotMiniscriptError,
    parse_miniscript,
)
from anya_actors.domain.bitcoin.descriptors.tree import (
    Addr,
    Combo,
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
    Unused,
    Wpkh,
    Wsh,
    keys_of,
)
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.taproot import MAX_DEPTH

_FUNCTION: Final = re.compile(r"([a-z_]+)\((.*)\)", re.ASCII | re.DOTALL)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})*", re.ASCII)
_THRESHOLD: Final = re.compile(r"\d{1,9}", re.ASCII)
_MAX_ELEMENT: Final = 520
_SCRIPTS: Final = (Context.TOP, Context.P2SH, Context.P2WSH)
_ONE_KEY: Final = {
    # Which node, where it may stand, and what Core says where it may not.
    "pk": (Pk, (*_SCRIPTS, Context.P2TR), ""),
    "pkh": (Pkh, _SCRIPTS, ""),
    "combo": (Combo, (Context.TOP,), "Can only have combo() at top level"),
    "wpkh": (Wpkh, (Context.TOP, Context.P2SH), "Can only have wpkh() at top level or inside sh()"),
    "rawtr": (RawTr, (Context.TOP,), "Can only have rawtr at top level"),
    "unused": (Unused, (Context.TOP,), "Can only have unused at top level"),
}


class DescriptorParser:
    """Reads the functions of one descriptor."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.keys = KeyParser(network)

    def parse(self, text: str, context: Context = Context.TOP) -> Node:
        """Read one descriptor function with everything in it; raises `DescriptorError`."""
        match = _FUNCTION.fullmatch(text)
        name, body = (match[1], match[2]) if match and _is_closed(match[2]) else ("", "")
        if name in _ONE_KEY:
            kind, contexts, refusal = _ONE_KEY[name]
            if context in contexts:
                return self._one_key(name, body, kind, context)
            if refusal:
                raise DescriptorError(refusal)
        if name in ("multi", "sortedmulti"):
            if context not in _SCRIPTS:
                raise DescriptorError("Can only have multi/sortedmulti at top level, in sh(), or in wsh()")
            return self._multi(name, body, context)
        if name in ("multi_a", "sortedmulti_a"):
            if context is not Context.P2TR:
                raise DescriptorError("Can only have multi_a/sortedmulti_a inside tr()")
            return self._multi(name, body, context)
        if name in ("sh", "wsh", "addr", "tr", "raw"):
            return self._nesting(name, body, context)
        return self._miniscript(text, context)

    def _one_key(self, name: str, body: str, kind: type, context: Context) -> Node:
        if name == "wpkh":
            context = Context.P2WPKH
        if name == "rawtr":
            context = Context.P2TR
        if name in ("rawtr", "unused") and len(split_arguments(body)) != 1:
            expected = "only one key expected." if name == "rawtr" else "only one key expected"
            raise DescriptorError(f"{name}(): {expected}")
        try:
            key = self.keys.parse(body, context)
        except DescriptorError as error:
            raise DescriptorError(f"{name}(): {error.reason}") from None
        if name == "unused" and key.is_ranged:
            raise DescriptorError("unused(): key cannot be ranged")
        node: Node = kind(key)
        return node

    def _nesting(self, name: str, body: str, context: Context) -> Node:
        if name == "sh":
            _require(context is Context.TOP, "Can only have sh() at top level")
            return Sh(self.parse(body, Context.P2SH))  # type: ignore[arg-type]
        if name == "wsh":
            is_here = context in (Context.TOP, Context.P2SH)
            _require(is_here, "Can only have wsh() at top level or inside sh()")
            return Wsh(self.parse(body, Context.P2WSH))  # type: ignore[arg-type]
        if name == "tr":
            _require(context is Context.TOP, "Can only have tr at top level")
            return self._tr(body)
        _require(context is Context.TOP, f"Can only have {name}() at top level")
        if name == "addr":
            try:
                return Addr(body, parse_address(body, self._network))
            except AddressError:
                raise DescriptorError("Address is not valid") from None
        if not _HEX.fullmatch(body):
            raise DescriptorError("Raw script is not hex")
        return Raw(bytes.fromhex(body))

    def _multi(self, name: str, body: str, context: Context) -> Multi | MultiA:
        threshold_text, *texts = split_arguments(body)
        if not _THRESHOLD.fullmatch(threshold_text):
            raise DescriptorError(f"Multi threshold '{threshold_text}' is not valid")
        threshold, keys = int(threshold_text), []
        for text in texts:
            try:
                keys.append(self.keys.parse(text, context))
            except DescriptorError as error:
                raise DescriptorError(f"Multi: {error.reason}") from None
        _check_multi(threshold, keys, context)
        check_branches(keys, "multi(): Multipath derivation paths have mismatched lengths")
        kind = MultiA if name.endswith("_a") else Multi
        return kind(threshold, tuple(keys), name.startswith("sorted"))

    def _tr(self, body: str) -> Tr:
        internal_text, *rest = split_arguments(body)
        try:
            internal_key = self.keys.parse(internal_text, Context.P2TR)
        except DescriptorError as error:
            raise DescriptorError(f"tr(): {error.reason}") from None
        leaves = self._script_tree(body[len(internal_text) + 1 :]) if rest else []
        scripts = [keys_of(leaf) for _, leaf in leaves]
        branches = {max((key.branches for key in keys), default=1) for keys in scripts} - {1}
        _require(len(branches) < 2, "tr(): Multipath subscripts have mismatched lengths")
        if internal_key.branches > 1 and branches - {internal_key.branches}:
            raise DescriptorError("tr(): Multipath internal key mismatches multipath subscripts lengths")
        return Tr(internal_key, tuple(leaves))

    def _script_tree(self, text: str) -> list[tuple[int, Leaf]]:
        """Read ``{A,{B,C}}``: a stack of branches, of which the left or the right side is being read."""
        leaves: list[tuple[int, Leaf]] = []
        is_right: list[bool] = []
        at = 0
        while True:
            while text[at : at + 1] == "{":
                is_right.append(False)
                at += 1
                _require(len(is_right) <= MAX_DEPTH, f"tr() supports at most {MAX_DEPTH} nesting levels")
            end = _expression_end(text, at)
            leaves.append((len(is_right), self.parse(text[at:end], Context.P2TR)))  # type: ignore[arg-type]
            at = end
            while is_right and is_right[-1]:
                _require(text[at : at + 1] == "}", "tr(): expected '}' after script expression")
                is_right.pop()
                at += 1
            if not is_right:
                _require(at == len(text), "tr(): expected ')' after script expression")
                return leaves
            _require(text[at : at + 1] == ",", "tr(): expected ',' after script expression")
            is_right[-1] = True
            at += 1

    def _miniscript(self, text: str, context: Context) -> Miniscript:
        tapscript = context is not Context.P2WSH
        key_context = Context.P2TR if tapscript else Context.P2WSH
        try:
            node = parse_miniscript(text, lambda key: self.keys.parse(key, key_context), tapscript=tapscript)
        except NotMiniscriptError:
            if context in (Context.P2SH, Context.P2WSH):
                raise DescriptorError(f"A function is needed within P2{context.name[2:]}") from None
            raise DescriptorError(f"'{text[:200]}' is not a valid descriptor function") from None
        if context not in (Context.P2WSH, Context.P2TR):
            raise DescriptorError("Miniscript expressions can only be used in wsh or tr.")
        check_sane(node, self.keys.private_keys)
        check_branches(node.all_keys(), "Miniscript: Multipath derivation paths have mismatched lengths")
        return Miniscript(node)


def _check_multi(threshold: int, keys: Sequence[KeyExpression], context: Context) -> None:
    count = len(keys)
    name, most = ("multi_a", MAX_MULTI_A_KEYS) if context is Context.P2TR else ("multisig", MAX_MULTISIG_KEYS)
    if not 1 <= count <= most:
        raise DescriptorError(
            f"Cannot have {count} keys in {name}; must have between 1 and {most} keys, inclusive"
        )
    if threshold < 1:
        raise DescriptorError(f"Multisig threshold cannot be {threshold}, must be at least 1")
    if threshold > count:
        raise DescriptorError(
            "Multisig threshold cannot be larger than the number of keys; "
            f"threshold is {threshold} but only {count} keys specified"
        )
    if context is Context.TOP and count > 3:
        raise DescriptorError(f"Cannot have {count} pubkeys in bare multisig; only at most 3 pubkeys")
    size = 3 + sum(key.size + 1 for key in keys)
    if context is Context.P2SH and size > _MAX_ELEMENT:
        raise DescriptorError(f"P2SH script is too large, {size} bytes is larger than {_MAX_ELEMENT} bytes")


def check_branches(keys: Sequence[KeyExpression], reason: str) -> None:
    """Raise `DescriptorError` unless all multipath keys have the same number of paths."""
    _require(len({key.branches for key in keys} - {1}) < 2, reason)


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise DescriptorError(reason)


def _is_closed(body: str) -> bool:
    """Whether the brackets of a function's body match within it."""
    depth = 0
    for character in body:
        if character in "({":
            depth += 1
        elif character in ")}":
            depth -= 1
            if depth < 0:
                return False
    return depth == 0


def _expression_end(text: str, at: int) -> int:
    """Where the expression that begins here ends: at a comma or a closing bracket that is not its own."""
    depth = 0
    while at < len(text):
        character = text[at]
        if character in "({":
            depth += 1
        elif depth and character in ")}":
            depth -= 1
        elif not depth and character in ")},":
            break
        at += 1
    return at


def split_arguments(text: str) -> list[str]:
    """The text split at its commas outside of brackets."""
    pieces, at = [], 0
    while True:
        end = _expression_end(text, at)
        pieces.append(text[at:end])
        if text[end : end + 1] != ",":
            return pieces
        at = end + 1
