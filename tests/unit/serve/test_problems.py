"""One table leads from every error of the platform to its HTTP status."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import anya_actors
from anya_actors.domain.machine import AnyaError, InvalidInputError
from anya_actors.serve.errors import (
    STATUS_OF_CODE,
    InvalidFieldsError,
    MissingTokenError,
    retry_after_s,
    status_of,
)
from anya_actors.serve.problems import problem_of

# Layers whose errors can reach an HTTP caller.
LAYERS = ("domain", "ports", "services")


def reachable() -> list[type[AnyaError]]:
    for layer in LAYERS:
        package = importlib.import_module(f"anya_actors.{layer}")
        for module in pkgutil.walk_packages(package.__path__, f"anya_actors.{layer}."):
            importlib.import_module(module.name)
    found: set[type[AnyaError]] = set()
    pending = [AnyaError]
    while pending:
        error = pending.pop()
        pending += error.__subclasses__()
        if error.__module__.startswith(tuple(f"{anya_actors.__name__}.{layer}." for layer in LAYERS)):
            found.add(error)
    return sorted(found - {AnyaError}, key=lambda error: error.__qualname__)


@pytest.mark.parametrize("error", reachable())
def test_every_error_that_can_reach_a_caller_has_a_status(error: type[AnyaError]) -> None:
    assert status_of(error) is not None, f"give {error.code} a row in serve/errors.py"


def test_a_status_is_one_of_an_error() -> None:
    assert all(400 <= status <= 599 for status in STATUS_OF_CODE.values())


def test_an_error_without_a_row_has_the_status_of_its_ancestor() -> None:
    class OddAmountError(InvalidInputError):
        code = "odd-amount"

    assert status_of(OddAmountError) == 422


def test_a_problem_has_the_errors_own_words() -> None:
    problem = problem_of(InvalidInputError("address", "it has a wrong checksum"))
    assert problem.type == "urn:anya:problem:invalid-input"
    assert problem.title == "Invalid input"
    assert problem.detail == "address is not valid: it has a wrong checksum"
    assert problem.remedy == InvalidInputError.remedy


def test_braces_in_a_value_are_not_formatted() -> None:
    assert "{0.__class__}" in problem_of(InvalidInputError("field", "{0.__class__}")).detail


def test_only_what_may_succeed_later_says_when() -> None:
    assert retry_after_s(MissingTokenError(), 401) is None
    assert retry_after_s(AnyaError("x"), 503) == 1


def test_fields_are_counted() -> None:
    assert "2 fields" in str(InvalidFieldsError.of([("a", "x"), ("b", "y")]))
