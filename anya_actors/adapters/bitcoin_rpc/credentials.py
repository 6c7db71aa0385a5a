"""How we prove to a node who we are: user name and password, or the cookie file it writes at start."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx

from anya_actors.ports.bitcoin_rpc import NodeAuthenticationError


class PasswordAuth(httpx.Auth):
    """Basic authentication with fixed credentials."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url = url
        self._header = _basic(f"{user}:{password}")

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        request.headers["Authorization"] = self._header
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise NodeAuthenticationError(self._url, "the user name or password is wrong")


class CookieAuth(httpx.Auth):
    """Basic authentication with the node's cookie, read again when the node has made a new one."""

    def __init__(self, url: str, path: Path) -> None:
        self._url = url
        self._path = path
        self._header: str | None = None

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        header = self._header or await self._read()
        request.headers["Authorization"] = header
        response = yield request
        if response.status_code != httpx.codes.UNAUTHORIZED:
            return
        # A node writes a new cookie at every start.
        request.headers["Authorization"] = await self._read()
        response = yield request
        if response.status_code == httpx.codes.UNAUTHORIZED:
            raise NodeAuthenticationError(self._url, f"the cookie in {self._path} is not the node's")

    async def _read(self) -> str:
        try:
            text = await asyncio.to_thread(self._path.read_text, "utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._header = None
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise NodeAuthenticationError(
                self._url, f"its cookie file {self._path} cannot be read ({reason})"
            ) from None
        self._header = _basic(text.strip())
        return self._header


def _basic(credentials: str) -> str:
    return "Basic " + base64.b64encode(credentials.encode()).decode("ascii")
