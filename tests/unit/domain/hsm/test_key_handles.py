"""What a key leaves in a token is owed to be destroyed, together with the entry that tells of it."""

from __future__ import annotations

from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.key_life import KeyDestroyed, VersionsTrimmed, step_life
from anya_actors.domain.hsm.machine import COMMAND
from anya_actors.domain.hsm.records import DiscardHandles, RecordAudit
from anya_actors.domain.hsm.slots import KeySlot, KeyVersion, SlotPhase

AUDIT = AuditRecord("id", 0, "hsm/main", "alice", "destroy-key", "k")
VERSIONS = tuple(KeyVersion(number, b"", b"wrapped", 1, 0) for number in (1, 2))
SLOT = KeySlot("k", SlotPhase.DELETED, "aes256-gcm", "alice", ("encrypt",), VERSIONS, minimum_version=2)
LIVE = KeySlot("k", SlotPhase.ENABLED, "aes256-gcm", "alice", ("encrypt",), VERSIONS, minimum_version=2)


def test_destroying_a_key_of_a_token_owes_its_objects() -> None:
    outcome = step_life(SLOT, KeyDestroyed(1, AUDIT, (b"one", b"two")))
    assert outcome.commands == (RecordAudit(AUDIT), DiscardHandles((b"one", b"two")))


def test_trimming_a_key_of_a_token_owes_what_was_trimmed() -> None:
    outcome = step_life(LIVE, VersionsTrimmed(2, AUDIT, (b"one",)))
    assert outcome.commands == (RecordAudit(AUDIT), DiscardHandles((b"one",)))


def test_a_key_in_software_owes_its_entry_alone() -> None:
    assert step_life(SLOT, KeyDestroyed(1, AUDIT)).commands == (RecordAudit(AUDIT),)
    assert step_life(LIVE, VersionsTrimmed(2, AUDIT)).commands == (RecordAudit(AUDIT),)


def test_what_is_owed_can_be_stored() -> None:
    for command in (RecordAudit(AUDIT), DiscardHandles((b"one",))):
        assert COMMAND.decode(COMMAND.encode(command)) == command
