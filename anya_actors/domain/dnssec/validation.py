"""The way from the root's keys to a record: every signature, delegation and alias of it (RFC 4035).

dnspython reads the wire and checks single signatures; which key may sign what is decided here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import dns.dnssec
import dns.name
from cryptography.exceptions import UnsupportedAlgorithm
from dns.name import Name
from dns.rdata import Rdata
from dns.rdataset import Rdataset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.CNAME import CNAME
from dns.rdtypes.ANY.DNAME import DNAME
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.RRSIG import RRSIG

from anya_actors.domain.dnssec.denial import nsec3_denies, nsec_denies
from anya_actors.domain.dnssec.records import MALFORMED, DnssecError, ProofRecords

RSA_SHA256, RSA_SHA512, ECDSA_P256, ECDSA_P384, ED25519 = 8, 10, 13, 14, 15
ALGORITHMS: Final = frozenset({RSA_SHA256, RSA_SHA512, ECDSA_P256, ECDSA_P384, ED25519})
"""Those that validators must or should know (RFC 8624); none uses SHA-1."""

_MIN_RSA_BITS, _MAX_RSA_BITS = 1024, 4096
_DIGESTS: Final = {2: hashlib.sha256, 4: hashlib.sha384}
_ZONE_KEY, _REVOKED = 0x0100, 0x0080
_MAX_SIGNATURES: Final = 128
_MAX_ALIASES: Final = 16
# These are never the work of a wildcard.
_NEVER_WILD: Final = frozenset(
    {RdataType.DS, RdataType.DNSKEY, RdataType.DNAME, RdataType.NSEC, RdataType.NSEC3}
)


@dataclass(frozen=True)
class TrustAnchor:
    """A key of the root zone, by the digest under which IANA publishes it."""

    key_tag: int
    algorithm: int
    digest_type: int
    digest: bytes


IANA_ANCHORS: Final = (
    # KSK-2017 and KSK-2024, as in IANA's root-anchors.xml.
    TrustAnchor(
        20326, 8, 2, bytes.fromhex("e06d44b80b8f1d39a95c0b0d7c65d08458e880409bbc683457104237c7f8ec8d")
    ),
    TrustAnchor(
        38696, 8, 2, bytes.fromhex("683d2d0acb8c9b712a1948b27f741219298d0a450d612c483af444a4c0fb2b16")
    ),
)


@dataclass(frozen=True)
class Resolved:
    """Verified records of a name, aliases followed. Valid from and until all signatures used are.

    ``ttl_s`` is the lowest signed time to live on the way: nothing may be kept for longer.
    """

    name: Name
    records: tuple[Any, ...]
    valid_from_s: int
    expires_s: int
    ttl_s: int


class _Window:
    def __init__(self) -> None:
        self.valid_from_s, self.expires_s, self.ttl_s = 0, 2**32, 2**31

    def narrow(self, signature: RRSIG) -> None:
        self.valid_from_s = max(self.valid_from_s, signature.inception)
        self.expires_s = min(self.expires_s, signature.expiration)
        self.ttl_s = min(self.ttl_s, signature.original_ttl)


class Proof:
    """The records of a proof at one point of time, with what of them has been verified so far.

    ``late_s`` allows signatures that expired as long ago.
    """

    def __init__(
        self,
        records: ProofRecords,
        *,
        now_s: int,
        late_s: int = 0,
        anchors: Sequence[TrustAnchor] = IANA_ANCHORS,
    ) -> None:
        self._records = records
        self._now_s, self._late_s = now_s, late_s
        self._anchors = anchors
        self._keys: dict[Name, Rdataset | None] = {}
        self._left = _MAX_SIGNATURES
        self._window = _Window()

    def resolve(self, name: Name, rdtype: RdataType) -> Resolved:
        """The records of a name, through CNAME and DNAME records; raises `DnssecError`."""
        start = name
        for _ in range(_MAX_ALIASES):
            records = self._verified(name, rdtype)
            if records is not None:
                window = self._window
                return Resolved(name, records, window.valid_from_s, window.expires_s, window.ttl_s)
            name = self._next_name(start, name)
        raise DnssecError(start.to_text(), f"it leads through more than {_MAX_ALIASES} aliases")

    def _next_name(self, start: Name, name: Name) -> Name:
        aliases = self._verified(name, RdataType.CNAME)
        if aliases is not None:
            if len(aliases) != 1:
                raise DnssecError(start.to_text(), f"{name} has several aliases")
            return _target(aliases[0])
        parent = name
        while parent != dns.name.root:
            parent = parent.parent()
            aliases = self._verified(parent, RdataType.DNAME)
            if aliases is not None and len(aliases) == 1:
                try:
                    return name.relativize(parent).concatenate(_target(aliases[0]))
                except MALFORMED as error:
                    raise DnssecError(start.to_text(), "an alias makes its name too long") from error
        raise DnssecError(start.to_text(), f"nothing is signed for {name}")

    def _verified(self, name: Name, rdtype: RdataType, zone: Name | None = None) -> tuple[Any, ...] | None:
        """The records of one name and type if a signature holds, else None."""
        rdataset = self._records.sets.get((name, rdtype))
        if rdataset is None:
            return None
        for signature in self._records.signatures.get((name, rdtype), ()):
            signer = signature.signer
            if zone not in (None, signer) or not self._may_sign(name, rdtype, signature):
                continue
            keys = self._delegated_keys(signer) if rdtype == RdataType.DNSKEY else self._keys_of(signer)
            if keys is None or not self._holds(name, rdataset, signature, keys):
                continue
            if signature.labels < _labels(name) and not self._no_closer_match(name, signature):
                continue
            self._window.narrow(signature)
            return tuple(rdataset)
        return None

    def _may_sign(self, name: Name, rdtype: RdataType, signature: RRSIG) -> bool:
        """What RFC 4035 (5.3.1) asks of a signature before any arithmetic."""
        signer = signature.signer
        if not name.is_subdomain(signer) or signature.algorithm not in ALGORITHMS:
            return False
        if not signature.inception <= self._now_s <= signature.expiration + self._late_s:
            return False
        if rdtype == RdataType.DNSKEY and signer != name:
            return False
        if rdtype == RdataType.DS and signer == name:
            return False  # the parent speaks for its children
        if not _labels(signer) <= signature.labels <= _labels(name):
            return False
        return signature.labels == _labels(name) or rdtype not in _NEVER_WILD

    def _holds(self, name: Name, rdataset: Rdataset, signature: RRSIG, keys: Rdataset) -> bool:
        self._left -= 1
        if self._left < 0:
            raise DnssecError(name.to_text(), f"it needs more than {_MAX_SIGNATURES} signatures")
        try:
            # The time was checked; dnspython would read a clock for it.
            dns.dnssec.validate_rrsig(
                (name, rdataset),
                signature,
                {signature.signer: keys},
                now=signature.inception,
                policy=dns.dnssec.allow_all_policy,
            )
        except (*MALFORMED, UnsupportedAlgorithm):
            return False
        return True

    def _keys_of(self, zone: Name) -> Rdataset | None:
        """The keys that may sign a zone's records, if the chain down to it holds."""
        if zone not in self._keys:
            self._keys[zone] = None  # until they are verified nothing is signed by them
            verified = self._verified(zone, RdataType.DNSKEY)
            if verified is not None:
                self._keys[zone] = _rdataset([key for key in verified if _usable(key)])
        return self._keys[zone]

    def _delegated_keys(self, zone: Name) -> Rdataset | None:
        """The keys that the zone above (or IANA) names as the zone's own: they sign its key set."""
        digests: Sequence[DS | TrustAnchor] | None = self._anchors
        if zone != dns.name.root:
            digests = self._verified(zone, RdataType.DS)
        keys: Sequence[Any] = list(self._records.sets.get((zone, RdataType.DNSKEY), ()))
        named = [
            key
            for key in keys
            if _usable(key) and any(_is_digest_of(digest, zone, key) for digest in digests or ())
        ]
        return _rdataset(named) if named else None

    def _no_closer_match(self, name: Name, signature: RRSIG) -> bool:
        """Whether the proof shows that the wildcard was the best match (RFC 4035 5.3.4, RFC 5155 8.8)."""
        zone = signature.signer
        # The name one label longer than what the wildcard stands for must not exist.
        next_closer = name.split(signature.labels + 2)[1]
        for owner in self._records.names_of(RdataType.NSEC):
            records = self._verified(owner, RdataType.NSEC, zone) or ()
            if any(nsec_denies(owner, record, next_closer) for record in records):
                return True
        for owner in self._records.names_of(RdataType.NSEC3):
            records = self._verified(owner, RdataType.NSEC3, zone) or ()
            if any(nsec3_denies(owner, record, next_closer, zone) for record in records):
                return True
        return False


