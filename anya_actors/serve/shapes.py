"""What answers look like: the views of the services, as JSON and as JSON Schema.

A view is described once, where it is defined. Some views carry a tag because a service also
stores them; the tag is the store's business and is left out here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from anya_actors.domain.machine import InvalidInputError

T = TypeVar("T")
Responses = dict[int | str, dict[str, Any]]

MOST_FIELDS: Final = 64
REFERENCE: Final = "#/components/schemas/{name}"
_encode = msgspec.json.Encoder().encode


class Body(BaseModel):
    """The root of every request body: no unknown field, no value turned from one type to another."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _has_few_fields(cls, value: Any) -> Any:
        # Each unknown field is an error of its own: a hundred thousand of them hold up everyone.
        if isinstance(value, dict) and len(value) > MOST_FIELDS:
            raise PydanticCustomError("too_many_fields", "an object has too many fields")
        return value


class Paging(BaseModel):
    """Which part of a list: at most ``limit`` items behind the cursor ``after``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(100, ge=1, le=1000, description="Most items of one page.")
    after: str | None = Field(None, max_length=512, description="`next_cursor` of the page before.")


def json_of(value: Any) -> bytes:
    """The JSON of a view, of a list of views, or of plain values."""
    return _encode(_untagged(value))


def page_of(items: Sequence[T], key: Callable[[T], str], paging: Paging) -> dict[str, Any]:
    """One page of a whole list, sorted by ``key``; raise `InvalidInputError` for a foreign cursor.

    Cursors name the last item given, so a page neither repeats nor skips what stays in the list.
    """
    behind = "" if paging.after is None else _opened(paging.after)
    left = sorted((item for item in items if paging.after is None or key(item) > behind), key=key)
    page = left[: paging.limit]
    next_cursor = _sealed(key(page[-1])) if len(left) > len(page) else None
    return {"items": [_untagged(item) for item in page], "next_cursor": next_cursor}


def cursor_number(paging: Paging, first: int = 0) -> int:
    """A cursor that is a number; raise `InvalidInputError`."""
    if paging.after is None:
        return first
    if not paging.after.isascii() or not paging.after.isdigit():
        raise InvalidInputError("after", "it is not a cursor of this list")
    return int(paging.after)


def shows(view: type, description: str, status: int = 200) -> Responses:
    """OpenAPI's description of an answer that is one view."""
    return {status: _described(description, {"$ref": REFERENCE.format(name=view.__name__)})}


def shows_page(view: type, description: str) -> Responses:
    """OpenAPI's description of an answer that is one page of views."""
    item = {"$ref": REFERENCE.format(name=view.__name__)}
    page = {
        "type": "object",
        "properties": {
            "items": {"type": "array", "items": item},
            "next_cursor": {"type": ["string", "null"], "description": "null on the last page"},
        },
        "required": ["items", "next_cursor"],
    }
    return {200: _described(description, page)}


def shows_plain(description: str, schema: dict[str, Any], status: int = 200) -> Responses:
    """OpenAPI's description of an answer with a schema of its own."""
    return {status: _described(description, schema)}


def components(views: Sequence[type[msgspec.Struct]]) -> dict[str, Any]:
    """JSON Schema of the views and all that they hold, by name."""
    _, found = msgspec.json.schema_components(views, ref_template=REFERENCE)
    tagged = {view.__name__ for view in views if _is_tagged(view)}
    for name, schema in found.items():
        if name in tagged:
            schema["properties"].pop("type", None)
            schema["required"] = [field for field in schema.get("required", ()) if field != "type"]
    return found


def _described(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _is_tagged(view: type[msgspec.Struct]) -> bool:
    return view.__struct_config__.tag is not None


def _untagged(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.structs.asdict(value) if _is_tagged(type(value)) else value
    if isinstance(value, list | tuple):
        return [_untagged(item) for item in value]
    return value


def _sealed(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).rstrip(b"=").decode()


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidInputError("after", "it is not a cursor of this list") from None
