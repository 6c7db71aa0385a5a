"""``anya wallet``: wallets, coins, payments and messages, through the HTTP API of a running platform."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

import typer

from anya_actors.cli import psbt
from anya_actors.cli.options import FeeCap, Feerate, Wallet, asking
from anya_actors.cli.remote import Remote, argument_or_stdin, at, text_on_stdin

BASE: Final = "/api/v1/wallet"

app = typer.Typer(help="Wallets, coins, payments and messages.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(psbt.app, name="psbt")

PaymentId = Annotated[str, typer.Argument(metavar="PAYMENT_ID")]
_KEY: Final = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,128}")  # of an HTTP header
_PAYMENT: Final = ("payment_id", "phase", "amount_sat", "fee_sat", "confirmations", "txid")


def _of(name: str, *rest: str) -> str:
    return at(BASE, "wallets", name, *rest)


def _payment(payment_id: str, *rest: str) -> str:
    return at(BASE, "payments", payment_id, *rest)


def _fees(feerate: int | None, max_fee_sat: int | None) -> dict[str, Any]:
    return {"feerate_sat_per_vb": feerate, "max_fee_sat": max_fee_sat}


@app.command()
@asking
def create(
    remote: Remote,
    name: Wallet,
    kind: Annotated[str, typer.Option("--kind", help="wpkh, tr, sh-wpkh or pkh.")] = "wpkh",
    descriptor: Annotated[str, typer.Option("--descriptor", help="Instead: an output descriptor.")] = "",
    change_descriptor: Annotated[str, typer.Option("--change-descriptor")] = "",
    key: Annotated[str, typer.Option("--key", help="The HSM's key among the descriptor's.")] = "",
    birth_height: Annotated[int | None, typer.Option("--birth-height", min=0)] = None,
) -> None:
    """Make a wallet under a new key in the HSM, or one of descriptors."""
    body: dict[str, Any] = {"name": name, "kind": kind, "descriptor": descriptor, "key": key}
    body |= {"change_descriptor": change_descriptor, "birth_height": birth_height}
    remote.post_and_show(f"{BASE}/wallets", body)


@app.command("list")
@asking
def list_wallets(remote: Remote) -> None:
    """Every wallet."""
    columns = ("name", "network", "address", "synced_height")
    remote.show_items(f"{BASE}/wallets", columns)


@app.command()
@asking
def backup(remote: Remote, name: Wallet) -> None:
    """The descriptors of a wallet: with the HSM's key, all that finds and spends its coins."""
    wallet = remote.get(_of(name))
    remote.show_record({"name": wallet["name"], "network": wallet["network"], **(wallet["account"] or {})})


@app.command()
@asking
def address(
    remote: Remote,
    name: Wallet,
    change: Annotated[bool, typer.Option("--change", help="One of the change branch.")] = False,
) -> None:
    """An address that was never given out."""
    remote.post_and_show(_of(name, "addresses"), {"change": change})


@app.command("silent-address")
@asking
def silent_address(remote: Remote, name: Wallet) -> None:
    """The silent payment address of the wallet, which may be published (BIP352)."""
    remote.post_and_show(_of(name, "silent-address"), {})


@app.command()
@asking
def addresses(remote: Remote, name: Wallet) -> None:
    """Every address given out or paid."""
    remote.show_items(_of(name, "addresses"), ("place", "change", "address", "path"))


@app.command()
@asking
def balance(remote: Remote, name: Wallet) -> None:
    """What the wallet has, in satoshis."""
    remote.show(_of(name, "balance"))


@app.command()
@asking
def utxos(remote: Remote, name: Wallet) -> None:
    """The wallet's coins."""
    columns = ("outpoint", "amount_sat", "confirmations", "reserved", "frozen", "label")
    remote.show_items(_of(name, "coins"), columns)


@app.command()
@asking
def freeze(
    remote: Remote,
    name: Wallet,
    outpoints: Annotated[list[str], typer.Argument(metavar="OUTPOINT...")],
    thaw: Annotated[bool, typer.Option("--thaw", help="Let them be spent again.")] = False,
) -> None:
    """Keep coins from being spent."""
    remote.post(_of(name, "coins", "freeze"), {"outpoints": outpoints, "frozen": not thaw})


