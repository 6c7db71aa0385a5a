"""The stop that everything else is for: an actor is killed while it owes a payment."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anya_actors.cli.demo.visit import ALICE, BTC, MINER, Visit

_ACTOR = "bitcoin/main"
_NODE = "bitcoin-node/main"


def survive_a_kill(visit: Visit) -> None:
    """SIGKILL the actor that holds an unfinished payment; count how often the payment happens."""
    visit.guide.stop(
        "kill",
        "Killed in the middle of a payment",
        f"The node is frozen, so that a payment can be accepted and not yet be sent. Then {_ACTOR}, "
        "which owes it, is killed with SIGKILL. Its successor must send the payment, and only once.",
    )
    address = visit.new_address(MINER)
    before = visit.actor(_ACTOR)
    height = visit.node.call("getblockcount")
    key = secrets.token_hex(16)
    with _frozen(visit.actor(_NODE)["pid"]):
        payment = visit.send(ALICE, address, BTC // 4, idempotency_key=key)
        visit.guide.tell(
            "The payment was acknowledged while the node could not hear of it.",
            payment_id=payment["payment_id"],
            txid=payment["txid"],
        )
        visit.guide.wait_until("the payment is signed", lambda: _signed(visit, payment))
        visit.guide.tell("It is signed and waits for the node.", owed=f"the broadcast, by {_ACTOR}")
        os.kill(before["pid"], signal.SIGKILL)
        killed = time.monotonic()
        visit.guide.tell(f"Killed {_ACTOR}.", pid=before["pid"])
    found = visit.payment(payment)
    recovery_s = time.monotonic() - killed
    visit.guide.figures["from SIGKILL to the next answer"] = f"{recovery_s:.2f} s"
    visit.guide.promise("the payment is not forgotten", found["txid"] == payment["txid"], found)
    _check_successor(visit, before)

    sent = visit.guide.wait_until(
        "the successor sends the payment",
        lambda: visit.node.transactions_paying(address, since_height=height) or None,
    )
    visit.guide.figures["from SIGKILL to the payment sent"] = f"{time.monotonic() - killed:.2f} s"
    visit.guide.promise("the payment still happens", sent == [payment["txid"]], sent)
    _check_once(visit, payment, address, key, height)


def _check_once(visit: Visit, payment: dict[str, Any], address: str, key: str, height: int) -> None:
    """Ask the platform again, and the node past the platform, how often the payment happened."""
    again = visit.send(ALICE, address, BTC // 4, idempotency_key=key)
    visit.guide.promise(
        "asked again with the same Idempotency-Key, it is the same payment",
        (again["payment_id"], again["txid"]) == (payment["payment_id"], payment["txid"]),
        again,
    )
    visit.mine(visit.new_address(MINER), 1)
    once = visit.guide.wait_until("the payment is in a block", lambda: _confirmed(visit, payment))
    paid = visit.node.transactions_paying(address, since_height=height)
    visit.guide.tell("The node, asked past the platform, knows of these payments.", transactions=paid)
    visit.guide.promise("it happened exactly once", paid == [once["txid"]], paid)


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    """Stop a process for as long as the block lasts."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _check_successor(visit: Visit, before: dict[str, Any]) -> None:
    def successor() -> dict[str, Any] | None:
        actor = visit.actor(_ACTOR)
        return actor if actor["pid"] not in (None, before["pid"]) else None

    after = visit.guide.wait_until("the tree shows the successor", successor)
    shown = {name: after[name] for name in ("pid", "epoch", "restarts")}
    visit.guide.tell("A successor took over.", **shown)
    visit.guide.promise("the successor has a newer epoch", after["epoch"] > before["epoch"], after["epoch"])


def _signed(visit: Visit, payment: dict[str, Any]) -> bool | None:
    return visit.payment(payment)["phase"] == "signed" or None


def _confirmed(visit: Visit, payment: dict[str, Any]) -> dict[str, Any] | None:
    found = visit.payment(payment)
    return found if found["confirmations"] >= 1 else None
