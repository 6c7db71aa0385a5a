"""The connections of one process to PostgreSQL, and what its errors mean to us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from anya_actors.adapters.postgresql import schema
from anya_actors.domain.machine import AnyaError, InvalidInputError, NotSupportedError, UnavailableError
from anya_actors.ports.state_store import StoreFullError

_SETTINGS = {
    # Acknowledged means on disk, whatever the server's default is.
    "synchronous_commit": "on",
    # A writer cut off by the network must not hold its row lock, which its successor waits for.
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "20s",
    "application_name": "anya_actors",
}
_COMMAND_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 10.0


class Connections:
    """A pool that is opened, and the tables made, at the first use."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._size = size
        self._pool: Any = None
        self._opening = asyncio.Lock()

    @asynccontextmanager
    async def one(self, actor: str) -> AsyncIterator[Any]:
        """A connection for one exchange; errors come out as ours.

        `UnavailableError` out of a commit says nothing about whether it happened.
        """
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=_COMMAND_TIMEOUT_S) as connection:
                yield connection
        except asyncpg.DiskFullError as error:
            raise StoreFullError(actor, str(error)) from error
        except asyncpg.ProgramLimitExceededError as error:
            raise InvalidInputError("name", str(error)) from error
        except AnyaError:
            raise
        except TimeoutError as error:
            raise UnavailableError("PostgreSQL", "it did not answer in time") from error
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            # The text names the host or the table; the URL with its password is never in it.
            raise UnavailableError("PostgreSQL", str(error) or type(error).__name__) from error

    async def close(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def _opened(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await self._open()
            return self._pool

    async def _open(self) -> Any:
        try:
            pool = await asyncpg.create_pool(
                self._url,
                min_size=1,
                max_size=self._size,
                timeout=_CONNECT_TIMEOUT_S,
                command_timeout=_COMMAND_TIMEOUT_S,
                server_settings=_SETTINGS,
            )
        except ValueError:
            # Its text quotes what it could not read: with an unescaped '/' that is the password.
            raise InvalidInputError(
                "the PostgreSQL URL", "it cannot be read; write special characters as %XX"
            ) from None
        try:
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", schema.SCHEMA_LOCK)
                await connection.execute(schema.CREATE)
                found = await connection.fetchval(schema.READ_VERSION)
            if found > schema.VERSION:
                raise NotSupportedError(f"database schema {found}", f"this version knows {schema.VERSION}")
        except BaseException:
            pool.terminate()
            raise
        return pool
