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
