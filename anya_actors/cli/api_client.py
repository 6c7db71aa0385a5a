"""The HTTP API of a running platform, as the other commands call it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from anya_actors.adapters.files.secret_file import SecretFileError, read_secret_file
from anya_actors.cli.faults import NoAdminTokenError, NotAnsweringError, RefusedError, StillStartingError
from anya_actors.cli.instance import running
from anya_actors.config import Settings
from anya_actors.domain.machine import InvalidInputError


class ApiClient:
    """Calls with one token. Raises `RefusedError` for problems, `NotAnsweringError` for silence."""

    def __init__(self, url: str, token: str, *, certificate_file: Path | None = None) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=30.0,
            verify=str(certificate_file) if certificate_file else True,
        )

    def get(self, path: str, **query: Any) -> Any:
        """The decoded answer."""
        return self._call("GET", path, params=query or None)

    def post(self, path: str, body: object, *, idempotency_key: str | None = None) -> Any:
        """The decoded answer. The same key with the same body is applied once."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self._call("POST", path, json=body, headers=headers)

    def delete(self, path: str) -> None:
        """Have what is at the path end."""
        self._call("DELETE", path)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._http.request(method, path, **arguments)
            answer = response.json() if response.content else None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotAnsweringError(self.url, type(error).__name__) from None
        except ValueError:
            raise NotAnsweringError(self.url, "its answer is not JSON") from None
        if response.is_error:
            raise _refused(response.status_code, answer)
        return answer


@contextlib.contextmanager
def admin_client(settings: Settings) -> Iterator[ApiClient]:
    """A client with the administrator's token of the platform that runs on this data directory."""
    record = running(settings)
    if record.addresses is None:
        raise StillStartingError(str(settings.data_dir))
    token_file = Path(record.admin_token_file)
    if not token_file.exists():
        raise NoAdminTokenError(str(settings.data_dir))
    with own_client(settings, token_file, record.addresses.api) as client:
        yield client


@contextlib.contextmanager
def own_client(settings: Settings, token_file: Path, url: str | None) -> Iterator[ApiClient]:
    """A client with the token of a file, of the platform at ``url`` or on this data directory.

    Raises `SecretFileError` for a file that others may read.
    """
    if url is None:
        record = running(settings)
        if record.addresses is None:
            raise StillStartingError(str(settings.data_dir))
        url = record.addresses.api
    if not url.startswith(("http://", "https://")):
        raise InvalidInputError("--api", "it begins with http:// or https://")
    token = read_secret_file(token_file).reveal()
    if not token.isascii():
        raise SecretFileError(str(token_file), "that is no access token")
    client = ApiClient(url, token, certificate_file=settings.api.tls_certificate_file)
    try:
        yield client
    finally:
        client.close()


def _refused(status: int, answer: object) -> RefusedError:
    problem = answer if isinstance(answer, dict) else {}
    code = str(problem.get("code") or problem.get("title") or "no reason given")
    wrong = [f"{each.get('field')}: {each.get('message')}" for each in problem.get("errors") or ()]
    detail = "; ".join([str(problem.get("detail") or ""), *wrong])
    return RefusedError(status, code, detail, str(problem.get("remedy") or ""))
