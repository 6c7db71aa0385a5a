"""Replies of Esplora: JSON or plain text, for how long they may be kept, and refusals in plain words."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import msgspec

from anya_actors.domain.machine import AnyaError
from anya_actors.serve.bitcoin_node.http import Reply

FIXED: Final = 157_784_630
"""Seconds that an answer may be kept which a hash in its path fixes for ever: five years."""
FLEETING: Final = 10
"""Seconds that any other answer may be kept. electrs trusts ten confirmations; on regtest any number of
blocks may be taken back."""
encode: Final = msgspec.json.Encoder().encode


class EsploraError(AnyaError):
    """A request that gets no answer; ``text`` is the body of the reply."""

    code = "esplora-refusal"
    message = "Esplora answers {}: {}"
    remedy = "Correct the request as the text says."

    def __init__(self, status: int, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


def bad_request(text: str) -> EsploraError:
    return EsploraError(HTTPStatus.BAD_REQUEST, text)


def not_found(text: str) -> EsploraError:
    return EsploraError(HTTPStatus.NOT_FOUND, text)


def _kept(seconds: int) -> tuple[tuple[str, str], ...]:
    return (("Cache-Control", f"public, max-age={seconds}"),)


def text(content: object, kept_s: int = FLEETING) -> Reply:
    return Reply(HTTPStatus.OK, str(content).encode(), "text/plain", _kept(kept_s))


def json(content: Any, kept_s: int = FLEETING) -> Reply:
    return Reply(HTTPStatus.OK, encode(content), "application/json", _kept(kept_s))


def raw(content: bytes, kept_s: int = FLEETING) -> Reply:
    return Reply(HTTPStatus.OK, content, "application/octet-stream", _kept(kept_s))
