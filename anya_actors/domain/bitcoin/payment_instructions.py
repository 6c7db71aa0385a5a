"""Paying to a name such as ₿alice@example.com, by a DNSSEC proof verified offline (BIP353)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dns.name
from dns.rdatatype import RdataType

from anya_actors.domain.bitcoin.payment_uri import SCHEME
from anya_actors.domain.dnssec.records import MALFORMED, DnssecError, parse_records
from anya_actors.domain.dnssec.validation import IANA_ANCHORS, Proof, TrustAnchor
from anya_actors.domain.machine import InvalidInputError, NotSupportedError

MAX_LATE_S: Final = 3600
"""By how much signatures may have expired while a PSBT was on its way to a signer (BIP353)."""

_PART: Final = re.compile(r"[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*", re.ASCII)


class HumanNameError(InvalidInputError):
    """Text that is no ``user@domain``."""

    code = "invalid-human-name"
    message = "{} is not a payable name: {}"
    remedy = "Give a name such as ₿alice@example.com."


@dataclass(frozen=True)
class HumanName:
    """The name of a payee. ``str()`` shows it as wallets should, with ₿ before it."""

    user: str
    domain: str

    def __str__(self) -> str:
        return f"₿{self.user}@{self.domain}"

    @property
    def dns_name(self) -> str:
        """Where the instructions stand."""
        return f"{self.user}.user._bitcoin-payment.{self.domain}."


def parse_human_name(text: str) -> HumanName:
    """Read ``user@domain`` with or without ₿; raises `HumanNameError`.

    Raises `NotSupportedError` for other than ASCII letters: look-alikes would lead astray, and whoever
    means such a name can give its punycode.
    """
    bare = text.removeprefix("₿")
    if not bare.isascii():
        raise NotSupportedError(
            "a name of other than ASCII letters", "names that look alike would lead astray"
        )
    user, separator, domain = bare.partition("@")
    domain = domain.removesuffix(".")
    if not separator or not _PART.fullmatch(user) or not _PART.fullmatch(domain):
        raise HumanNameError(repr(text[:80]), "it is not user@domain of letters, digits, - and _")
    name = HumanName(user, domain)
    try:
        dns.name.from_text(name.dns_name)
    except MALFORMED as error:
        raise HumanNameError(repr(text[:80]), str(error)) from error
    return name


@dataclass(frozen=True)
class PaymentInstructions:
    """What a name's owner wants to be paid by. Forget it after ``ttl_s``, and at ``expires_s``."""

    name: HumanName
    uri: str
    valid_from_s: int
    expires_s: int
    ttl_s: int


def verify_instructions(
    name: HumanName,
    proof: bytes,
    *,
    now_s: int,
    late_s: int = 0,
    anchors: Sequence[TrustAnchor] = IANA_ANCHORS,
) -> PaymentInstructions:
    """The URI that a name's owner has signed, by a proof of RFC 9102 records; raises `DnssecError`.

    ``late_s`` (at most an hour) allows for signatures that expired on the way. Read the URI with
    `payment_uri.parse_payment_uri`.
    """
    if not 0 <= late_s <= MAX_LATE_S:
        raise InvalidInputError("late_s", f"it is at most {MAX_LATE_S}")
    chain = Proof(parse_records(proof), now_s=now_s, late_s=late_s, anchors=anchors)
    found = chain.resolve(dns.name.from_text(name.dns_name), RdataType.TXT)
    uris = [text for record in found.records if _is_uri(text := b"".join(record.strings))]
    if len(uris) != 1:
        # Of several none may be used (BIP353, resolution).
        raise DnssecError(str(name), f"{len(uris)} records begin with {SCHEME}")
    try:
        uri = uris[0].decode("ascii")
    except UnicodeDecodeError as error:
        raise DnssecError(str(name), "its URI is not ASCII") from error
    return PaymentInstructions(name, uri, found.valid_from_s, found.expires_s, found.ttl_s)


def _is_uri(text: bytes) -> bool:
    return text[: len(SCHEME)].lower() == SCHEME.encode()


def parse_psbt_proof(value: bytes) -> tuple[HumanName, bytes]:
    """Name and proof of a PSBT output's field ``PSBT_OUT_DNSSEC_PROOF``; raises `HumanNameError`."""
    size = value[0] if value else 0
    if not size or len(value) < 1 + size:
        raise HumanNameError("the field", "its name is cut off")
    try:
        text = value[1 : 1 + size].decode("ascii")
    except UnicodeDecodeError as error:
        raise HumanNameError("the field", "its name is not ASCII") from error
    if text.startswith("₿"):
        raise HumanNameError(repr(text), "the field holds names without ₿")
    return parse_human_name(text), value[1 + size :]


def make_psbt_proof(name: HumanName, proof: bytes) -> bytes:
    """The value of a PSBT output's field ``PSBT_OUT_DNSSEC_PROOF``."""
    text = f"{name.user}@{name.domain}".encode("ascii")
    return bytes((len(text),)) + text + proof
