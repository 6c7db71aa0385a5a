"""Labels of wallets as files carry them: one JSON object a line (BIP329)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.orders import Label
from anya_actors.domain.bitcoin.transaction import parse_outpoint
from anya_actors.domain.machine import AnyaError, InvalidInputError

KINDS: Final = ("tx", "addr", "pubkey", "input", "output", "xpub")
MAX_LABELS: Final = 10_000
_MAX_TEXT: Final = 255


class _Line(msgspec.Struct):
    type: str
    ref: str
    label: str = ""
    origin: str = ""
    spendable: bool | None = None


def check_label(label: Label) -> Label:
    """The label itself if a wallet may keep it; raises `InvalidInputError`."""
    if label.kind not in KINDS:
        raise InvalidInputError("type", f"it is none of {', '.join(KINDS)} (BIP329)")
    if not label.ref or max(len(label.ref), len(label.label), len(label.origin)) > _MAX_TEXT:
        raise InvalidInputError("label", f"reference and text have at most {_MAX_TEXT} characters")
    if label.kind == "output":
        # One spelling for each output, or a coin could be frozen by one and thawed by another.
        return replace(label, ref=str(parse_outpoint(label.ref)))
    if label.spendable is not None:
        raise InvalidInputError("spendable", "only outputs are spendable or not (BIP329)")
    return label


def parse_labels(text: str) -> tuple[Label, ...]:
    """Every label of a BIP329 file; raises `InvalidInputError` with the line at fault.

    Fields that we do not know are skipped, as the BIP asks.
    """
    # Not `splitlines`: that would cut at characters which JSON allows inside of a text.
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > MAX_LABELS:
        raise InvalidInputError("labels", f"there are more than {MAX_LABELS}")
    labels = []
    for number, line in enumerate(lines, start=1):
        try:
            read = msgspec.json.decode(line, type=_Line)
            labels.append(check_label(Label(read.type, read.ref, read.label, read.origin, read.spendable)))
        except (msgspec.MsgspecError, AnyaError, UnicodeError, RecursionError) as error:
            raise InvalidInputError("labels", f"line {number}: {error}") from None
    return tuple(labels)


def format_labels(labels: Iterable[Label]) -> str:
    """The labels as a BIP329 file; what is not said is left out."""
    lines = []
    for label in labels:
        fields: dict[str, object] = {"type": label.kind, "ref": label.ref}
        if label.label:
            fields["label"] = label.label
        if label.origin:
            fields["origin"] = label.origin
        if label.spendable is not None:
            fields["spendable"] = label.spendable
        lines.append(msgspec.json.encode(fields).decode())
    return "".join(f"{line}\n" for line in lines)
