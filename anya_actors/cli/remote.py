"""What commands ask a running platform; what that needs is imported when one runs."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import typer

from anya_actors.cli.options import settings_of

if TYPE_CHECKING:
    from anya_actors.cli.api_client import ApiClient


@dataclass(frozen=True)
class Remote:
    """The platform of a data directory, and how its answers are printed."""

    data_dir: Path | None
    config: Path | None
    as_json_lines: bool
    token_file: Path | None = None
    api: str | None = None

    def show(self, path: str) -> None:
        """Print what GET answers."""
        self.show_record(self.get(path))

    def show_record(self, record: Any) -> None:
        """Print one thing that was asked for before."""
        from anya_actors.cli.show import show_one

        show_one(record, as_json_lines=self.as_json_lines)

    def show_items(self, path: str, columns: Sequence[str], **query: Any) -> None:
        """Print a list that comes in pages."""
        from anya_actors.cli.show import every_item, show_many

        with self._client() as client:
            show_many(every_item(client, path, **query), columns, as_json_lines=self.as_json_lines)

    def items(self, path: str) -> list[Any]:
        """A list that comes in pages."""
        from anya_actors.cli.show import every_item

        with self._client() as client:
            return list(every_item(client, path))

    def show_part(self, answer: Any, columns: Sequence[str]) -> None:
        """Print a list that is part of an answer."""
        from anya_actors.cli.show import show_many

        show_many(answer, columns, as_json_lines=self.as_json_lines)

    def get(self, path: str) -> Any:
        """What GET answers."""
        with self._client() as client:
            return client.get(path)

    def post(self, path: str, body: object, *, idempotency_key: str | None = None) -> Any:
        """What POST answers."""
        with self._client() as client:
            return client.post(path, body, idempotency_key=idempotency_key or uuid.uuid4().hex)

    def delete(self, path: str) -> None:
        """Have what is at the path end."""
        with self._client() as client:
            client.delete(path)

    def post_and_show(self, path: str, body: object, *, idempotency_key: str | None = None) -> None:
        """Print what POST answers."""
        self.show_record(self.post(path, body, idempotency_key=idempotency_key))

    def _client(self) -> AbstractContextManager[ApiClient]:
        from anya_actors.cli import api_client

        settings = settings_of(self.data_dir, self.config)
        if self.token_file is not None:
            return api_client.own_client(settings, self.token_file, self.api)
        if self.api is not None:
            raise typer.BadParameter("name --token-file too: the platform's own token is for this machine")
        return api_client.admin_client(settings)


def at(base: str, *parts: str) -> str:
    """Where the API has what these parts name; a slash or a question mark in one stays in that one."""
    return "/".join((base, *(quote(part, safe="") for part in parts)))


def argument_or_stdin(text: str) -> str:
    """The argument itself, or standard input where it is ``-``."""
    return text_on_stdin().strip() if text == "-" else text


def text_on_stdin() -> str:
    """What standard input holds, which must be UTF-8."""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise typer.BadParameter("standard input is not text in UTF-8") from None
