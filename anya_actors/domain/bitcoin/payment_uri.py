"""``bitcoin:`` URIs: what a payee asks for and all the ways he may be paid (BIP21, BIP321)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from anya_actors.domain.bitcoin.address import parse_address
from anya_actors.domain.bitcoin.amount import MAX_MONEY_SAT
from anya_actors.domain.bitcoin.errors import AddressError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.silent_address import parse_silent_address
from anya_actors.domain.machine import InvalidInputError

SCHEME: Final = "bitcoin:"
_MAX_CHARACTERS: Final = 16_384
# Keys of BIP321 that are instructions, each of which may stand several times.
_INSTRUCTIONS: Final = ("bc", "tb", "bcrt", "sp", "lightning", "lno", "pay")
_DETAILS: Final = ("amount", "label", "message", "pop")
_AMOUNT: Final = re.compile(r"(\d*)(?:\.(\d*))?", re.ASCII)
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NOT_IN_A_URI: Final = re.compile(r"[^\x21-\x7e]|[\"<>\\^`{|}#]")


class PaymentUriError(InvalidInputError):
    """A ``bitcoin:`` URI that asks for nothing anybody could pay, or for more than we know."""

    code = "invalid-payment-uri"
    message = "{} of the payment URI is not valid: {}"
    remedy = "Ask the payee for another URI; do not pay a part of this one."


@dataclass(frozen=True)
class PaymentUri:
    """A request for payment, on one network. The payer chooses one of the instructions.

    ``addresses`` and ``silent_addresses`` are checked; ``offers`` (BOLT12) and ``invoices`` (BOLT11) are
    whole but unread. ``unknown`` are parameters that may be passed over.
    """

    addresses: tuple[str, ...] = ()
    silent_addresses: tuple[str, ...] = ()
    offers: tuple[str, ...] = ()
    invoices: tuple[str, ...] = ()
    amount_sat: int | None = None
    label: str | None = None
    message: str | None = None
    unknown: tuple[tuple[str, str], ...] = ()


def parse_payment_uri(text: str, network: Network) -> PaymentUri:
    """Read a URI; raises `PaymentUriError`, or `AddressError` for an address that is wrong.

    Instructions for other networks are passed over, but the address before the ``?`` must be of this one.
    """
    if text[: len(SCHEME)].lower() != SCHEME:
        raise PaymentUriError("the scheme", "it is not bitcoin:")
    if len(text) > _MAX_CHARACTERS or _NOT_IN_A_URI.search(text):
        raise PaymentUriError("the text", "it is too long, or holds characters no URI has")
    address, _, query = text[len(SCHEME) :].partition("?")
    instructions, details, unknown = _sorted(_parameters(query))
    if not address and not any(instructions.values()):
        raise PaymentUriError("the text", "it holds no payment instruction")
    if address:
        parse_address(address, network)
    return PaymentUri(
        _addresses(address, instructions, network),
        _silent_addresses(instructions["sp"], network),
        tuple(instructions["lno"]),
        tuple(instructions["lightning"]),
        _amount_sat(details["amount"]) if "amount" in details else None,
        details.get("label"),
        details.get("message"),
        unknown,
    )


def _parameters(query: str) -> Iterator[tuple[str, str]]:
    for element in query.split("&") if query else []:
        if not element:
            continue
        if _BROKEN_ESCAPE.search(element):
            raise PaymentUriError("a parameter", "a percent sign escapes nothing")
        key, _, value = element.partition("=")
        try:
            # BIP321 has keys in any case; a plus sign is a plus sign (RFC 3986).
            yield unquote(key, errors="strict").lower(), unquote(value, errors="strict")
        except UnicodeDecodeError as error:
            raise PaymentUriError("a parameter", "it is not UTF-8") from error


def _sorted(
    parameters: Iterator[tuple[str, str]],
) -> tuple[dict[str, list[str]], dict[str, str], tuple[tuple[str, str], ...]]:
    instructions: dict[str, list[str]] = {key: [] for key in _INSTRUCTIONS}
    details: dict[str, str] = {}
    unknown: list[tuple[str, str]] = []
    for key, value in parameters:
        if key in instructions:
            if not value:
                raise PaymentUriError(f"the parameter {key}", "it is empty")
            instructions[key].append(value)
        elif key in _DETAILS:
            if key in details:
                raise PaymentUriError(f"the parameter {key}", "it stands there twice")
            details[key] = value
        elif key.startswith("req-"):
            raise PaymentUriError(f"the parameter {key[:40]}", "it is required, but not known here")
        else:
            unknown.append((key, value))
    return instructions, details, tuple(unknown)


def _addresses(address: str, instructions: dict[str, list[str]], network: Network) -> tuple[str, ...]:
    given = instructions[network.bech32_prefix]
    for text in given:
        # The key names the beginning of the address, and so its network.
        if not text.lower().startswith(network.bech32_prefix + "1"):
            raise AddressError(text, f"it does not begin with {network.bech32_prefix}1")
        parse_address(text, network)
    return (address, *given) if address else tuple(given)


def _silent_addresses(given: Sequence[str], network: Network) -> tuple[str, ...]:
    for text in given:
        parse_silent_address(text, network)
    return tuple(given)


def _amount_sat(text: str) -> int:
    match = _AMOUNT.fullmatch(text)
    if match is None or not any(match.groups()):
        raise PaymentUriError("the amount", "it is not a decimal number of bitcoins")
    whole, fraction = match[1] or "0", match[2] or ""
    if len(whole) > 16 or len(fraction.rstrip("0")) > 8:
        raise PaymentUriError("the amount", "it has too many digits")
    amount_sat = int(whole) * 100_000_000 + int(fraction[:8].ljust(8, "0"))
    if amount_sat > MAX_MONEY_SAT:
        raise PaymentUriError("the amount", "more bitcoins than that do not exist")
    return amount_sat
