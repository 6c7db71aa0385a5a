"""``anya wallet``: wallets, coins, payments and messages, through the HTTP API of a running platform."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from anya_actors.cli import psbt
from anya_actors.cli.options import Config, DataDir, Json
from anya_actors.cli.remote import Remote, argument_or_stdin, text_on_stdin

BASE: Final = "/api/v1/wallet"

app = typer.Typer(help="Wallets, coins, payments and messages.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(psbt.app, name="psbt")

Name = Annotated[str, typer.Argument(metavar="WALLET")]
PaymentId = Annotated[str, typer.Argument(metavar="PAYMENT_ID")]
Feerate = Annotated[int | None, typer.Option("--feerate", min=1, max=10_000, help="Satoshis a virtual byte.")]
FeeCap = Annotated[int | None, typer.Option("--max-fee-sat", min=1, help="Refuse to pay a higher fee.")]
_PAYMENT: Final = ("payment_id", "phase", "amount_sat", "fee_sat", "confirmations", "txid")


def _of(name: str, *rest: str) -> str:
    return "/".join((f"{BASE}/wallets/{name}", *rest))


@app.command()
def create(
    name: Name,
    kind: Annotated[str, typer.Option("--kind", help="wpkh, tr, sh-wpkh or pkh.")] = "wpkh",
    descriptor: Annotated[str, typer.Option("--descriptor", help="Instead: an output descriptor.")] = "",
    change_descriptor: Annotated[str, typer.Option("--change-descriptor")] = "",
    key: Annotated[str, typer.Option("--key", help="The HSM's key among the descriptor's.")] = "",
    birth_height: Annotated[int | None, typer.Option("--birth-height", min=0)] = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Make a wallet under a new key in the HSM, or one of descriptors."""
    body: dict[str, Any] = {"name": name, "kind": kind, "descriptor": descriptor, "key": key}
    body |= {"change_descriptor": change_descriptor, "birth_height": birth_height}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/wallets", body)


