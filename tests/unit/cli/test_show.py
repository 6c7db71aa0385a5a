"""How answers are printed: lines for programs, tables for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from anya_actors.cli import show
from anya_actors.cli.api_client import ApiClient

ROWS = [{"name": "a", "amount_sat": 1_000_000, "height": None}, {"name": "b", "amount_sat": 2, "height": 3}]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "for_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_pipe_gets_a_line_of_json_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    show.show_many(ROWS, ("name",), as_json_lines=False)
    show.show_one(ROWS[0], as_json_lines=False)
    assert [json.loads(line) for line in lines(capsys)] == [*ROWS, ROWS[0]]


def test_a_person_gets_columns(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    show.show_many(ROWS, ("name", "amount_sat", "height"), as_json_lines=False)
    show.show_one({"txids": ["x", "y"], "confirmed": True}, as_json_lines=False)
    assert [line.split() for line in lines(capsys)] == [
        ["name", "amount_sat", "height"],
        ["a", "1", "000", "000", "-"],
        ["b", "2", "3"],
        ["txids", "x"],
        ["y"],
        ["confirmed", "yes"],
    ]


def test_json_may_be_asked_for_at_a_terminal(terminal: None, capsys: pytest.CaptureFixture[str]) -> None:
    show.show_many(ROWS, ("name",), as_json_lines=True)
    assert [json.loads(line) for line in lines(capsys)] == ROWS


def client_of(answer: Callable[[httpx.Request], Any]) -> ApiClient:
    client = ApiClient("http://anya.test", "token")
    client._http = httpx.Client(
        base_url="http://anya.test",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, json=answer(request))),
    )
    return client


def test_a_list_is_read_to_its_last_page() -> None:
    pages = {None: {"items": ROWS, "next_cursor": "c"}, "c": {"items": ROWS[:1], "next_cursor": None}}
    client = client_of(lambda request: pages[request.url.params.get("after")])
    assert list(show.every_item(client, "/things")) == [*ROWS, ROWS[0]]
    client.close()
