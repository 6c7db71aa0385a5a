"""A session of one owner, opened at the first need, extended by keys, replaced when it is over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from anya_actors.domain.hsm.errors import SessionClosedError
from anya_actors.domain.hsm.sessions import MAX_KEYS
from anya_actors.domain.hsm.views import KeyView, SessionView
from anya_actors.ports.actors import HSM, Actors, UnknownActorError

CLOSING_TIMEOUT_S: Final = 5.0


class SessionClient:
    """Asks the session of ``owner``; ``fresh_id`` gives message ids that nobody else uses.

    A session that is over, or whose process died, is replaced by a new one and the question is asked
    again. An ``exclusive`` client is the only one of its owner: its first session closes what a
    predecessor left open.
    """

    def __init__(
        self, actors: Actors, owner: str, fresh_id: Callable[[], str], *, exclusive: bool = False
    ) -> None:
        self._actors = actors
        self._owner = owner
        self._message_id = fresh_id
        self._session: SessionView | None = None
        self._leftovers = exclusive
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Close the session, if one is open."""
        async with self._opening:
            session, self._session = self._session, None
        if session is not None:
            await self._close(session)

    async def open(self, keys: Sequence[str]) -> SessionView:
        """The session, opened for ``keys`` too."""
        return await self._session_for(keys)

    async def ask(self, keys: Sequence[str], method: str, *arguments: Any) -> Any:
        """The session's answer; it is opened for ``keys`` if it is not yet."""
        session = await self._session_for(keys)
        try:
            return await self._actors.call(session.actor, method, *arguments)
        except (SessionClosedError, UnknownActorError):
            session = await self._session_for(keys, instead_of=session)
            return await self._actors.call(session.actor, method, *arguments)

    async def _session_for(self, keys: Sequence[str], instead_of: SessionView | None = None) -> SessionView:
        """The open session unless it is ``instead_of``, extended if it lacks a key; else a new one."""
        async with self._opening:
            session = self._session
            if session is None or (instead_of is not None and session.session_id == instead_of.session_id):
                return await self._open(keys)
            missing = tuple(key for key in keys if key not in session.keys)
            if missing:
                try:
                    session = await self._extended(session, missing)
                except SessionClosedError:
                    return await self._open(keys)
            self._session = session
            return session

    async def _open(self, keys: Sequence[str]) -> SessionView:
        """A new session for ``keys``, and those that the one before it held."""
        before, self._session = self._session, None
        if before is not None:
            keys = [*keys, *await self._usable(before.keys)]
        if self._leftovers:
            await self._close_leftovers()
            self._leftovers = False
        wanted = tuple(dict.fromkeys(keys))[:MAX_KEYS]
        opened = await self._actors.call(
            HSM, "open_session", self._owner, wanted, message_id=self._message_id()
        )
        self._session = _session_view(opened)
        return self._session

    async def _extended(self, session: SessionView, keys: tuple[str, ...]) -> SessionView:
        if len(session.keys) + len(keys) > MAX_KEYS:
            await self._close(session)
            raise SessionClosedError(session.session_id, "it holds as many keys as one may")
        arguments = (session.session_id, keys)
        return _session_view(
            await self._actors.call(HSM, "extend_session", *arguments, message_id=self._message_id())
        )

    async def _usable(self, keys: tuple[str, ...]) -> list[str]:
        """Those that may still be used: a key disabled meanwhile must not stop the others."""
        views: list[KeyView] = await self._actors.call(HSM, "keys", self._owner)
        enabled = {view.name for view in views if view.enabled}
        return [key for key in keys if key in enabled]

    async def _close_leftovers(self) -> None:
        """Close the sessions that a signer of this owner left open when its process died."""
        opened: list[SessionView] = await self._actors.call(HSM, "sessions")
        for session in opened:
            if session.owner == self._owner:
                await self._close(session)

    async def _close(self, session: SessionView) -> None:
        await self._actors.call(
            HSM,
            "close_session",
            session.session_id,
            message_id=self._message_id(),
            timeout_s=CLOSING_TIMEOUT_S,
        )


def _session_view(answer: object) -> SessionView:
    if not isinstance(answer, SessionView):
        raise TypeError(f"an opening was answered with {type(answer).__name__}")
    return answer
