"""A DNS of the tests' own: zones with keys, signing what they hold, down from a root that tests trust."""

from __future__ import annotations

import base64
import functools
from dataclasses import dataclass, field
from typing import Any

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from dns.name import Name
from dns.rdatatype import RdataType

from anya_actors.domain.dnssec.denial import hash_name
from anya_actors.domain.dnssec.validation import TrustAnchor

NOW_S = 1_700_000_000
INCEPTION_S, EXPIRATION_S, TTL_S = NOW_S - 1000, NOW_S + 1000, 300


@functools.lru_cache
def rsa_key(bits: int, number: int) -> Any:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.lru_cache
def private_key(algorithm: int, number: int) -> Any:
    if algorithm in (5, 7, 8, 10):
        return rsa_key(1024, number)
    if algorithm in (13, 14):
        return ec.generate_private_key(ec.SECP256R1() if algorithm == 13 else ec.SECP384R1())
    return ed25519.Ed25519PrivateKey.generate()


def record(name: Name, rdtype: RdataType, rdata: Any, ttl_s: int = TTL_S) -> bytes:
    """One record of a proof, as bytes."""
    wire: bytes = rdata.to_wire()
    head = rdtype.to_bytes(2, "big") + b"\x00\x01" + ttl_s.to_bytes(4, "big") + len(wire).to_bytes(2, "big")
    return (name.to_wire() or b"") + head + wire


def rdata_of(rdtype: RdataType, text: str) -> Any:
    return dns.rdata.from_text(dns.rdataclass.IN, rdtype, text, origin=dns.name.root, relativize=False)


@dataclass
class Zone:
    """One zone with one key, which signs all. ``flags`` and ``protocol`` are those of the key."""

    text: str
    algorithm: int = 13
    number: int = 0
    flags: int = 257
    protocol: int = 3
    key: Any = None
    name: Name = field(init=False)

    def __post_init__(self) -> None:
        self.name = dns.name.from_text(self.text)
        self.key = self.key or private_key(self.algorithm, self.number)
        self.dnskey = dns.dnssec.make_dnskey(
            self.key.public_key(), self.algorithm, flags=self.flags, protocol=self.protocol
        )

    def sign(self, owner: str, rdtype: RdataType, *texts: str, **changes: Any) -> bytes:
        """Records with their signature. A ``wildcard`` owner signs for ``owner`` as the DNS would show it."""
        rdatas = [rdata_of(rdtype, text) for text in texts]
        return self.sign_rdatas(dns.name.from_text(owner), rdtype, rdatas, **changes)

    def sign_rdatas(
        self,
        owner: Name,
        rdtype: RdataType,
        rdatas: list[Any],
        *,
        wildcard: str | None = None,
        inception_s: int = INCEPTION_S,
        expiration_s: int = EXPIRATION_S,
        signer: Name | None = None,
    ) -> bytes:
        rdataset = dns.rdataset.Rdataset(dns.rdataclass.IN, rdtype)
        for rdata in rdatas:
            rdataset.add(rdata, TTL_S)
        signed = owner if wildcard is None else dns.name.from_text(wildcard)
        signature = dns.dnssec.sign(
            (signed, rdataset),
            self.key,
            signer or self.name,
            self.dnskey,
            inception=inception_s,
            expiration=expiration_s,
            policy=dns.dnssec.allow_all_policy,
        )
        pieces = [record(owner, rdtype, rdata) for rdata in rdataset]
        return b"".join([*pieces, record(owner, RdataType.RRSIG, signature)])

    def keys(self, **changes: Any) -> bytes:
        return self.sign_rdatas(self.name, RdataType.DNSKEY, [self.dnskey], **changes)

    def ds(self, digest: str = "SHA256") -> Any:
        return dns.dnssec.make_ds(self.name, self.dnskey, digest, policy=dns.dnssec.allow_all_policy)

    def delegate(self, child: Zone, *, digest: str = "SHA256", **changes: Any) -> bytes:
        return self.sign_rdatas(child.name, RdataType.DS, [child.ds(digest)], **changes)

    def nsec(self, owner: str, after: str, types: str = "TXT RRSIG NSEC") -> bytes:
        return self.sign(owner, RdataType.NSEC, f"{after} {types}")

    def nsec3(
        self, below: bytes, above: bytes, *, flags: int = 0, iterations: int = 1, salt: str = "ab"
    ) -> bytes:
        owner = f"{base64.b32hexencode(below).decode().lower()}.{self.text}"
        after = base64.b32hexencode(above).decode()
        return self.sign(owner, RdataType.NSEC3, f"1 {flags} {iterations} {salt} {after} TXT RRSIG")

    def nsec3_around(self, name: str, **changes: Any) -> bytes:
        """A record whose span holds the hash of ``name``."""
        salt, iterations = bytes.fromhex(changes.get("salt", "ab")), changes.get("iterations", 1)
        middle = int.from_bytes(hash_name(dns.name.from_text(name), salt, iterations), "big")
        return self.nsec3((middle - 1).to_bytes(20, "big"), (middle + 1).to_bytes(20, "big"), **changes)


ROOT = Zone(".", algorithm=8)
COM = Zone("com.", number=1)
PAY = Zone("pay.com.", number=2)


def anchor_of(zone: Zone) -> TrustAnchor:
    ds = zone.ds()
    return TrustAnchor(ds.key_tag, ds.algorithm, ds.digest_type, ds.digest)


def chain_to(zone: Zone) -> bytes:
    """Keys and delegations from the root to a zone directly below com."""
    return ROOT.keys() + ROOT.delegate(COM) + COM.keys() + COM.delegate(zone) + zone.keys()
