"""What PostgreSQL's errors tell, without a server."""

from __future__ import annotations

import pytest

from anya_actors.adapters.postgresql.state_store import PostgresStateStores
from anya_actors.domain.machine import InvalidInputError


@pytest.mark.parametrize("password", ["horse/battery", "horse#battery", "horse?battery", "horse[battery"])
async def test_a_password_that_breaks_the_url_is_not_shown(password: str) -> None:
    stores = PostgresStateStores(f"postgresql://user:{password}@127.0.0.1:1/db")
    with pytest.raises(InvalidInputError, match="PostgreSQL URL") as refused:
        await stores.activate("bank/main")
    assert "horse" not in str(refused.value)
    assert "battery" not in str(refused.value)
    assert refused.value.__suppress_context__
