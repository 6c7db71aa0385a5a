"""Payment requests read, and names verified by the proofs that callers bring. No network is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payees import PayeeView, PaymentRequestView, payee_view, request_view
from anya_actors.domain.bitcoin.payment_uri import parse_payment_uri
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.clock import Clock

if TYPE_CHECKING:
    from anya_actors.domain.dnssec.validation import TrustAnchor


class Payees:
    """Each method as `BitcoinActor` serves it."""

    def __init__(
        self, clock: Clock, network: Network, *, anchors: Sequence[TrustAnchor] | None = None
    ) -> None:
        """``anchors`` default to IANA's."""
        self._clock, self._network, self._anchors = clock, network, anchors

    def read(self, uri: str) -> PaymentRequestView:
        """What a URI asks for; raises `PaymentUriError`, `AddressError`."""
        return request_view(parse_payment_uri(uri, self._network))

    def verify(self, name: str, proof_hex: str) -> PayeeView:
        """What a name stands for now; raises `HumanNameError`, `DnssecError`, `PaymentUriError`."""
        # The DNS library is loaded by the first who needs it, not at every start.
        from anya_actors.domain.bitcoin.payment_instructions import parse_human_name, verify_instructions
        from anya_actors.domain.dnssec.records import MAX_PROOF_BYTES
        from anya_actors.domain.dnssec.validation import IANA_ANCHORS

        payee = parse_human_name(name)
        if len(proof_hex) > 2 * MAX_PROOF_BYTES:
            raise InvalidInputError("proof", f"it has more than {MAX_PROOF_BYTES} bytes")
        try:
            proof = bytes.fromhex(proof_hex)
        except ValueError:
            raise InvalidInputError("proof", "it is not hexadecimal") from None
        now_s = self._clock.now_unix_ms() // 1000
        found = verify_instructions(payee, proof, now_s=now_s, anchors=self._anchors or IANA_ANCHORS)
        return payee_view(found, parse_payment_uri(found.uri, self._network))
