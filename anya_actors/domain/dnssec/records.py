"""Proofs as bytes: a series of DNS records in no particular order (RFC 9102, ``AuthenticationChain``)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.wire
from dns.name import Name
from dns.rdata import Rdata
from dns.rdataset import Rdataset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from anya_actors.domain.machine import InvalidInputError

MAX_PROOF_BYTES: Final = 65_535
_MAX_RECORDS: Final = 512
_MAX_OF_A_SET: Final = 32
"""Many keys and many signatures of one name would make a verifier try all their pairs."""

_KNOWN: Final = frozenset(
    {
        RdataType.TXT,
        RdataType.CNAME,
        RdataType.DNAME,
        RdataType.DS,
        RdataType.DNSKEY,
        RdataType.RRSIG,
        RdataType.NSEC,
        RdataType.NSEC3,
    }
)
# What dnspython raises for bytes that are not what they should be.
MALFORMED: Final = (dns.exception.DNSException, ValueError, IndexError, struct.error)


class DnssecError(InvalidInputError):
    """A proof that does not prove what it should."""

    code = "invalid-dnssec-proof"
    message = "the DNSSEC proof of {} does not hold: {}"
    remedy = "Resolve the name again; do not pay to what this proof contains."


@dataclass
class ProofRecords:
    """The records of a proof by name and type. Nothing of them is verified."""

    sets: dict[tuple[Name, RdataType], Rdataset] = field(default_factory=dict)
    signatures: dict[tuple[Name, RdataType], list[RRSIG]] = field(default_factory=dict)

    def names_of(self, rdtype: RdataType) -> Iterator[Name]:
        """The owners of records of a type."""
        return (name for name, found in self.sets if found == rdtype)

    def add(self, name: Name, rdtype: RdataType, ttl_s: int, rdata: Rdata) -> None:
        """Take a record; raises `DnssecError` if one name has too many of a type."""
        if isinstance(rdata, RRSIG):
            signatures = self.signatures.setdefault((name, rdata.type_covered), [])
            signatures.append(rdata)
            count = len(signatures)
        else:
            rdataset = self.sets.get((name, rdtype))
            if rdataset is None:
                rdataset = self.sets[name, rdtype] = Rdataset(dns.rdataclass.IN, rdtype)
            rdataset.add(rdata, ttl_s)
            count = len(rdataset)
        if count > _MAX_OF_A_SET:
            raise DnssecError(_shown(name), f"it has more than {_MAX_OF_A_SET} records of one type")


def _shown(name: Name) -> str:
    return name.to_text()[:255]


def parse_records(data: bytes) -> ProofRecords:
    """Read exactly a series of records; raises `DnssecError`.

    Names must stand in full and in the one encoding the signatures are over: RFC 9102 allows no
    compression. Records of types that prove nothing here are skipped.
    """
    if len(data) > MAX_PROOF_BYTES:
        raise DnssecError("a name", f"it has more than {MAX_PROOF_BYTES} bytes")
    records, parser, count = ProofRecords(), dns.wire.Parser(data), 0
    try:
        while parser.remaining():
            count += 1
            if count > _MAX_RECORDS:
                raise DnssecError("a name", f"it has more than {_MAX_RECORDS} records")
            _read_record(parser, data, records)
    except MALFORMED as error:
        raise DnssecError("a name", f"record {count} is malformed: {error}") from error
    return records


def _read_record(parser: dns.wire.Parser, data: bytes, records: ProofRecords) -> None:
    start = parser.current
    name = parser.get_name()
    if name.to_wire() != data[start : parser.current]:
        raise DnssecError(_shown(name), "a name is compressed")
    number, rdclass, ttl_s, size = parser.get_struct("!HHIH")
    if rdclass != dns.rdataclass.IN:
        raise DnssecError(_shown(name), f"a record is of class {rdclass}")
    raw = data[parser.current : parser.current + size]
    with parser.restrict_to(size):
        if number not in _KNOWN:
            parser.get_bytes(size)
            return
        rdtype = RdataType(number)
        rdata = dns.rdata.from_wire_parser(dns.rdataclass.IN, rdtype, parser)
    if rdata.to_wire() != raw:
        raise DnssecError(_shown(name), f"a {rdtype.name} record is not encoded in its one form")
    records.add(name, rdtype, ttl_s, rdata)
