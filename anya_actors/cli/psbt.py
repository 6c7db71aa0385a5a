"""``anya wallet psbt``: the rounds of partially signed transactions."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from anya_actors.cli.options import Config, DataDir, Json
from anya_actors.cli.remote import Remote, argument_or_stdin

BASE: Final = "/api/v1/wallet"

app = typer.Typer(help="Transactions that several sign.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="WALLET")]
Psbt = Annotated[str, typer.Argument(metavar="PSBT", help="Base64, - for stdin.")]
FeeCap = Annotated[int | None, typer.Option("--max-fee-sat", min=1, help="Refuse to pay a higher fee.")]


@app.command()
def create(
    name: Name,
    to: Annotated[list[str], typer.Argument(metavar="ADDRESS=SATOSHIS...", help="Who is paid how much.")],
    feerate: Annotated[int | None, typer.Option("--feerate", min=1, max=10_000)] = None,
    max_fee_sat: FeeCap = None,
    version: Annotated[int, typer.Option("--version", help="0 or 2.")] = 0,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """A PSBT that pays from the wallet's coins."""
    from anya_actors.cli.wallet import receiver

    body: dict[str, Any] = {"recipients": [receiver(one) for one in to], "version": version}
    body |= {"feerate_sat_per_vb": feerate, "max_fee_sat": max_fee_sat}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/wallets/{name}/psbts", body)


@app.command()
def sign(
    name: Name,
    psbt: Psbt,
    max_fee_sat: FeeCap = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Add what the wallet's key can give: signatures, MuSig2 nonces and parts."""
    body = {"psbt": argument_or_stdin(psbt), "max_fee_sat": max_fee_sat}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/wallets/{name}/psbts/sign", body)


@app.command()
def combine(
    psbts: Annotated[list[str], typer.Argument(metavar="PSBT...")],
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """All fields of several PSBTs of one transaction."""
    Remote(data_dir, config, json).post_and_show(f"{BASE}/psbts/combine", {"psbts": psbts})


@app.command()
def finalize(psbt: Psbt, data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Finalise the inputs that can be."""
    body = {"psbt": argument_or_stdin(psbt)}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/psbts/finalize", body)


@app.command()
def decode(
    psbt: Psbt,
    wallet: Annotated[str | None, typer.Option("--wallet", help="The wallet that looks at it.")] = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """What a PSBT does."""
    body = {"psbt": argument_or_stdin(psbt), "wallet": wallet}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/psbts/decode", body)


@app.command()
def send(
    psbt: Psbt,
    max_fee_sat: FeeCap = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Finalise a PSBT and hand its transaction to the node."""
    body = {"psbt": argument_or_stdin(psbt), "max_fee_sat": max_fee_sat}
    Remote(data_dir, config, json).post_and_show(f"{BASE}/psbts/send", body)
