from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm


@pytest.fixture
async def bench() -> AsyncIterator[LocalHsm]:
    """An HSM that has not been started."""
    bench = LocalHsm()
    yield bench
    await bench.close()


@pytest.fixture
async def hsm(bench: LocalHsm) -> HsmService:
    """An unsealed HSM."""
    return await bench.start()
