"""The stops of the tour, in order. A capability adds its own to `STOPS`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from anya_actors.cli.demo.bump import bump_a_fee
from anya_actors.cli.demo.crash import survive_a_kill
from anya_actors.cli.demo.visit import ALICE, BTC, MINER, Visit
from anya_actors.cli.demo.witness import mentions
from anya_actors.cli.faults import RefusedError
from anya_actors.cli.status import tree_table

_MATURE_AFTER: Final = 101  # a coinbase output can be spent when 100 blocks stand on its own


def meet_the_tree(visit: Visit) -> None:
    """The supervision tree."""
    visit.guide.stop(
        "tree",
        "The supervision tree",
        "Everything that runs is an actor with a supervisor above it. Whoever dies is restarted by "
        "its supervisor, with its state and with whatever it still owed.",
    )
    system = visit.api.get("/api/v1/system")
    visit.guide.show(tree_table(system), actors=[actor["name"] for actor in system["actors"]])
    serving = [actor["name"] for actor in system["actors"] if actor["pid"]]
    wanted = {"bitcoin-node/main", "bitcoin/main", "hsm/main"}
    visit.guide.promise("node, wallet and HSM actors serve", wanted <= set(serving), serving)


def mine_blocks(visit: Visit) -> None:
    """101 regtest blocks."""
    visit.guide.stop(
        "mine",
        "101 blocks on libbitcoinkernel",
        "The embedded node validates with Bitcoin Core's own code. On its private regtest chain we "
        "mine at will; the first reward can be spent once 100 blocks stand on it.",
    )
    wallet = visit.api.post("/api/v1/bitcoin/wallets", {"name": MINER})
    visit.mine(wallet["address"], _MATURE_AFTER)
    tip = visit.api.get("/api/v1/bitcoin/tip")
    visit.guide.tell("Mined 101 blocks to a wallet whose key the HSM holds.", **_of(tip, "height", "hash"))
    visit.guide.promise("the chain has 101 blocks", tip["height"] == _MATURE_AFTER, tip["height"])
    balance = visit.wait_balance(MINER, "spendable_sat", 50 * BTC)
    visit.guide.tell(
        "The oldest rewards can be spent, the others not yet.",
        **_of(balance, "spendable_sat", "immature_sat"),
    )


def use_the_hsm(visit: Visit) -> None:
    """A key in the HSM, a session that may use it, a signature."""
    visit.guide.stop(
        "hsm",
        "A key that nobody sees",
        "The key is made inside the HSM and never leaves it. A session is a process of its own that "
        "holds only the keys it was opened for.",
    )
    key = visit.api.post("/api/v1/security/keys", {"name": "tour", "key_type": "secp256k1"})
    visit.guide.tell("Made a secp256k1 key inside the HSM.", **_of(key, "name", "public_key"))
    session = visit.api.post("/api/v1/security/sessions", {"keys": ["tour"]})
    visit.guide.tell("Opened a session in a process of its own.", **_of(session, "actor", "keys"))
    path = f"/api/v1/security/sessions/{session['session_id']}"
    digest = hashlib.sha256(b"anya").hexdigest()
    asked = {"key": "tour", "algorithm": "schnorr-bip340", "message_hex": digest}
    signature = visit.api.post(f"{path}/sign", asked)["signature_hex"]
    visit.guide.tell("Signed a digest (BIP340).", signature=signature)
    valid = visit.api.post(f"{path}/verify", asked | {"signature_hex": signature})["valid"]
    visit.guide.promise("the signature is valid", valid is True, valid)
    forged = signature[:-2] + ("00" if signature[-2:] != "00" else "01")
    visit.guide.promise("a forged signature is refused", *_refused(visit, path, asked, forged))


def pay(visit: Visit) -> None:
    """A payment between two wallets, seen over the WebSocket."""
    visit.guide.stop(
        "pay",
        "Coins arrive",
        "A wallet's address comes from a key in the HSM. The payment is decided and stored before it "
        "is answered, signed in the HSM, and sent by the actor; its event reaches every listener.",
    )
    visit.api.post("/api/v1/bitcoin/wallets", {"name": ALICE})
    address = visit.new_address(ALICE)
    visit.guide.tell("Alice has a wallet and an address.", address=address)
    payment = visit.send(MINER, address, BTC)
    visit.guide.tell("The miner pays her 1 BTC.", **_of(payment, "payment_id", "txid", "fee_sat"))
    visit.guide.wait_until(
        "the node has the payment", lambda: payment["txid"] in visit.node.call("getrawmempool") or None
    )
    visit.guide.tell("The node's mempool has the transaction, signed in the HSM.")
    event = visit.guide.wait_until(
        "the event comes over the WebSocket",
        lambda: visit.events.first(lambda heard: _is_arrival(heard, payment["txid"])),
    )
    shown = _of(event["event"], "type", "wallet", "received_sat")
    visit.guide.tell("Its event came over the WebSocket.", cursor=event["cursor"], **shown)
    visit.mine(visit.new_address(MINER), 1)
    balance = visit.wait_balance(ALICE, "spendable_sat", BTC)
    visit.guide.promise("Alice has 1 BTC", balance["spendable_sat"] == BTC, balance["spendable_sat"])


def read_the_audit(visit: Visit) -> None:
    """The audit log, and that nobody has altered it."""
    visit.guide.stop(
        "audit",
        "The audit trail",
        "Each use of a key is in the audit log before its answer is given. Every entry holds the hash "
        "of the one before it, so nothing can be taken out or changed unseen.",
    )
    entries = visit.api.get("/api/v1/security/audit", limit=100)["items"]
    visit.guide.show(_audit_table(entries[-8:]), entries=entries[-8:])
    report = visit.api.get("/api/v1/security/audit/verify")
    whole = report["entries"] >= len(entries) > 0
    visit.guide.promise(f"all {report['entries']} entries form one unbroken chain", whole, report)


STOPS: Final[tuple[Callable[[Visit], None], ...]] = (
    meet_the_tree,
    mine_blocks,
    use_the_hsm,
    pay,
    bump_a_fee,
    survive_a_kill,
    read_the_audit,
)


def _audit_table(entries: list[dict[str, Any]]) -> Table:
    table = Table("#", "operation", "key", "by", "outcome", "hash", box=None, header_style="dim")
    for entry in entries:
        keys = entry["key"].split(",")
        key = keys[0] if len(keys) == 1 else f"{len(keys)} keys"
        line = (entry["operation"], key, entry["owner"], entry["outcome"], entry["hash"][:8])
        table.add_row(str(entry["sequence"]), *map(escape, line))
    return table


def _is_arrival(heard: dict[str, Any], txid: str) -> bool:
    return heard["event"]["type"] == "BitcoinTransactionSeen" and mentions(heard, txid)


def _refused(visit: Visit, path: str, asked: dict[str, str], signature: str) -> tuple[bool, str]:
    try:
        answer = visit.api.post(f"{path}/verify", asked | {"signature_hex": signature})
    except RefusedError as error:
        return error.status < 500, error.problem
    return False, str(answer)


def _of(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names}
