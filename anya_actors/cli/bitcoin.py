"""``anya bitcoin``: the chain, the mempool and the node, through the HTTP API of a running platform."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from anya_actors.cli.options import asking
from anya_actors.cli.remote import Remote, argument_or_stdin, at

BASE: Final = "/api/v1/bitcoin"

app = typer.Typer(help="The chain, the mempool and the node.", no_args_is_help=True, rich_markup_mode=None)

Txid = Annotated[str, typer.Argument(metavar="TXID")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS")]


@app.command()
@asking
def tip(remote: Remote) -> None:
    """The newest block of the best chain."""
    remote.show(f"{BASE}/tip")


@app.command()
@asking
def block(remote: Remote, name: Annotated[str, typer.Argument(metavar="HASH_OR_HEIGHT")]) -> None:
    """One block with the ids of its transactions."""
    remote.show(at(BASE, "blocks", name))


@app.command()
@asking
def tx(remote: Remote, txid: Txid) -> None:
    """One transaction, of the chain or the mempool."""
    remote.show(at(BASE, "transactions", txid))


@app.command()
@asking
def mempool(remote: Remote, txid: Annotated[str, typer.Argument(metavar="[TXID]")] = "") -> None:
    """The mempool as a whole, or one transaction of it with its relatives."""
    remote.show(at(BASE, "mempool", *filter(None, (txid,))))


@app.command()
@asking
def fees(remote: Remote) -> None:
    """What it takes to confirm within so many blocks, as the node estimates."""
    remote.show_part(remote.get(f"{BASE}/feerates")["estimates"], ("blocks", "feerate_sat_per_vb"))


@app.command()
@asking
def unspent(remote: Remote, address: Address) -> None:
    """The coins of an address in blocks."""
    columns = ("txid", "index", "amount_sat", "height", "coinbase")
    remote.show_items(at(BASE, "addresses", address, "unspent"), columns)


@app.command()
@asking
def generate(
    remote: Remote, address: Address, blocks: Annotated[int, typer.Option("--blocks", min=1, max=1000)] = 1
) -> None:
    """Make blocks that pay an address. Regtest alone."""
    answer = remote.post(f"{BASE}/blocks", {"address": address, "blocks": blocks})
    remote.show_part([{"block_hash": made} for made in answer["block_hashes"]], ("block_hash",))


@app.command()
@asking
def broadcast(
    remote: Remote,
    transaction: Annotated[str, typer.Argument(metavar="HEX", help="The signed transaction, - for stdin.")],
    max_fee_sat: Annotated[
        int | None, typer.Option("--max-fee-sat", min=0, help="Do not send one that pays more.")
    ] = None,
) -> None:
    """Hand a signed transaction to the node."""
    body: dict[str, Any] = {"hex": argument_or_stdin(transaction)}
    if max_fee_sat is not None:
        body["max_fee_sat"] = max_fee_sat
    remote.post_and_show(f"{BASE}/transactions", body)


@app.command()
@asking
def proof(remote: Remote, txid: Txid) -> None:
    """Proof that a block holds the transaction (SPV)."""
    remote.show(at(BASE, "transactions", txid, "proof"))


@app.command("verify-proof")
@asking
def verify_proof(
    remote: Remote, proof_hex: Annotated[str, typer.Argument(metavar="HEX", help="The proof, - for stdin.")]
) -> None:
    """What a proof proves; an error if it does not hold."""
    body = {"proof": argument_or_stdin(proof_hex)}
    remote.post_and_show(f"{BASE}/proofs/verify", body)


@app.command()
@asking
def request(remote: Remote, uri: Annotated[str, typer.Argument(metavar="URI")]) -> None:
    """What a bitcoin: URI asks for, and all the ways to pay it."""
    remote.post_and_show(f"{BASE}/payment-requests/read", {"uri": uri})


@app.command()
@asking
def payee(
    remote: Remote,
    name: Annotated[str, typer.Argument(metavar="USER@DOMAIN")],
    proof_hex: Annotated[str, typer.Argument(metavar="HEX", help="Its DNSSEC proof, - for stdin.")],
) -> None:
    """What a name's owner wants to be paid by, verified by a DNSSEC proof (BIP353)."""
    body = {"name": name, "proof": argument_or_stdin(proof_hex)}
    remote.post_and_show(f"{BASE}/payees/verify", body)


@app.command()
@asking
def watch(
    remote: Remote,
    subject: Annotated[str, typer.Argument(metavar="transaction|address|script|outpoint")],
    value: Annotated[str, typer.Argument(metavar="VALUE")],
    confirmations: Annotated[int, typer.Option("--confirmations", min=1, max=144)] = 1,
) -> None:
    """Subscribe: events on the bus will tell of it, whatever crashes."""
    body = {"subject": subject, "value": value, "confirmations": confirmations}
    remote.post_and_show(f"{BASE}/subscriptions", body)


@app.command()
@asking
def watches(remote: Remote) -> None:
    """Every subscription."""
    columns = ("subscription_id", "subject", "value", "confirmations", "synced_height")
    remote.show_items(f"{BASE}/subscriptions", columns)
