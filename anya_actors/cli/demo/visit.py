"""What every stop of the tour is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from anya_actors.cli.api_client import ApiClient
from anya_actors.cli.demo.guide import Guide
from anya_actors.cli.demo.hosted import HostedPlatform
from anya_actors.cli.demo.witness import EventListener, Node

MINER: Final = "miner"
ALICE: Final = "alice"
BTC: Final = 100_000_000
_FEERATE_SAT_PER_VB: Final = 2


@dataclass(frozen=True)
class Visit:
    """One tour under way."""

    guide: Guide
    platform: HostedPlatform
    api: ApiClient
    node: Node
    events: EventListener

    def actor(self, name: str) -> dict[str, Any]:
        """The platform's view of one actor."""
        found: dict[str, Any] = self.api.get(f"/api/v1/system/actors/{name}")
        return found

    def mine(self, address: str, blocks: int) -> None:
        """Make regtest blocks, and return when the chain has them."""
        wanted = self.node.call("getblockcount") + blocks
        self.api.post("/api/v1/bitcoin/blocks", {"address": address, "blocks": blocks})
        self.guide.wait_until(
            "the blocks are made", lambda: self.node.call("getblockcount") >= wanted or None
        )

    def new_address(self, wallet: str) -> str:
        """A fresh address of a wallet."""
        return str(self.api.post(f"/api/v1/bitcoin/wallets/{wallet}/addresses", {})["address"])

    def send(
        self, wallet: str, address: str, amount_sat: int, *, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Ask for a payment; the answer says that it will happen."""
        body = {"address": address, "amount_sat": amount_sat, "feerate_sat_per_vb": _FEERATE_SAT_PER_VB}
        path = f"/api/v1/bitcoin/wallets/{wallet}/payments"
        payment: dict[str, Any] = self.api.post(path, body, idempotency_key=idempotency_key)
        return payment

    def payment(self, payment: dict[str, Any]) -> dict[str, Any]:
        """How a payment fares now."""
        found: dict[str, Any] = self.api.get(f"/api/v1/bitcoin/payments/{payment['payment_id']}")
        return found

    def wait_balance(self, wallet: str, key: str, least_sat: int) -> dict[str, Any]:
        """The wallet's balance as soon as it has followed the chain that far."""

        def ask() -> dict[str, Any] | None:
            balance: dict[str, Any] = self.api.get(f"/api/v1/bitcoin/wallets/{wallet}/balance")
            return balance if balance[key] >= least_sat else None

        return self.guide.wait_until(f"wallet {wallet} sees its coins", ask)