def _target(alias: CNAME | DNAME) -> Name:
    return alias.target


def _rdataset(records: Sequence[Rdata]) -> Rdataset:
    rdataset = Rdataset(records[0].rdclass, records[0].rdtype)
    for record in records:
        rdataset.add(record, 0)
    return rdataset


def _labels(name: Name) -> int:
    """As the field of a signature counts them: without the root and a leading asterisk (RFC 4034, 3.1.3)."""
    return len(name) - 1 - bool(name.is_wild())


def _usable(key: DNSKEY) -> bool:
    if key.algorithm not in ALGORITHMS or key.protocol != 3:
        return False
    if not key.flags & _ZONE_KEY or key.flags & _REVOKED:
        return False
    if key.algorithm not in (RSA_SHA256, RSA_SHA512):
        return True
    return _MIN_RSA_BITS <= _rsa_bits(bytes(key.key)) <= _MAX_RSA_BITS


def _rsa_bits(key: bytes) -> int:
    """The size of an RSA modulus (RFC 3110, section 2); 0 for what is none."""
    if len(key) < 3:
        return 0
    start, exponent = (1, key[0]) if key[0] else (3, int.from_bytes(key[1:3], "big"))
    return int.from_bytes(key[start + exponent :], "big").bit_length()


def _is_digest_of(digest: DS | TrustAnchor, zone: Name, key: DNSKEY) -> bool:
    function = _DIGESTS.get(digest.digest_type)
    if function is None or digest.algorithm != key.algorithm or digest.key_tag != dns.dnssec.key_id(key):
        return False
    named = (zone.canonicalize().to_wire() or b"") + (key.to_wire() or b"")
    return bool(function(named).digest() == digest.digest)