@app.command()
@asking
def send(
    remote: Remote,
    name: Wallet,
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
) -> None:
    """Pay one or several addresses by one transaction."""
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise typer.BadParameter(
            "1 to 128 letters, digits and signs, without spaces", param_hint="--idempotency-key"
        )
    body = {
        "recipients": [receiver(one, send_all=send_all) for one in to],
        **_fees(feerate, max_fee_sat),
        "inputs": coin or [],
        "only_inputs": only_coins,
        "subtract_fee": subtract_fee,
        "send_all": send_all,
    }
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
@asking
def payments(remote: Remote, name: Wallet) -> None:
    """The wallet's payments."""
    remote.show_items(_of(name, "payments"), _PAYMENT)


@app.command()
@asking
def payment(remote: Remote, payment_id: PaymentId) -> None:
    """How far a payment has come."""
    remote.show(_payment(payment_id))


@app.command()
@asking
def bump(remote: Remote, payment_id: PaymentId, feerate: Feerate = None, max_fee_sat: FeeCap = None) -> None:
    """Raise the fee of a payment in the mempool."""
    remote.post_and_show(_payment(payment_id, "bump"), _fees(feerate, max_fee_sat))


@app.command()
@asking
def cancel(
    remote: Remote, payment_id: PaymentId, feerate: Feerate = None, max_fee_sat: FeeCap = None
) -> None:
    """Take a payment in the mempool back."""
    remote.post_and_show(_payment(payment_id, "cancel"), _fees(feerate, max_fee_sat))


@app.command()
@asking
def accelerate(
    remote: Remote,
    name: Wallet,
    txid: Annotated[str, typer.Argument(metavar="TXID")],
    feerate: Feerate = None,
    max_fee_sat: FeeCap = None,
) -> None:
    """Have a transaction in the mempool mined sooner: a child of it pays for both."""
    remote.post_and_show(_of(name, "transactions", txid, "accelerate"), _fees(feerate, max_fee_sat))


@app.command()
@asking
def label(
    remote: Remote,
    name: Wallet,
    kind: Annotated[str, typer.Argument(metavar="tx|addr|pubkey|input|output|xpub")],
    ref: Annotated[str, typer.Argument(metavar="REFERENCE")],
    text: Annotated[str, typer.Argument(metavar="LABEL", help="Empty takes the label away.")],
) -> None:
    """Say what a transaction, an address or a coin is."""
    body = {"labels": [{"type": kind, "ref": ref, "label": text}]}
    remote.post(_of(name, "labels"), body)


@app.command()
@asking
def labels(
    remote: Remote,
    name: Wallet,
    export: Annotated[bool, typer.Option("--export", help="Print a BIP329 file.")] = False,
    import_file: Annotated[bool, typer.Option("--import", help="Read a BIP329 file from stdin.")] = False,
) -> None:
    """The wallet's labels; as a BIP329 file, out and in."""
    if import_file:
        remote.post(_of(name, "labels", "import"), {"jsonl": text_on_stdin()})
    elif export:
        print(remote.get(_of(name, "labels", "export"))["jsonl"], end="")
    else:
        remote.show_items(_of(name, "labels"), ("type", "ref", "label", "spendable"))


@app.command()
@asking
def rescan(
    remote: Remote, name: Wallet, from_height: Annotated[int, typer.Option("--from-height", min=0)] = 0
) -> None:
    """Look through the chain again."""
    remote.post(_of(name, "rescan"), {"from_height": from_height})


@app.command()
@asking
def xpub(
    remote: Remote,
    name: Wallet,
    path: Annotated[str, typer.Argument(metavar="PATH", help="Such as m/48h/1h/0h/2h.")],
) -> None:
    """The extended public key at a path of the wallet's key, for descriptors of several signers."""
    remote.post_and_show(_of(name, "keys"), {"path": path})


@app.command("sign-message")
@asking
def sign_message(
    remote: Remote,
    name: Wallet,
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    message: Annotated[str, typer.Argument(metavar="MESSAGE", help="- for stdin.")],
) -> None:
    """Sign a message by an address of the wallet (BIP322)."""
    body = {"address": address, "message": argument_or_stdin(message)}
    remote.post_and_show(_of(name, "messages"), body)


@app.command("verify-message")
@asking
def verify_message(
    remote: Remote,
    address: Annotated[str, typer.Argument(metavar="ADDRESS")],
    message: Annotated[str, typer.Argument(metavar="MESSAGE")],
    signature: Annotated[str, typer.Argument(metavar="SIGNATURE")],
) -> None:
    """What a signed message shows; an error if its signature does not hold."""
    body = {"address": address, "message": message, "signature": signature}
    remote.post_and_show(f"{BASE}/messages/verify", body)
