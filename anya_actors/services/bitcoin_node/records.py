"""What a record of the node's journal is."""

from __future__ import annotations

import msgspec


class Record(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """One fact."""
