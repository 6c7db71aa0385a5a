"""Payment requests and payees with a name, by proofs of a DNS that the tests sign themselves."""

from __future__ import annotations

import pytest
from dns.rdatatype import RdataType

from anya_actors.domain.bitcoin.errors import AddressError, WrongNetworkError
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.payment_uri import PaymentUriError
from anya_actors.domain.dnssec.records import DnssecError
from anya_actors.domain.machine import InvalidInputError
from anya_actors.services.bitcoin.payees import Payees
from anya_actors.testing.clock import ManualClock
from tests.unit.domain.dnssec.signed_zones import EXPIRATION_S, NOW_S, PAY, ROOT, TTL_S, anchor_of, chain_to

ADDRESS = "bcrt1qqurswpc8qurswpc8qurswpc8qurswpc8dxm0gk"
URI = f"bitcoin:{ADDRESS}?amount=0.00001&lno=lno1abc&later=1"
OWNER = "alice.user._bitcoin-payment.pay.com."


def payees(now_s: int = NOW_S, network: Network = Network.REGTEST) -> Payees:
    return Payees(ManualClock(now_s * 1000), network, anchors=(anchor_of(ROOT),))


def proof(*texts: str) -> str:
    return (chain_to(PAY) + PAY.sign(OWNER, RdataType.TXT, *(f'"{text}"' for text in texts))).hex()


def test_a_request_is_read_with_all_its_ways() -> None:
    found = payees().read(URI)
    assert (found.addresses, found.lightning_offers) == ((ADDRESS,), ("lno1abc",))
    assert (found.amount_sat, found.ignored) == (1000, ("later",))
    with pytest.raises(PaymentUriError):
        payees().read("bitcoin:")
    with pytest.raises(AddressError):
        payees().read(f"bitcoin:{ADDRESS[:-1]}")


def test_a_name_is_what_its_owner_signed() -> None:
    found = payees().verify("₿alice@pay.com", proof(URI, "v=spf1 -all"))
    assert (found.name, found.uri, found.request) == ("₿alice@pay.com", URI, payees().read(URI))
    assert (found.expires_unix_s, found.ttl_s) == (EXPIRATION_S, TTL_S)


def test_a_name_is_not_what_anybody_else_says_or_said() -> None:
    with pytest.raises(DnssecError):
        payees().verify("bob@pay.com", proof(URI))
    with pytest.raises(DnssecError):
        payees(EXPIRATION_S + 1).verify("alice@pay.com", proof(URI))
    with pytest.raises(DnssecError):
        payees().verify("alice@pay.com", proof(URI, URI + "&x"))
    with pytest.raises(DnssecError):
        Payees(ManualClock(NOW_S * 1000), Network.REGTEST).verify("alice@pay.com", proof(URI))
    with pytest.raises(WrongNetworkError):
        payees(network=Network.MAINNET).verify("alice@pay.com", proof(URI))


@pytest.mark.parametrize("text", ["zz", "0", "00" * 65_536])
def test_what_is_no_proof_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        payees().verify("alice@pay.com", text)
