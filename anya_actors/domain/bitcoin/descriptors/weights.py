"""How heavy spending a descriptor's output is at most, for estimating fees before signatures exist.

As in Core (``MaxSatisfactionWeight``): ECDSA signatures count 71 bytes, as a signer that grinds for a
low R makes them, or 72; taproot outputs count their key path. Lengths of scriptSig and witness
count are not in it.
"""

from __future__ import annotations

from anya_actors.domain.bitcoin.descriptors.tree import (
    Combo,
    Miniscript,
    Multi,
    MultiA,
    Node,
    Pk,
    Pkh,
    RawTr,
    Sh,
    Tr,
    Wpkh,
    Wsh,
)
from anya_actors.domain.bitcoin.script import push_number
from anya_actors.domain.bitcoin.transaction import WITNESS_SCALE
from anya_actors.domain.bitcoin.wire import compact_size

_SCHNORR: int = 65


def max_satisfaction_weight(node: Node, *, high_r: bool = False) -> int | None:
    """Weight units of scriptSig and witness; None for outputs that it does not know how to spend."""
    if isinstance(node, Tr | RawTr):
        return 1 + _SCHNORR
    if isinstance(node, Wpkh):
        return satisfaction_bytes(node, high_r=high_r)
    if isinstance(node, Wsh):
        return satisfaction_bytes(node, high_r=high_r)
    if isinstance(node, Sh):
        inner = satisfaction_bytes(node.script, high_r=high_r)
        script = script_bytes(node.script)
        if inner is None or script is None:
            return None
        is_witness = isinstance(node.script, Wpkh | Wsh)
        return (1 + script) * WITNESS_SCALE + inner * (1 if is_witness else WITNESS_SCALE)
    if isinstance(node, Pk | Pkh | Multi):
        inner = satisfaction_bytes(node, high_r=high_r)
        return None if inner is None else inner * WITNESS_SCALE
    if isinstance(node, Combo):
        # The heaviest of its scripts is the public key hash.
        return max_satisfaction_weight(Pkh(node.key), high_r=high_r)
    return None


def max_satisfaction_items(node: Node) -> int | None:
    """The number of stack elements, with the scripts among them."""
    if isinstance(node, Tr | RawTr | Pk):
        return 1
    if isinstance(node, Pkh | Wpkh):
        return 2
    if isinstance(node, Multi):
        return 1 + node.threshold
    if isinstance(node, MultiA):
        return len(node.keys)
    if isinstance(node, Miniscript):
        return node.expression.max_stack_items
    if isinstance(node, Sh | Wsh):
        inner = max_satisfaction_items(node.script)
        return None if inner is None else inner + 1
    return None


def satisfaction_bytes(node: Node, *, high_r: bool = False, x_only: bool = False) -> int | None:
    """Bytes of the elements that satisfy a script, each with its length."""
    signature = _SCHNORR if x_only else 72 if high_r else 71
    if isinstance(node, Pk):
        return 1 + signature
    if isinstance(node, Pkh):
        return 1 + signature + 1 + node.key.size
    if isinstance(node, Wpkh):
        return 1 + signature + 1 + 33
    if isinstance(node, Multi):
        return 1 + (1 + signature) * node.threshold
    if isinstance(node, MultiA):
        return (1 + _SCHNORR) * node.threshold + len(node.keys) - node.threshold
    if isinstance(node, Miniscript):
        return node.expression.max_witness_bytes
    if isinstance(node, Wsh):
        inner, script = satisfaction_bytes(node.script, high_r=high_r), script_bytes(node.script)
        if inner is None or script is None:
            return None
        return len(compact_size(script)) + script + inner
    return None


def script_bytes(node: Node) -> int | None:
    """The size of the script that a function stands for."""
    if isinstance(node, Pk):
        return node.key.size + 2
    if isinstance(node, Multi):
        keys = sum(1 + key.size for key in node.keys)
        return 1 + len(push_number(len(node.keys))) + len(push_number(node.threshold)) + keys
    if isinstance(node, MultiA):
        return 34 * len(node.keys) + len(push_number(node.threshold)) + 1
    if isinstance(node, Miniscript):
        return node.expression.script_size
    return {Pkh: 25, Wpkh: 22, Sh: 23, Wsh: 34, Tr: 34, RawTr: 34}.get(type(node))
