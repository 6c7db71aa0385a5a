"""The tables, and the statements that use them.

Names of actors, keys and messages are ``bytea`` holding UTF-8: a ``text`` takes no NUL and sorts
by locale. Every read joins the actor's row, so one statement tells what was asked for and whether
the reader is still the living activation.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 1

# An arbitrary number that names the lock under which the tables are made.
SCHEMA_LOCK: Final = 0x616E7961

CREATE: Final = """
CREATE TABLE IF NOT EXISTS anya_schema (version int NOT NULL);
INSERT INTO anya_schema SELECT 1 WHERE NOT EXISTS (SELECT FROM anya_schema);
CREATE TABLE IF NOT EXISTS anya_actor (
    actor bytea PRIMARY KEY, epoch bigint NOT NULL, last_command bigint NOT NULL, last_event bigint NOT NULL);
CREATE TABLE IF NOT EXISTS anya_state (
    actor bytea, key bytea, version bigint NOT NULL, state bytea NOT NULL, PRIMARY KEY (actor, key));
CREATE TABLE IF NOT EXISTS anya_reply (
    actor bytea, message_id bytea, at_unix_ms bigint NOT NULL, fingerprint bytea NOT NULL,
    reply bytea NOT NULL, PRIMARY KEY (actor, message_id));
CREATE INDEX IF NOT EXISTS anya_reply_age ON anya_reply (actor, at_unix_ms);
CREATE TABLE IF NOT EXISTS anya_outbox (
    actor bytea, sequence bigint, key bytea NOT NULL, command bytea NOT NULL, PRIMARY KEY (actor, sequence));
CREATE TABLE IF NOT EXISTS anya_event (
    actor bytea, sequence bigint, event bytea NOT NULL, PRIMARY KEY (actor, sequence));
"""

READ_VERSION: Final = "SELECT max(version) FROM anya_schema"

ACTIVATE: Final = """
INSERT INTO anya_actor AS old VALUES ($1, 1, 0, 0)
ON CONFLICT (actor) DO UPDATE SET epoch = old.epoch + 1 RETURNING epoch
"""
NAMES: Final = """
SELECT actor FROM anya_actor WHERE actor >= $1 AND substring(actor FOR $2) = $1 ORDER BY actor
"""

LOAD: Final = """
SELECT a.epoch, s.version, s.state FROM anya_actor a
LEFT JOIN anya_state s ON s.actor = a.actor AND s.key = $2 WHERE a.actor = $1
"""
KEYS: Final = """
SELECT a.epoch, s.key FROM anya_actor a
LEFT JOIN anya_state s ON s.actor = a.actor AND s.key >= $2 AND substring(s.key FOR $3) = $2
WHERE a.actor = $1 ORDER BY s.key
"""
APPLIED: Final = """
SELECT a.epoch, r.fingerprint, r.reply FROM anya_actor a
LEFT JOIN anya_reply r ON r.actor = a.actor AND r.message_id = $2 WHERE a.actor = $1
"""
OWED: Final = """
SELECT a.epoch, o.sequence, o.key, o.command FROM anya_actor a
LEFT JOIN anya_outbox o ON o.actor = a.actor WHERE a.actor = $1 ORDER BY o.sequence
"""
EVENTS: Final = """
SELECT a.epoch, e.sequence, e.event FROM anya_actor a
LEFT JOIN anya_event e ON e.actor = a.actor AND e.sequence > $2
WHERE a.actor = $1 ORDER BY e.sequence LIMIT $3
"""

# The row lock makes one commit of an actor wait for the other, and an activation for both.
LOCK: Final = "SELECT epoch, last_command, last_event FROM anya_actor WHERE actor = $1 FOR UPDATE"
FIND_MESSAGES: Final = "SELECT message_id FROM anya_reply WHERE actor = $1 AND message_id = ANY($2::bytea[])"
FIND_VERSIONS: Final = "SELECT key, version FROM anya_state WHERE actor = $1 AND key = ANY($2::bytea[])"
PUT_STATES: Final = """
INSERT INTO anya_state SELECT $1, * FROM unnest($2::bytea[], $3::bigint[], $4::bytea[])
ON CONFLICT (actor, key) DO UPDATE SET version = excluded.version, state = excluded.state
"""
PUT_REPLIES: Final = """
INSERT INTO anya_reply SELECT $1, * FROM unnest($2::bytea[], $3::bigint[], $4::bytea[], $5::bytea[])
"""
PUT_OWED: Final = "INSERT INTO anya_outbox SELECT $1, * FROM unnest($2::bigint[], $3::bytea[], $4::bytea[])"
PUT_EVENTS: Final = "INSERT INTO anya_event SELECT $1, * FROM unnest($2::bigint[], $3::bytea[])"
PUT_SETTLED: Final = "DELETE FROM anya_outbox WHERE actor = $1 AND sequence = ANY($2::bigint[])"
PUT_NUMBERS: Final = "UPDATE anya_actor SET last_command = $2, last_event = $3 WHERE actor = $1"

_IF_LIVING = """
WITH living AS (SELECT FROM anya_actor WHERE actor = $1 AND epoch = $2 FOR UPDATE),
gone AS (DELETE FROM {} WHERE actor = $1 AND {} AND EXISTS (SELECT FROM living) RETURNING 1)
SELECT (SELECT count(*) FROM living) AS living, (SELECT count(*) FROM gone) AS gone
"""
SETTLE: Final = _IF_LIVING.format("anya_outbox", "sequence = $3")
FORGET_EVENTS: Final = _IF_LIVING.format("anya_event", "sequence <= $3")
FORGET_REPLIES: Final = _IF_LIVING.format("anya_reply", "at_unix_ms < $3")
