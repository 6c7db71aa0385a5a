"""The stop at which a taproot wallet raises the fee of a payment that waits."""

from __future__ import annotations

from typing import Any, Final

from anya_actors.cli.demo.visit import ALICE, BTC, MINER, Visit

ROSE: Final = "rose"
_WALLETS: Final = "/api/v1/wallet/wallets"
_AMOUNT_SAT: Final = BTC // 10
_HIGHER_FEERATE_SAT_PER_VB: Final = 20


def bump_a_fee(visit: Visit) -> None:
    """A payment in the mempool, replaced by one that pays more; one of the two is made."""
    visit.guide.stop(
        "bump",
        "A higher fee, once",
        "Rose's wallet is a taproot descriptor whose key the HSM holds. Her payment waits in the mempool; "
        "she replaces it by one that pays a higher fee. Of a payment's versions at most one is ever made.",
    )
    wallet = visit.api.post(_WALLETS, {"name": ROSE, "kind": "tr"})
    visit.guide.tell("Rose has a taproot wallet.", descriptor=wallet["account"]["receive"])
    visit.send(MINER, wallet["address"], BTC)
    visit.mine(visit.new_address(MINER), 1)
    visit.wait_balance(ROSE, "spendable_sat", BTC)
    address, height = visit.new_address(ALICE), visit.node.call("getblockcount")
    body = {"recipients": [{"address": address, "amount_sat": _AMOUNT_SAT}], "feerate_sat_per_vb": 2}
    first = visit.api.post(f"{_WALLETS}/{ROSE}/payments", body)
    _wait_mempool(visit, first)
    visit.guide.tell("She pays Alice 0.1 BTC.", txid=first["txid"], fee_sat=first["fee_sat"])
    bumped = _bump(visit, first)
    _wait_mempool(visit, bumped)
    visit.guide.tell("She raises the fee.", txid=bumped["txid"], fee_sat=bumped["fee_sat"])
    replaced = first["txid"] not in visit.node.call("getrawmempool")
    visit.guide.promise("the replacement has taken the original's place", replaced, bumped["txids"])
    visit.mine(visit.new_address(MINER), 1)
    confirmed = visit.guide.wait_until("the payment is confirmed", lambda: _confirmed(visit, first))
    visit.guide.promise(
        "it is confirmed by its replacement", confirmed["txid"] == bumped["txid"], confirmed["txid"]
    )
    paying = visit.node.transactions_paying(address, since_height=height)
    visit.guide.promise("exactly one transaction pays Alice", paying == [bumped["txid"]], paying)


def _bump(visit: Visit, payment: dict[str, Any]) -> dict[str, Any]:
    # A version is replaced once the wallet knows that a node has it.
    visit.guide.wait_until("the wallet knows", lambda: visit.payment(payment)["phase"] == "broadcast" or None)
    path = f"/api/v1/wallet/payments/{payment['payment_id']}/bump"
    bumped: dict[str, Any] = visit.api.post(path, {"feerate_sat_per_vb": _HIGHER_FEERATE_SAT_PER_VB})
    return bumped


def _wait_mempool(visit: Visit, payment: dict[str, Any]) -> None:
    visit.guide.wait_until(
        "the node has it", lambda: payment["txid"] in visit.node.call("getrawmempool") or None
    )


def _confirmed(visit: Visit, payment: dict[str, Any]) -> dict[str, Any] | None:
    found = visit.payment(payment)
    return found if found["phase"] == "confirmed" else None
