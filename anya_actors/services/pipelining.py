"""Many items in calls that are not too large, a few calls on their way at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final, TypeVar

from anya_actors.domain.keys.operations import MAX_BATCH

MAX_CALL_BYTES: Final = 4 * 1024 * 1024
IN_FLIGHT: Final = 3
"""Calls that are on their way at once: who answers them has the next one when it has done one."""

T = TypeVar("T")


async def pipelined(
    items: Sequence[T],
    ask: Callable[[Sequence[T]], Coroutine[Any, Any, Sequence[Any]]],
    size: Callable[[T], int],
) -> list[Any]:
    """What ``ask`` answers for all items, in order. The first error is raised, and the calls after it
    are given up."""
    found: list[Any] = []
    waiting: deque[asyncio.Task[Sequence[Any]]] = deque()
    try:
        for part in _parts(items, size):
            if len(waiting) == IN_FLIGHT:
                found += await waiting.popleft()
            waiting.append(asyncio.create_task(ask(part)))
        while waiting:
            found += await waiting.popleft()
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    return found


def _parts(items: Sequence[T], size: Callable[[T], int]) -> Iterator[Sequence[T]]:
    """The items in runs that one call takes."""
    start = held = 0
    for index, item in enumerate(items):
        grown = size(item)
        if index - start == MAX_BATCH or (index > start and held + grown > MAX_CALL_BYTES):
            yield items[start:index]
            start, held = index, 0
        held += grown
    if items:
        yield items[start:]
