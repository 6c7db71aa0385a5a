"""Keys of wallets, made in the HSM: one for each address."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.bitcoin.wallet import WalletKey
from anya_actors.domain.hsm.errors import KeyExistsError
from anya_actors.domain.hsm.views import KeyView
from anya_actors.ports.actors import Actors

HSM: Final = "hsm/main"


class WalletKeys:
    """Asks the HSM for keys named ``wallet.<name>.<index>``, owned by this actor."""

    def __init__(self, actors: Actors, *, owner: str) -> None:
        self._actors = actors
        self._owner = owner

    async def make(self, wallet: str, index: int, *, change: bool = False) -> WalletKey:
        """The wallet's key of this index; asking again after a crash gives the same key."""
        name = f"wallet.{wallet}.{index}"
        try:
            view: KeyView = await self._actors.call(
                HSM,
                "create_key",
                name,
                "secp256k1",
                self._owner,
                ("sign", "verify"),
                message_id=f"{self._owner}/{name}",
            )
        except KeyExistsError:
            # Made so long ago that the HSM has forgotten the request that made it.
            view = await self._actors.call(HSM, "key", name)
            if view.owner != self._owner or view.key_type != "secp256k1":
                raise
        return WalletKey(name, bytes.fromhex(view.public_key), change)
