"""Every error of the package: it crosses processes whole, reads well, and says what to do.

Ray pickles what an actor raises. An exception whose ``__init__`` takes other arguments than it
hands to ``super().__init__`` does not come back, and its caller gets Ray's error instead of ours.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import pickle
import pkgutil
import string
import types
import typing
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import anya_actors
from anya_actors.domain.machine import AnyaError

# Codes that more than one error bears, because a caller is to do the same about each of them.
SHARED_CODES = {
    "store-full": {"StoreFullError", "LogFullError"},
    "internal-error": {"ActorFaultError", "UnexpectedError"},
}

EXAMPLES: dict[Any, Any] = {
    str: "north",
    int: 7,
    float: 1.5,
    bool: True,
    bytes: b"\x01\x02",
    type(None): None,
    object: "north",
    Any: "north",
}


def modules() -> Iterator[types.ModuleType]:
    for module in pkgutil.walk_packages(anya_actors.__path__, "anya_actors."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)


def errors() -> list[type[AnyaError]]:
    list(modules())
    found, pending = set(), [AnyaError]
    while pending:
        error = pending.pop()
        pending.extend(error.__subclasses__())
        if error.__module__.startswith("anya_actors."):
            found.add(error)
    return sorted(found - {AnyaError}, key=lambda error: f"{error.__module__}.{error.__qualname__}")


def example(hint: Any) -> Any:
    """A value of the annotated type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in EXAMPLES:
        return EXAMPLES[hint]
    if origin in (typing.Union, types.UnionType):
        return example(arguments[0])
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return tuple(example(argument) for argument in arguments if argument is not Ellipsis)
    if origin is not None and issubclass(origin, typing.Mapping):
        return {example(arguments[0]): example(arguments[1])}
    if origin is not None and issubclass(origin, typing.Iterable):
        return [example(arguments[0])]
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return next(iter(hint))
    if inspect.isclass(hint) and issubclass(hint, msgspec.Struct):
        hints = typing.get_type_hints(hint)
        return hint(**{field.name: example(hints[field.name]) for field in msgspec.structs.fields(hint)})
    raise TypeError(f"an error takes a {hint}: add an example of it to this test")


def built(error: type[AnyaError]) -> AnyaError:
    if error.__init__ is Exception.__init__:
        return error()
    hints = typing.get_type_hints(error.__init__)
    names = [name for name in inspect.signature(error.__init__).parameters if name != "self"]
    return error(**{name: example(hints[name]) for name in names})


ERRORS = errors()


def test_the_walk_finds_the_errors_of_the_package() -> None:
    assert {"IllegalTransitionError", "FencedError", "UnknownActorError"} <= {e.__name__ for e in ERRORS}


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_survives_the_way_between_two_processes(error: type[AnyaError]) -> None:
    instance = built(error)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(instance, protocol))
        assert type(copy) is error
        assert copy.args == instance.args
        assert vars(copy) == vars(instance)
        assert str(copy) == str(instance)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_hands_every_fact_to_its_root(error: type[AnyaError]) -> None:
    parameters = [name for name in inspect.signature(error.__init__).parameters if name != "self"]
    if error.__init__ is not Exception.__init__:
        assert len(built(error).args) == len(parameters)


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_says_what_happened_and_what_to_do(error: type[AnyaError]) -> None:
    found = built(error)
    assert error.remedy.strip().endswith("."), "a remedy is a sentence"
    assert found.remedy in str(found)
    assert error.message != AnyaError.message, "an error has its own message"
    assert not error.message.endswith("."), "the full stop is added"
    for _, field, _, _ in string.Formatter().parse(error.message):
        assert field is None or field == "" or field[0].isdigit(), "message is positional"


@pytest.mark.parametrize("error", ERRORS)
def test_an_error_is_documented_and_named_as_one(error: type[AnyaError]) -> None:
    assert error.__name__.endswith("Error")
    assert error.__doc__
    assert inspect.getdoc(error) != inspect.getdoc(AnyaError)


def test_a_code_means_one_thing() -> None:
    by_code = defaultdict(set)
    for error in ERRORS:
        by_code[error.code].add(error.__name__)
    shared = {code: names for code, names in by_code.items() if len(names) > 1}
    assert {code: names for code, names in shared.items() if names != SHARED_CODES.get(code)} == {}


def test_a_code_is_lower_case_words_with_hyphens() -> None:
    for error in ERRORS:
        assert error.code.replace("-", "").isalnum(), error
        assert error.code == error.code.lower()
