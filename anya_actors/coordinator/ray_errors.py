"""What Ray raises, turned back into what was raised."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import ray.exceptions

from anya_actors.domain.machine import AnyaError


@contextlib.contextmanager
def unwrapped() -> Iterator[None]:
    """Raise the actor's own `AnyaError` instead of Ray's wrapper around it."""
    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, AnyaError):
            raise error.cause from None
        raise
