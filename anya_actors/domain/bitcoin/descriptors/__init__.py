"""Output descriptors (BIP380 to BIP390) with miniscript (BIP379)."""

from anya_actors.domain.bitcoin.descriptors.checksum import descriptor_checksum, strip_checksum, with_checksum
from anya_actors.domain.bitcoin.descriptors.descriptor import Descriptor, ParsedDescriptor, parse_descriptor
from anya_actors.domain.bitcoin.descriptors.errors import (
    DerivationError,
    DescriptorError,
    NotSatisfiableError,
)
from anya_actors.domain.bitcoin.descriptors.keys import DerivedKey, KeyRing
from anya_actors.domain.bitcoin.descriptors.plan import ScriptPlan, TaprootPlan

__all__ = [
    "DerivationError",
    "DerivedKey",
    "Descriptor",
    "DescriptorError",
    "KeyRing",
    "NotSatisfiableError",
    "ParsedDescriptor",
    "ScriptPlan",
    "TaprootPlan",
    "descriptor_checksum",
    "parse_descriptor",
    "strip_checksum",
    "with_checksum",
]
