"""Whether a miniscript in a descriptor can be trusted, and what is wrong if not, in Core's words."""

from __future__ import annotations

from anya_actors.domain.bitcoin.descriptors.errors import DerivationError, DescriptorError
from anya_actors.domain.bitcoin.descriptors.keys import KeyExpression, KeyRing
from anya_actors.domain.bitcoin.descriptors.miniscript.node import Node
from anya_actors.domain.bitcoin.descriptors.miniscript.text import format_miniscript


def check_sane(node: Node, private_keys: KeyRing) -> None:
    """Raise `DescriptorError` unless the expression is sane and can be satisfied (BIP379)."""
    duplicates = _with_duplicates(node, private_keys)
    is_sane = node.is_valid_top_level and node.needs_signature
    is_sane = is_sane and node.is_sane_part(has_duplicates=id(node) in duplicates)
    if is_sane and node.is_satisfiable:
        return
    culprit = next(
        (part for part in node.walk() if not part.is_sane_part(has_duplicates=id(part) in duplicates)), node
    )
    reason = "is not satisfiable"
    if not culprit.is_valid:
        reason = "is invalid"
    elif not is_sane:
        reason = "is not sane" + _insanity(culprit, is_top=culprit is node, repeats=id(culprit) in duplicates)
    raise DescriptorError(f"{format_miniscript(culprit)} {reason}")


def _insanity(node: Node, *, is_top: bool, repeats: bool) -> str:
    if not node.is_non_malleable:
        return ": malleable witnesses exist"
    if is_top and not node.needs_signature:
        return ": witnesses without signature exist"
    if not node.keeps_timelocks_apart:
        return ": contains mixes of timelocks expressed in blocks and seconds"
    if repeats:
        return ": contains duplicate public keys"
    if not node.is_within_limits:
        return ": needs witnesses that may exceed resource limits"
    return ""


def _with_duplicates(node: Node, private_keys: KeyRing) -> set[int]:
    """The expressions, by identity, in which a key occurs twice."""
    found: set[int] = set()

    def combine(part: Node, subs: list[frozenset[bytes | str]]) -> frozenset[bytes | str]:
        own = [_identity(key, private_keys) for key in part.keys]
        union = frozenset(own).union(*subs)
        if len(union) < len(own) + sum(map(len, subs)):
            found.add(id(part))
        return union

    if len(node.all_keys()) != len(node.fold(combine)):
        # Once a part repeats a key, so does whatever it stands in.
        _spread(node, found)
    return found


def _spread(node: Node, found: set[int]) -> None:
    for part in node.walk():
        if any(id(sub) in found for sub in part.subs):
            found.add(id(part))


def _identity(key: KeyExpression, private_keys: KeyRing) -> bytes | str:
    """The public key at index 0 of the first path; the text where it cannot be derived."""
    try:
        return key.branch(0).derive(0, private_keys).public_key
    except DerivationError:
        return str(key)
