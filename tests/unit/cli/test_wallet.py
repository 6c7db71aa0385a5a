"""``anya wallet`` asks the API for what its words say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from anya_actors.cli.remote import Remote
from anya_actors.cli.wallet import app


def test_silent_address_asks_for_the_wallets_and_prints_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []

    def post(_: Remote, path: str, body: object, *, idempotency_key: str | None = None) -> Any:
        asked.append((path, body))
        return {"wallet": "main", "address": "sprt1qexample"}

    monkeypatch.setattr(Remote, "post", post)
    answer = CliRunner().invoke(app, ["silent-address", "main", "--json"])
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.output)["address"] == "sprt1qexample"
    assert asked == [("/api/v1/wallet/wallets/main/silent-address", {})]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []

    def post(_: Remote, path: str, body: object, *, idempotency_key: str | None = None) -> Any:
        found.append((path, body))
        return {}

    monkeypatch.setattr(Remote, "post", post)
    return found


def test_a_name_stays_one_part_of_a_path(asked: list[tuple[str, Any]]) -> None:
    assert CliRunner().invoke(app, ["address", "a/b?c"]).exit_code == 0
    assert CliRunner().invoke(app, ["bump", "../x", "--feerate", "3"]).exit_code == 0
    assert asked == [
        ("/api/v1/wallet/wallets/a%2Fb%3Fc/addresses", {"change": False}),
        ("/api/v1/wallet/payments/..%2Fx/bump", {"feerate_sat_per_vb": 3, "max_fee_sat": None}),
    ]


def test_an_idempotency_key_that_no_header_can_carry_is_not_sent(asked: list[tuple[str, Any]]) -> None:
    for key in ("", "two words", "ü", "x" * 129):
        answer = CliRunner().invoke(app, ["send", "main", "addr=1", "--idempotency-key", key])
        assert answer.exit_code == 2
    assert asked == []


@pytest.mark.parametrize("command", ["address", "send", "psbt"])
def test_options_that_all_commands_share_stand_in_the_help_of_each(command: str) -> None:
    more = ["create"] if command == "psbt" else []
    text = CliRunner().invoke(app, [command, *more, "--help"]).output
    for option in ("--data-dir", "--config", "--json"):
        assert option in text
    assert "remote" not in text.lower()
