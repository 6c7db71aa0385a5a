"""Clients and their secrets, scopes and roles."""

from __future__ import annotations

import itertools

import pytest

from anya_actors.domain.hsm import machine
from anya_actors.domain.hsm.audit import AuditRecord
from anya_actors.domain.hsm.clients import (
    MAX_SECRETS,
    Client,
    ClientChanged,
    ClientPhase,
    ClientPlan,
    ClientRegistered,
    ClientSecret,
    ClientSecretRotated,
    ClientTokenGranted,
    check_client_plan,
    client_view,
    kept_secret,
    shown_secret,
    verify_secret,
)
from anya_actors.domain.hsm.errors import ClientExistsError, InvalidClientError, UnknownClientError
from anya_actors.domain.hsm.issuer import Grant, TokenIssued
from anya_actors.domain.hsm.records import RecordAudit
from anya_actors.domain.hsm.scopes import ROLES, SCOPES, allows, scopes_of
from anya_actors.domain.machine import AnyaError, Event, IllegalTransitionError, InvalidInputError

NOW = 1_700_000_000_000
AUDIT = AuditRecord("r1", NOW, "hsm/main", "shop", "register-client")
PLAN = ClientPlan("shop", "alice", ("security:use",), ("auditor",), 600)
GRANT = Grant("t", "alice", ("security:use",), 1, 2, 1, "shop")


def secret(name: str, *, at: int = NOW, expires: int = 0) -> ClientSecret:
    salt = name.encode() * 8
    return ClientSecret(name, salt, kept_secret(salt, shown_secret("shop", name)), at, expires)


def registered(*events: Event) -> Client:
    client: machine.Record = Client("shop")
    for event in (ClientRegistered(PLAN, secret("one"), AUDIT), *events):
        outcome = machine.step(client, event)
        assert outcome.commands == (RecordAudit(AUDIT),)
        client = outcome.state
    assert isinstance(client, Client)
    return client


def check(client: Client, name: str, now: int = NOW) -> None:
    verify_secret(client, shown_secret("shop", name), now)


def test_a_client_is_known_by_its_secret_alone() -> None:
    check(registered(), "one")
    for other in ("two", "", "one "):
        with pytest.raises(InvalidClientError):
            check(registered(), other)


def test_a_secret_of_one_client_is_none_of_another() -> None:
    assert shown_secret("shop", "one") != shown_secret("bank", "one")


def test_what_is_stored_and_shown_holds_no_secret() -> None:
    client = registered()
    stored = machine.STATE.encode(client)
    for told in (stored, repr(client).encode(), repr(client_view(client)).encode()):
        assert shown_secret("shop", "one") not in told
        assert b"'one'" not in told.replace(b"secret_id='one'", b"").replace(b"ClientSecret('one')", b"")
    assert machine.STATE.decode(stored) == client


@pytest.mark.parametrize("phase", [ClientPhase.ABSENT, ClientPhase.DISABLED])
def test_a_client_that_is_disabled_or_gone_is_refused_like_a_wrong_secret(phase: ClientPhase) -> None:
    with pytest.raises(InvalidClientError):
        check(registered(ClientChanged(phase, AUDIT)), "one")
    with pytest.raises(InvalidClientError):
        check(Client("nobody"), "one")


def test_a_rotation_lets_the_old_secret_hold_for_its_overlap() -> None:
    client = registered(ClientSecretRotated(secret("two"), NOW + 1000, AUDIT))
    check(client, "two")
    check(client, "one", NOW + 999)
    check(client, "two", NOW + 1000)
    with pytest.raises(InvalidClientError):
        check(client, "one", NOW + 1000)


def test_a_rotation_without_overlap_ends_the_old_secret_at_once_and_none_ever_lasts_longer() -> None:
    first = ClientSecretRotated(secret("two"), NOW + 1000, AUDIT)
    longer = ClientSecretRotated(secret("three"), NOW + 5000, AUDIT)
    client = registered(first, longer)
    assert [each.expires_unix_ms for each in client.secrets] == [NOW + 1000, NOW + 5000, 0]
    ended = registered(first, longer, ClientSecretRotated(secret("four"), NOW, AUDIT))
    assert [each.secret_id for each in ended.secrets] == ["four"]


