"""Script back to miniscript.

Reads a script from left to right, keeping for each open IF the expressions read in it so far. Of several
expressions with one script that one is found whose and_v() stand outermost; their satisfactions are
the same. The result is encoded again and compared, so whatever is read is exactly the script.
"""

from __future__ import annotations

from typing import Final

import msgspec

from anya_actors.domain.bitcoin.descriptors.miniscript.node import (
    MAX_STACK,
    MAX_TAPSCRIPT,
    MAX_WSH_SCRIPT,
    Node,
)
from anya_actors.domain.bitcoin.descriptors.miniscript.script import script_of
from anya_actors.domain.bitcoin.script import ScriptEndsError, operations

_SPLIT: Final = {0x88: 0x87, 0x9D: 0x9C, 0xAD: 0xAC, 0xAF: 0xAE}
_IF, _NOTIF, _ELSE, _ENDIF, _VERIFY = 0x63, 0x64, 0x67, 0x68, 0x69
_TOALTSTACK, _FROMALTSTACK, _IFDUP, _DUP, _SWAP, _SIZE = 0x6B, 0x6C, 0x73, 0x76, 0x7C, 0x82
_EQUAL, _NOT_EQUAL_ZERO, _ADD, _BOOLAND, _BOOLOR, _NUMEQUAL = 0x87, 0x92, 0x93, 0x9A, 0x9B, 0x9C
_HASH160, _CHECKSIG, _CHECKMULTISIG, _CHECKSIGADD = 0xA9, 0xAC, 0xAE, 0xBA
_CHECKLOCKTIMEVERIFY, _CHECKSEQUENCEVERIFY = 0xB1, 0xB2
_HASHES: Final = {0xA6: "ripemd160", 0xA8: "sha256", 0xA9: "hash160", 0xAA: "hash256"}

Token = tuple[int, bytes | None]


class NotDecodedError(ValueError):
    """The script is no miniscript."""


class _Mark(msgspec.Struct):
    """Where an ``s:`` or ``a:`` began."""

    wrapper: str


class _Sum(msgspec.Struct):
    """The parts of a thresh() before its number comes."""

    parts: list[Node]


class _Block(msgspec.Struct):
    """What has been read since an IF or NOTIF opened; ``then`` holds the part in front of the ELSE."""

    opener: str
    items: list[Node | _Mark | _Sum] = msgspec.field(default_factory=list)
    then: Node | None = None


