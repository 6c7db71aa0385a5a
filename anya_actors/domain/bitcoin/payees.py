"""What readers see of payment requests and of payees with a name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:  # who only shows a payee need not load what verifies one
    from anya_actors.domain.bitcoin.payment_instructions import PaymentInstructions
    from anya_actors.domain.bitcoin.payment_uri import PaymentUri


class PaymentRequestView(msgspec.Struct, frozen=True):
    """A ``bitcoin:`` URI, read. The payer chooses one of the ways.

    Addresses are checked and of this network; ``lightning_offers`` (BOLT12) and ``lightning_invoices``
    (BOLT11) are as they came. ``ignored`` are names of parameters that nobody needs to know.
    """

    addresses: tuple[str, ...]
    silent_payment_addresses: tuple[str, ...]
    lightning_offers: tuple[str, ...]
    lightning_invoices: tuple[str, ...]
    amount_sat: int | None
    label: str | None
    message: str | None
    ignored: tuple[str, ...]


class PayeeView(msgspec.Struct, frozen=True):
    """What the owner of a name wants to be paid by (BIP353), proved by signatures from the DNS root.

    Forget it ``ttl_s`` seconds after the proof was fetched, and at ``expires_unix_s`` at the latest.
    """

    name: str
    uri: str
    request: PaymentRequestView
    valid_from_unix_s: int
    expires_unix_s: int
    ttl_s: int


def request_view(uri: PaymentUri) -> PaymentRequestView:
    """What readers see of a URI."""
    return PaymentRequestView(
        uri.addresses,
        uri.silent_addresses,
        uri.offers,
        uri.invoices,
        uri.amount_sat,
        uri.label,
        uri.message,
        tuple(key for key, _ in uri.unknown),
    )


def payee_view(found: PaymentInstructions, uri: PaymentUri) -> PayeeView:
    return PayeeView(
        str(found.name), found.uri, request_view(uri), found.valid_from_s, found.expires_s, found.ttl_s
    )