@app.command("list")
def list_wallets(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Every wallet."""
    columns = ("name", "network", "address", "synced_height")
    Remote(data_dir, config, json).show_items(f"{BASE}/wallets", columns)


@app.command()
def backup(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The descriptors of a wallet: with the HSM's key, all that finds and spends its coins."""
    remote = Remote(data_dir, config, json)
    wallet = remote.get(_of(name))
    remote.show_record({"name": wallet["name"], "network": wallet["network"], **(wallet["account"] or {})})


@app.command()
def address(
    name: Name,
    change: Annotated[bool, typer.Option("--change", help="One of the change branch.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """An address that was never given out."""
    Remote(data_dir, config, json).post_and_show(_of(name, "addresses"), {"change": change})


@app.command("silent-address")
def silent_address(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The silent payment address of the wallet, which may be published (BIP352)."""
    Remote(data_dir, config, json).post_and_show(_of(name, "silent-address"), {})


@app.command()
def addresses(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Every address given out or paid."""
    Remote(data_dir, config, json).show_items(_of(name, "addresses"), ("place", "change", "address", "path"))


@app.command()
def balance(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """What the wallet has, in satoshis."""
    Remote(data_dir, config, json).show(_of(name, "balance"))


@app.command()
def utxos(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The wallet's coins."""
    columns = ("outpoint", "amount_sat", "confirmations", "reserved", "frozen", "label")
    Remote(data_dir, config, json).show_items(_of(name, "coins"), columns)


@app.command()
def freeze(
    name: Name,
    outpoints: Annotated[list[str], typer.Argument(metavar="OUTPOINT...")],
    thaw: Annotated[bool, typer.Option("--thaw", help="Let them be spent again.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Keep coins from being spent."""
    Remote(data_dir, config, json).post(
        _of(name, "coins", "freeze"), {"outpoints": outpoints, "frozen": not thaw}
    )


@app.command()
def send(
    name: Name,
    to: Annotated[list[str], typer.Argument(metavar="ADDRESS=SATOSHIS...", help="Who is paid how much.")],
    feerate: Feerate = None,
    max_fee_sat: FeeCap = None,
    coin: Annotated[list[str] | None, typer.Option("--coin", help="A coin that must be spent.")] = None,
    only_coins: Annotated[bool, typer.Option("--only-coins", help="Spend no other coins.")] = False,
    subtract_fee: Annotated[bool, typer.Option("--subtract-fee", help="The receivers pay the fee.")] = False,
    send_all: Annotated[bool, typer.Option("--all", help="Send everything to the address.")] = False,
    idempotency_key: Annotated[
        str | None, typer.Option("--idempotency-key", help="The same key pays once.")
    ] = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Pay one or several addresses by one transaction."""
    body = {
        "recipients": [receiver(one, send_all=send_all) for one in to],
        "feerate_sat_per_vb": feerate,
        "max_fee_sat": max_fee_sat,
        "inputs": coin or [],
        "only_inputs": only_coins,
        "subtract_fee": subtract_fee,
        "send_all": send_all,
    }
    remote = Remote(data_dir, config, json)
    remote.post_and_show(_of(name, "payments"), body, idempotency_key=idempotency_key)


def receiver(text: str, *, send_all: bool = False) -> dict[str, Any]:
    """``ADDRESS=SATOSHIS`` as the API wants it."""
    address, mark, amount = text.partition("=")
    if send_all and not mark:
        return {"address": address, "amount_sat": 0}
    if not mark or not amount.isascii() or not amount.isdigit():
        raise typer.BadParameter("write ADDRESS=SATOSHIS, the amount as a whole number")
    return {"address": address, "amount_sat": int(amount)}


@app.command()
def payments(name: Name, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """The wallet's payments."""
    Remote(data_dir, config, json).show_items(_of(name, "payments"), _PAYMENT)


@app.command()
def payment(
    payment_id: PaymentId, data_dir: DataDir = None, config: Config = None, json: Json = False
) -> None:
    """How far a payment has come."""
    Remote(data_dir, config, json).show(f"{BASE}/payments/{payment_id}")


@app.command()
def bump(
    payment_id: PaymentId,
    feerate: Feerate = None,
    max_fee_sat: FeeCap = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Raise the fee of a payment in the mempool."""
    body = {"feerate_sat_per_vb": feerate, "max_fee_sat": max_fee_sat}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/payments/{payment_id}/bump", body)


@app.command()
def cancel(
    payment_id: PaymentId,
    feerate: Feerate = None,
    max_fee_sat: FeeCap = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Take a payment in the mempool back."""
    body = {"feerate_sat_per_vb": feerate, "max_fee_sat": max_fee_sat}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/payments/{payment_id}/cancel", body)


@app.command()
def accelerate(
    name: Name,
    txid: Annotated[str, typer.Argument(metavar="TXID")],
    feerate: Feerate = None,
    max_fee_sat: FeeCap = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Have a transaction in the mempool mined sooner: a child of it pays for both."""
    body = {"feerate_sat_per_vb": feerate, "max_fee_sat": max_fee_sat}
    Remote(data_dir, config, json).post_and_show(_of(name, "transactions", txid, "accelerate"), body)


@app.command()
def label(
    name: Name,
    kind: Annotated[str, typer.Argument(metavar="tx|addr|pubkey|input|output|xpub")],
    ref: Annotated[str, typer.Argument(metavar="REFERENCE")],
    text: Annotated[str, typer.Argument(metavar="LABEL", help="Empty takes the label away.")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Say what a transaction, an address or a coin is."""
    body = {"labels": [{"type": kind, "ref": ref, "label": text}]}
    Remote(data_dir, config, json).post(_of(name, "labels"), body)


@app.command()
def labels(
    name: Name,
    export: Annotated[bool, typer.Option("--export", help="Print a BIP329 file.")] = False,
    import_file: Annotated[bool, typer.Option("--import", help="Read a BIP329 file from stdin.")] = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """The wallet's labels; as a BIP329 file, out and in."""
    remote = Remote(data_dir, config, json)
    if import_file:
        remote.post(_of(name, "labels", "import"), {"jsonl": text_on_stdin()})
    elif export:
        print(remote.get(_of(name, "labels", "export"))["jsonl"], end="")
    else:
        remote.show_items(_of(name, "labels"), ("type", "ref", "label", "spendable"))


@app.command()
def rescan(
    name: Name,
    from_height: Annotated[int, typer.Option("--from-height", min=0)] = 0,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Look through the chain again."""
    Remote(data_dir, config, json).post(_of(name, "rescan"), {"from_height": from_height})


@app.command()
def xpub(
    name: Name,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Such as m/48h/1h/0h/2h.")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """The extended public key at a path of the wallet's key, for descriptors of several signers."""
    Remote(data_dir, config, json).post_and_show(_of(name, "keys"), {"path": path})


@app.command("sign-message")
def sign_message(
    name: Name,
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="- for stdin.")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Sign a message by an address of the wallet (BIP322)."""
    body = {"address": address, "message": argument_or_stdin(message)}
    Remote(data_dir, config, json).post_and_show(_of(name, "messages"), body)


@app.command("verify-message")
def verify_message(
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    message: Annotated[str, typer.Argument(metavar="MESSAGE")],
    signature: Annotated[str, typer.Argument(metavar="SIGNATURE")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """What a signed message shows; an error if its signature does not hold."""
    body = {"address": address, "message": message, "signature": signature}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/messages/verify", body)