class _Decoder:
    def __init__(self, tokens: list[Token], *, tapscript: bool) -> None:
        self._tokens = tokens
        self._at = 0
        self._tapscript = tapscript
        self._blocks = [_Block("")]

    def decode(self) -> Node:
        while self._at < len(self._tokens):
            self._step()
        if len(self._blocks) != 1:
            raise NotDecodedError
        return self._folded()

    @property
    def _items(self) -> list[Node | _Mark | _Sum]:
        return self._blocks[-1].items

    def _node(self, fragment: str, *subs: Node, k: int = 0, data: bytes = b"") -> Node:
        return Node(fragment, subs, tapscript=self._tapscript, k=k, data=data)

    def _opcodes(self, *opcodes: int) -> bool:
        """Whether these opcodes come next."""
        found = self._tokens[self._at : self._at + len(opcodes)]
        return [opcode for opcode, _ in found] == list(opcodes)

    def _number(self, at: int) -> int | None:
        """The number that the token here pushes, if it does so in the shortest way."""
        if at >= len(self._tokens):
            return None
        opcode, data = self._tokens[at]
        if opcode == 0:
            return 0
        if 0x51 <= opcode <= 0x60:
            return opcode - 0x50
        if data is not None and 1 <= len(data) <= 5 and not data[-1] & 0x80:
            return int.from_bytes(data, "little")
        return None

    def _pop(self) -> Node:
        item = self._items.pop() if self._items else None
        if not isinstance(item, Node):
            raise NotDecodedError
        return item

    def _folded(self) -> Node:
        """The expressions of the innermost block, joined by and_v(); the block is left empty."""
        return self._fold_from(0)

    def _fold_from(self, start: int) -> Node:
        result = self._pop() if len(self._items) > start else None
        if result is None:
            raise NotDecodedError
        while len(self._items) > start:
            result = self._node("and_v", self._pop(), result)
        return result

    def _step(self) -> None:
        opcode, data = self._tokens[self._at]
        if data is not None or opcode == 0 or 0x51 <= opcode <= 0x60:
            self._push(data)
        elif opcode in (_IF, _NOTIF, _ELSE, _ENDIF, _IFDUP):
            self._branch(opcode)
        elif opcode in (_DUP, _SIZE):
            self._prefix(opcode)
        else:
            self._at += 1
            self._operator(opcode)

    def _push(self, data: bytes | None) -> None:
        number = self._number(self._at)
        following = self._tokens[self._at + 1][0] if self._at + 1 < len(self._tokens) else -1
        if number is not None and following in (_CHECKSEQUENCEVERIFY, _CHECKLOCKTIMEVERIFY, _EQUAL):
            self._at += 2
            if following == _EQUAL:
                self._thresh(number)
            else:
                self._items.append(
                    self._node("older" if following == _CHECKSEQUENCEVERIFY else "after", k=number)
                )
            return
        if number is not None and self._is_key(self._at + 1) and not self._tapscript:
            self._multi(number)
            return
        if data is not None and self._is_key(self._at):
            if self._tapscript and self._multi_a():
                return
            self._at += 1
            self._items.append(Node("pk_k", tapscript=self._tapscript, keys=(data,)))
            return
        if number not in (0, 1) or data:
            raise NotDecodedError
        self._at += 1
        self._items.append(self._node(str(number)))

    def _is_key(self, at: int) -> bool:
        data = self._tokens[at][1] if at < len(self._tokens) else None
        return data is not None and len(data) == (32 if self._tapscript else 33)

    def _keys_from(self, at: int, step: int, opcode: int | None = None) -> list[bytes]:
        """The keys that stand here, ``step`` tokens apart, each followed by the opcode if one is given."""
        keys: list[bytes] = []
        while self._is_key(at) and (opcode is None or self._tokens[at + 1 : at + 2] == [(opcode, None)]):
            keys.append(self._tokens[at][1] or b"")
            at += step
        return keys

    def _multi(self, threshold: int) -> None:
        keys = self._keys_from(self._at + 1, 1)
        end = self._at + 1 + len(keys)
        if self._number(end) != len(keys) or self._tokens[end + 1 : end + 2] != [(_CHECKMULTISIG, None)]:
            raise NotDecodedError
        if not 1 <= threshold <= len(keys) <= 20:
            raise NotDecodedError
        self._at = end + 2
        self._items.append(Node("multi", tapscript=False, k=threshold, keys=keys))

    def _multi_a(self) -> bool:
        first = self._keys_from(self._at, 2, _CHECKSIG)[:1]
        keys = first + self._keys_from(self._at + 2, 2, _CHECKSIGADD) if first else []
        end = self._at + 2 * len(keys)
        threshold = self._number(end)
        if not keys or threshold is None or self._tokens[end + 1 : end + 2] != [(_NUMEQUAL, None)]:
            return False
        if not 1 <= threshold <= len(keys) <= 999:
            raise NotDecodedError
        self._at = end + 2
        self._items.append(Node("multi_a", tapscript=True, k=threshold, keys=keys))
        return True

    def _thresh(self, threshold: int) -> None:
        item = self._items.pop() if self._items else None
        if isinstance(item, _Mark) or item is None:
            raise NotDecodedError
        parts = item.parts if isinstance(item, _Sum) else [item]
        # No more parts can be satisfied than a stack holds elements for.
        if not 1 <= threshold <= len(parts) <= MAX_STACK:
            raise NotDecodedError
        self._items.append(self._node("thresh", *parts, k=threshold))

    def _prefix(self, opcode: int) -> None:
        if self._opcodes(_DUP, _HASH160) and self._data_at(2, 20) and self._opcode_at(3, _EQUAL, _VERIFY):
            # A key that only its hash shows: 20 bytes instead of 33.
            key = self._tokens[self._at + 2][1]
            self._at += 5
            self._items.append(Node("pk_h", tapscript=self._tapscript, keys=(key,)))
        elif self._opcodes(_DUP, _IF):
            self._at += 2
            self._blocks.append(_Block("d"))
        elif self._opcodes(_SIZE, _NOT_EQUAL_ZERO, _IF):
            self._at += 3
            self._blocks.append(_Block("j"))
        elif opcode == _SIZE and self._number(self._at + 1) == 32 and self._opcode_at(2, _EQUAL, _VERIFY):
            self._hash()
        else:
            raise NotDecodedError

    def _data_at(self, distance: int, size: int) -> bool:
        place = self._at + distance
        data = self._tokens[place][1] if place < len(self._tokens) else None
        return data is not None and len(data) == size

    def _opcode_at(self, distance: int, *opcodes: int) -> bool:
        start = self._at + distance
        return self._tokens[start : start + len(opcodes)] == [(opcode, None) for opcode in opcodes]

    def _hash(self) -> None:
        hashing, digest, last = (*self._tokens[self._at + 4 : self._at + 7], *[(-1, None)] * 3)[:3]
        name, data = _HASHES.get(hashing[0], ""), digest[1]
        size = 20 if name.endswith("160") else 32
        if not name or data is None or len(data) != size or last[0] != _EQUAL:
            raise NotDecodedError
        self._at += 7
        self._items.append(self._node(name, data=data))

    def _branch(self, opcode: int) -> None:
        self._at += 1
        block = self._blocks[-1]
        if opcode == _IF:
            self._blocks.append(_Block("or_i"))
        elif opcode == _NOTIF:
            self._blocks.append(_Block("or_c"))
        elif opcode == _IFDUP:
            if not self._opcodes(_NOTIF):
                raise NotDecodedError
            self._at += 1
            self._blocks.append(_Block("or_d"))
        elif opcode == _ELSE:
            if block.opener not in ("or_i", "or_c") or block.then is not None:
                raise NotDecodedError
            block.then = self._folded()
        else:
            self._close()

    def _close(self) -> None:
        if len(self._blocks) < 2:
            raise NotDecodedError
        last, block = self._folded(), self._blocks.pop()
        if block.opener in ("d", "j"):
            node = self._node(block.opener, last)
        elif block.opener == "or_i":
            if block.then is None:
                raise NotDecodedError
            node = self._node("or_i", block.then, last)
        elif block.then is not None:
            node = self._node("andor", self._pop(), last, block.then)
        else:
            node = self._node(block.opener, self._pop(), last)
        self._items.append(node)

    def _operator(self, opcode: int) -> None:
        if opcode == _SWAP:
            self._items.append(_Mark("s"))
        elif opcode == _TOALTSTACK:
            self._items.append(_Mark("a"))
        elif opcode == _FROMALTSTACK:
            self._items.append(self._wrapped("a"))
        elif opcode == _VERIFY:
            self._items.append(self._node("v", self._pop()))
        elif opcode == _NOT_EQUAL_ZERO:
            self._items.append(self._node("n", self._pop()))
        elif opcode == _CHECKSIG:
            self._items.append(self._node("c", self._pop()))
        elif opcode in (_ADD, _BOOLAND, _BOOLOR):
            self._join(opcode)
        else:
            raise NotDecodedError

    def _wrapped(self, wrapper: str) -> Node:
        """Everything since the last mark, wrapped as that says."""
        places = [place for place, item in enumerate(self._items) if isinstance(item, _Mark)]
        if not places or self._items[places[-1]] != _Mark(wrapper):
            raise NotDecodedError
        inner = self._fold_from(places[-1] + 1)
        self._items.pop()
        return self._node(wrapper, inner)

    def _join(self, opcode: int) -> None:
        last = self._items[-1] if self._items else None
        right = self._pop() if isinstance(last, Node) and last.fragment == "a" else self._wrapped("s")
        if opcode == _ADD:
            item = self._items.pop() if self._items else None
            if isinstance(item, _Mark) or item is None:
                raise NotDecodedError
            parts = item.parts if isinstance(item, _Sum) else [item]
            self._items.append(_Sum([*parts, right]))
            return
        self._items.append(self._node("and_b" if opcode == _BOOLAND else "or_b", self._pop(), right))


def decode_miniscript(script: bytes, *, tapscript: bool) -> Node:
    """The expression of a script, over keys as the script holds them; raises `NotDecodedError`.

    The key of pk_h() is its 20-byte hash. The expression is typed, not checked: see `Node`.
    """
    if len(script) > (MAX_TAPSCRIPT if tapscript else MAX_WSH_SCRIPT):
        raise NotDecodedError
    try:
        tokens: list[Token] = []
        for opcode, data in operations(script):
            if opcode in _SPLIT:
                tokens += [(_SPLIT[opcode], None), (_VERIFY, None)]
            else:
                tokens.append((opcode, data if opcode else None))
    except ScriptEndsError as error:
        raise NotDecodedError from error
    node = _Decoder(tokens, tapscript=tapscript).decode()
    if not node.is_valid_top_level or script_of(node, bytes) != script:
        raise NotDecodedError
    return node
