"""Miniscript as text (BIP379): reading and writing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from anya_actors.domain.bitcoin.descriptors.miniscript.node import (
    HASHES,
    MAX_STACK,
    MAX_TAPSCRIPT,
    WRAPPERS,
    Node,
)

MAX_MULTISIG_KEYS: Final = 20
MAX_MULTI_A_KEYS: Final = 999
_WRAPPED: Final = re.compile(r"([a-z]+):")
_NAME: Final = re.compile(r"([a-z0-9_]+)\(|[01]")
_NUMBER: Final = re.compile(r"\d{1,10}", re.ASCII)
_HEX: Final = re.compile(r"(?:[0-9a-fA-F]{2})+", re.ASCII)
_SUGAR: Final = {"pk": ("c", "pk_k"), "pkh": ("c", "pk_h"), "pk_k": ("", "pk_k"), "pk_h": ("", "pk_h")}
_COMBINATORS: Final = {
    "and_v": 2,
    "and_b": 2,
    "and_n": 2,
    "or_b": 2,
    "or_c": 2,
    "or_d": 2,
    "or_i": 2,
    "andor": 3,
    "thresh": None,
}


class NotMiniscriptError(ValueError):
    """The text does not follow the grammar; the caller names the descriptor it stands in."""


ReadKey = Callable[[str], Any]


class _Frame:
    def __init__(self, name: str, wrappers: str, k: int) -> None:
        self.name, self.wrappers, self.k = name, wrappers, k
        self.subs: list[Node] = []

    @property
    def is_full(self) -> bool:
        wanted = _COMBINATORS[self.name]
        return len(self.subs) == wanted if wanted else len(self.subs) >= self.k

    @property
    def takes_more(self) -> bool:
        wanted = _COMBINATORS[self.name]
        return wanted is None or len(self.subs) < wanted


class _Parser:
    """Reads one expression from left to right, with the open combinators on a stack of its own."""

    def __init__(self, text: str, read_key: ReadKey, *, tapscript: bool) -> None:
        self._text = text
        self._at = 0
        self._read_key = read_key
        self._tapscript = tapscript
        self._frames: list[_Frame] = []

    def parse(self) -> Node:
        while True:
            node = self._start()
            if node is None:
                continue
            while node is not None and self._frames:
                node = self._close(node)
            if node is not None:
                if self._at != len(self._text):
                    raise NotMiniscriptError(f"something follows it at character {self._at}")
                return node

    def _start(self) -> Node | None:
        """Read wrappers and a name; a whole leaf is returned, a combinator opened."""
        wrapped = _WRAPPED.match(self._text, self._at)
        wrappers = wrapped[1] if wrapped else ""
        if wrapped:
            self._at = wrapped.end()
        name = _NAME.match(self._text, self._at)
        if name is None:
            raise NotMiniscriptError(f"no expression begins at character {self._at}")
        self._at = name.end()
        if name[1] is None:
            return self._wrap(self._node(name[0]), wrappers)
        if name[1] in _COMBINATORS:
            k = self._threshold() if name[1] == "thresh" else 0
            self._frames.append(_Frame(name[1], wrappers, k))
            return None
        return self._wrap(self._leaf(name[1], self._arguments()), wrappers)

    def _close(self, node: Node) -> Node | None:
        frame = self._frames[-1]
        frame.subs.append(node)
        mark = self._text[self._at : self._at + 1]
        self._at += 1
        if mark == "," and frame.takes_more:
            if len(frame.subs) >= MAX_STACK:
                raise NotMiniscriptError("more parts than a stack can hold elements for")
            return None
        if mark != ")" or not frame.is_full:
            raise NotMiniscriptError(f"{frame.name}() does not have its arguments")
        self._frames.pop()
        return self._wrap(self._combine(frame), frame.wrappers)

    def _combine(self, frame: _Frame) -> Node:
        if frame.name == "and_n":
            return self._node("andor", *frame.subs, self._node("0"))
        return Node(frame.name, frame.subs, tapscript=self._tapscript, k=frame.k)

    def _node(self, fragment: str, *subs: Node) -> Node:
        return Node(fragment, subs, tapscript=self._tapscript)

    def _wrap(self, node: Node, wrappers: str) -> Node:
        for letter in reversed(wrappers):
            if letter == "t":
                node = self._node("and_v", node, self._node("1"))
            elif letter == "l":
                node = self._node("or_i", self._node("0"), node)
            elif letter == "u":
                node = self._node("or_i", node, self._node("0"))
            elif letter in WRAPPERS:
                node = self._node(letter, node)
            else:
                raise NotMiniscriptError(f"there is no wrapper {letter}:")
            if node.script_size > MAX_TAPSCRIPT:
                raise NotMiniscriptError("its script would be too long")
        return node

    def _threshold(self) -> int:
        comma = self._text.find(",", self._at)
        k = _number(self._text[self._at : comma]) if comma > 0 else 0
        if k < 1:
            raise NotMiniscriptError("a threshold is not a number above 0")
        self._at = comma + 1
        return k

    def _arguments(self) -> list[str]:
        """The text up to the closing bracket, split at its commas outside of inner brackets."""
        depth, start, pieces = 0, self._at, []
        for at in range(self._at, len(self._text)):
            character = self._text[at]
            if character == "(":
                depth += 1
            elif character == ")" and depth:
                depth -= 1
            elif character in ",)" and not depth:
                pieces.append(self._text[start:at])
                start = at + 1
                if character == ")":
                    self._at = at + 1
                    return pieces
        raise NotMiniscriptError("a bracket is not closed")

    def _leaf(self, name: str, arguments: list[str]) -> Node:
        if name in ("multi", "multi_a"):
            return self._multi(name, arguments)
        if len(arguments) != 1:
            raise NotMiniscriptError(f"{name}() takes one argument")
        if name in _SUGAR:
            wrapper, fragment = _SUGAR[name]
            key = Node(fragment, tapscript=self._tapscript, keys=(self._read_key(arguments[0]),))
            return self._wrap(key, wrapper)
        if name in HASHES:
            if not _HEX.fullmatch(arguments[0]) or len(arguments[0]) != 2 * HASHES[name]:
                raise NotMiniscriptError(f"{name}() takes {HASHES[name]} bytes in hexadecimal")
            return Node(name, tapscript=self._tapscript, data=bytes.fromhex(arguments[0]))
        if name in ("after", "older"):
            k = _number(arguments[0])
            if not 1 <= k < 1 << 31:
                raise NotMiniscriptError(f"{name}() takes a number from 1 to 2147483647")
            return Node(name, tapscript=self._tapscript, k=k)
        raise NotMiniscriptError(f"there is no {name}()")

    def _multi(self, name: str, arguments: list[str]) -> Node:
        if (name == "multi_a") is not self._tapscript:
            raise NotMiniscriptError(f"{name}() does not exist in this context")
        k, texts = _number(arguments[0]), arguments[1:]
        keys = [self._read_key(text) for text in texts]
        most = MAX_MULTI_A_KEYS if self._tapscript else MAX_MULTISIG_KEYS
        if not 1 <= len(keys) <= most or not 1 <= k <= len(keys):
            raise NotMiniscriptError(f"{name}() takes 1 to {most} keys and a threshold up to their number")
        return Node(name, tapscript=self._tapscript, k=k, keys=keys)


def _number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0


def parse_miniscript(text: str, read_key: ReadKey, *, tapscript: bool) -> Node:
    """Read one expression; raises `NotMiniscriptError`, or what ``read_key`` raises.

    The types are computed, not checked: see `Node.is_valid_top_level`.
    """
    return _Parser(text, read_key, tapscript=tapscript).parse()


def format_miniscript(node: Node, write_key: Callable[[Any], str] = str) -> str:
    """The expression as text, with the abbreviations that Core writes."""

    def combine(node: Node, subs: list[tuple[str, str]]) -> tuple[str, str]:
        # Each result is its wrappers and what they wrap: "sln" and "older(1)".
        fragment = node.fragment
        if fragment == "c" and node.subs[0].fragment in ("pk_k", "pk_h"):
            name = "pk" if node.subs[0].fragment == "pk_k" else "pkh"
            return "", f"{name}({write_key(node.subs[0].keys[0])})"
        if fragment in WRAPPERS:
            return fragment + subs[0][0], subs[0][1]
        if fragment == "and_v" and node.subs[1].fragment == "1":
            return "t" + subs[0][0], subs[0][1]
        if fragment == "or_i" and node.subs[0].fragment == "0":
            return "l" + subs[1][0], subs[1][1]
        if fragment == "or_i" and node.subs[1].fragment == "0":
            return "u" + subs[0][0], subs[0][1]
        return "", _plain(node, [_joined(*sub) for sub in subs], write_key)

    return _joined(*node.fold(combine))


def _joined(wrappers: str, text: str) -> str:
    return f"{wrappers}:{text}" if wrappers else text


def _plain(node: Node, subs: list[str], write_key: Callable[[Any], str]) -> str:
    fragment = node.fragment
    if fragment in ("0", "1"):
        return fragment
    if fragment == "andor" and node.subs[2].fragment == "0":
        return f"and_n({subs[0]},{subs[1]})"
    arguments = [*(write_key(key) for key in node.keys), *subs]
    if node.k:
        arguments.insert(0, str(node.k))
    if node.data:
        arguments.append(node.data.hex())
    return f"{fragment}({','.join(arguments)})"