def test_the_secrets_of_a_client_are_bounded() -> None:
    more = [ClientSecretRotated(secret(f"s{n}"), NOW + 1000, AUDIT) for n in range(MAX_SECRETS - 1)]
    full = registered(*more)
    with pytest.raises(InvalidInputError):
        machine.step(full, ClientSecretRotated(secret("more"), NOW + 1000, AUDIT))
    machine.step(full, ClientSecretRotated(secret("more", at=NOW + 1000), NOW + 2000, AUDIT))


def test_a_deleted_id_is_free_again_and_an_existing_one_taken() -> None:
    event = ClientRegistered(PLAN, secret("two"), AUDIT)
    with pytest.raises(ClientExistsError):
        machine.step(registered(), event)
    again = machine.step(registered(ClientChanged(ClientPhase.ABSENT, AUDIT)), event).state
    assert isinstance(again, Client)
    check(again, "two")


LATER: list[Event] = [
    ClientSecretRotated(secret("two"), NOW, AUDIT),
    ClientChanged(ClientPhase.ENABLED, AUDIT),
    ClientChanged(ClientPhase.DISABLED, AUDIT),
    ClientChanged(ClientPhase.ABSENT, AUDIT),
    ClientTokenGranted(GRANT, NOW, AUDIT),
]


@pytest.mark.parametrize("event", LATER)
def test_nothing_happens_to_a_client_that_is_not_there(event: Event) -> None:
    with pytest.raises(UnknownClientError):
        machine.step(Client("shop"), event)


@pytest.mark.parametrize(
    ("phase", "error"), [(ClientPhase.DISABLED, InvalidClientError), (ClientPhase.ABSENT, UnknownClientError)]
)
def test_a_token_is_granted_to_an_enabled_client_only(phase: ClientPhase, error: type[AnyaError]) -> None:
    event = ClientTokenGranted(GRANT, NOW + 5, AUDIT)
    assert registered(event).used_unix_ms == NOW + 5
    assert machine.answer(registered(), event) == GRANT
    with pytest.raises(error):
        machine.step(registered(ClientChanged(phase, AUDIT)), event)


def test_a_client_refuses_what_is_not_its_own() -> None:
    with pytest.raises(IllegalTransitionError):
        machine.step(registered(), TokenIssued(GRANT, AUDIT))


@pytest.mark.parametrize(
    "plan",
    [
        ClientPlan("bitcoin/main", "alice", ("admin",)),
        ClientPlan("shop", "hsm", ("admin",)),
        ClientPlan("shop", "alice"),
        ClientPlan("shop", "alice", ("flying",)),
        ClientPlan("shop", "alice", (), ("pilot",)),
        ClientPlan("shop", "alice", ("admin",), (), 0),
    ],
)
def test_what_cannot_be_a_client_is_refused(plan: ClientPlan) -> None:
    with pytest.raises(InvalidInputError):
        check_client_plan(plan)


def test_every_role_is_made_of_known_scopes_and_nobody_but_the_admin_has_all() -> None:
    for role, scopes in ROLES.items():
        assert set(scopes_of((), (role,))) == set(scopes) <= set(SCOPES)
    everything = [role for role, granted in ROLES.items() if all(allows(granted, each) for each in SCOPES)]
    assert everything == ["admin"]


@pytest.mark.parametrize(
    ("role", "scope", "allowed"),
    [
        ("auditor", "audit:read", True),
        ("auditor", "security:read", False),
        ("auditor", "security:use", False),
        ("signer", "security:use", True),
        ("signer", "security", False),
        ("signer", "audit:read", False),
        ("approver", "security:approve", True),
        ("approver", "security:use", False),
        ("custodian", "security:use", True),
        ("custodian", "audit:read", False),
        ("operator", "security:read", False),
        ("operator", "wallet:write", False),
        ("treasurer", "wallet:write", True),
    ],
)
def test_a_role_may_do_what_it_is_for(role: str, scope: str, allowed: bool) -> None:
    assert allows(ROLES[role], scope) is allowed


@pytest.mark.parametrize(("scope", "other"), list(itertools.permutations(SCOPES, 2)))
def test_no_scope_brings_another_by_its_name(scope: str, other: str) -> None:
    assert allows((scope,), scope)
    if allows((scope,), other):
        assert scope == "admin" or other in {"bitcoin:read", "wallet:read"} | {
            "security:read",
            "security:use",
            "security:approve",
        }
