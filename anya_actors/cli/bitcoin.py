"""``anya bitcoin``: the chain, the mempool and the node, through the HTTP API of a running platform."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from anya_actors.cli.options import Config, DataDir, Json
from anya_actors.cli.remote import Remote, argument_or_stdin

BASE: Final = "/api/v1/bitcoin"

app = typer.Typer(help="The chain, the mempool and the node.", no_args_is_help=True, rich_markup_mode=None)

Txid = Annotated[str, typer.Argument(metavar="TXID")]
Address = Annotated[str, typer.Argument(metavar="ADDRESS")]


@app.command()
def tip(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The newest block of the best chain."""
    Remote(data_dir, config, json).show(f"{BASE}/tip")


@app.command()
def block(
    name: Annotated[str, typer.Argument(metavar="HASH_OR_HEIGHT")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """One block with the ids of its transactions."""
    Remote(data_dir, config, json).show(f"{BASE}/blocks/{name}")


@app.command()
def tx(txid: Txid, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """One transaction, of the chain or the mempool."""
    Remote(data_dir, config, json).show(f"{BASE}/transactions/{txid}")


@app.command()
def mempool(
    txid: Annotated[str, typer.Argument(metavar="[TXID]")] = "",
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """The mempool as a whole, or one transaction of it with its relatives."""
    Remote(data_dir, config, json).show(f"{BASE}/mempool" + (f"/{txid}" if txid else ""))


@app.command()
def fees(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """What it takes to confirm within so many blocks, as the node estimates."""
    remote = Remote(data_dir, config, json)
    remote.show_part(remote.get(f"{BASE}/feerates")["estimates"], ("blocks", "feerate_sat_per_vb"))


@app.command()
def unspent(address: Address, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The coins of an address in blocks."""
    columns = ("txid", "index", "amount_sat", "height", "coinbase")
    Remote(data_dir, config, json).show_items(f"{BASE}/addresses/{address}/unspent", columns)


@app.command()
def generate(
    address: Address,
    blocks: Annotated[int, typer.Option("--blocks", min=1, max=1000)] = 1,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make blocks that pay an address. Regtest alone."""
    remote = Remote(data_dir, config, json)
    answer = remote.post(f"{BASE}/blocks", {"address": address, "blocks": blocks})
    remote.show_part([{"block_hash": made} for made in answer["block_hashes"]], ("block_hash",))


@app.command()
def broadcast(
    transaction: Annotated[str, typer.Argument(metavar="HEX", help="The signed transaction, - for stdin.")],
    max_fee_sat: Annotated[
        int | None, typer.Option("--max-fee-sat", min=0, help="Do not send one that pays more.")
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Hand a signed transaction to the node."""
    body: dict[str, Any] = {"hex": argument_or_stdin(transaction)}
    if max_fee_sat is not None:
        body["max_fee_sat"] = max_fee_sat
    Remote(data_dir, config, json).post_and_show(f"{BASE}/transactions", body)


@app.command()
def proof(txid: Txid, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Proof that a block holds the transaction (SPV)."""
    Remote(data_dir, config, json).show(f"{BASE}/transactions/{txid}/proof")


@app.command("verify-proof")
def verify_proof(
    proof_hex: Annotated[str, typer.Argument(metavar="HEX", help="The proof, - for stdin.")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """What a proof proves; an error if it does not hold."""
    body = {"proof": argument_or_stdin(proof_hex)}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/proofs/verify", body)


@app.command()
def request(
    uri: Annotated[str, typer.Argument(metavar="URI")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """What a bitcoin: URI asks for, and all the ways to pay it."""
    Remote(data_dir, config, json).post_and_show(f"{BASE}/payment-requests/read", {"uri": uri})


@app.command()
def payee(
    name: Annotated[str, typer.Argument(metavar="USER@DOMAIN")],
    proof_hex: Annotated[str, typer.Argument(metavar="HEX", help="Its DNSSEC proof, - for stdin.")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """What a name's owner wants to be paid by, verified by a DNSSEC proof (BIP353)."""
    body = {"name": name, "proof": argument_or_stdin(proof_hex)}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/payees/verify", body)


@app.command()
def watch(
    subject: Annotated[str, typer.Argument(metavar="transaction|address|script|outpoint")],
    value: Annotated[str, typer.Argument(metavar="VALUE")],
    confirmations: Annotated[int, typer.Option("--confirmations", min=1, max=144)] = 1,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Subscribe: events on the bus will tell of it, whatever crashes."""
    body = {"subject": subject, "value": value, "confirmations": confirmations}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/subscriptions", body)


@app.command()
def watches(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Every subscription."""
    columns = ("subscription_id", "subject", "value", "confirmations", "synced_height")
    Remote(data_dir, config, json).show_items(f"{BASE}/subscriptions", columns)
