"""What the tests of the engine share."""

from __future__ import annotations

import pytest

from tests.unit.services.ledger_world import World


@pytest.fixture
def world() -> World:
    return World()
