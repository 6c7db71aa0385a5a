"""Mining on request (regtest), at most once for each request.

Mining cannot be asked for twice without mining twice. So the intention is committed first, and a
request whose outcome is unknown (the process died, or the node's answer was lost) is never
repeated: it stays ``block_hashes = None`` and repeating it says so.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from anya_actors.domain.bitcoin.views import GenerationView
from anya_actors.domain.machine import AnyaError, Event, Step


class GenerationOutcomeUnknownError(AnyaError):
    """The blocks may have been mined or not; the request is never made a second time."""

    code = "generation-outcome-unknown"
    message = "whether {} blocks to {} were mined is not known"
    remedy = "Look at the tip; to mine more, use a new message id."

    def __init__(self, blocks: int, address: str) -> None:
        super().__init__(blocks, address)


class Generation(msgspec.Struct, frozen=True, tag=True):
    """One request. ``attempt`` counts the tries that certainly mined nothing."""

    address: str
    blocks: int
    attempt: int = 0
    under_way: bool = True
    block_hashes: tuple[str, ...] | None = None


class GenerationBegun(Event, frozen=True):
    """The node is about to be asked."""

    address: str
    blocks: int


class GenerationFinished(Event, frozen=True):
    """The node mined these blocks, oldest first."""

    block_hashes: tuple[str, ...]


class GenerationFailed(Event, frozen=True):
    """The node certainly mined nothing; the request may be made again."""


def begin(event: GenerationBegun) -> Step[Generation]:
    return Step(Generation(event.address, event.blocks))


def begin_again(generation: Generation, event: GenerationBegun) -> Step[Generation]:
    """Try again what certainly did not happen; raises `GenerationOutcomeUnknownError` otherwise."""
    if generation.under_way:
        raise GenerationOutcomeUnknownError(event.blocks, event.address)
    return Step(replace(generation, under_way=True, attempt=generation.attempt + 1))


def finish(generation: Generation, event: GenerationFinished) -> Step[Generation]:
    return Step(replace(generation, block_hashes=event.block_hashes))


def fail(generation: Generation, _: GenerationFailed) -> Step[Generation]:
    return Step(replace(generation, under_way=False))


def view_of(generation: Generation) -> GenerationView:
    return GenerationView(generation.address, generation.blocks, generation.block_hashes)
