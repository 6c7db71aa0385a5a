"""``anya wallet psbt``: the rounds of partially signed transactions."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from anya_actors.cli.options import FeeCap, Feerate, Wallet, asking
from anya_actors.cli.remote import Remote, argument_or_stdin, at

BASE: Final = "/api/v1/wallet"

app = typer.Typer(help="Transactions that several sign.", no_args_is_help=True, rich_markup_mode=None)

Psbt = Annotated[str, typer.Argument(metavar="PSBT", help="Base64, - for stdin.")]


@app.command()
@asking
def create(
    remote: Remote,
    name: Wallet,
    to: Annotated[list[str], typer.Argument(metavar="ADDRESS=SATOSHIS...", help="Who is paid how much.")],
    feerate: Feerate = None,
    max_fee_sat: FeeCap = None,
    version: Annotated[int, typer.Option("--version", help="0 or 2.")] = 0,
    reserve: Annotated[bool, typer.Option("--reserve", help="Keep its coins from other payments.")] = False,
) -> None:
    """A PSBT that pays from the wallet's coins."""
    from anya_actors.cli.wallet import receiver

    body: dict[str, Any] = {"recipients": [receiver(one) for one in to], "version": version}
    body |= {"feerate_sat_per_vb": feerate, "max_fee_sat": max_fee_sat, "reserve": reserve}
    remote.post_and_show(at(BASE, "wallets", name, "psbts"), body)


@app.command()
@asking
def sign(remote: Remote, name: Wallet, psbt: Psbt, max_fee_sat: FeeCap = None) -> None:
    """Add what the wallet's key can give: signatures, MuSig2 nonces and parts."""
    body = {"psbt": argument_or_stdin(psbt), "max_fee_sat": max_fee_sat}
    remote.post_and_show(at(BASE, "wallets", name, "psbts", "sign"), body)


@app.command()
@asking
def combine(remote: Remote, psbts: Annotated[list[str], typer.Argument(metavar="PSBT...")]) -> None:
    """All fields of several PSBTs of one transaction."""
    remote.post_and_show(f"{BASE}/psbts/combine", {"psbts": psbts})


@app.command()
@asking
def finalize(remote: Remote, psbt: Psbt) -> None:
    """Finalise the inputs that can be."""
    body = {"psbt": argument_or_stdin(psbt)}
    remote.post_and_show(f"{BASE}/psbts/finalize", body)


@app.command()
@asking
def decode(
    remote: Remote,
    psbt: Psbt,
    wallet: Annotated[str | None, typer.Option("--wallet", help="The wallet that looks at it.")] = None,
) -> None:
    """What a PSBT does."""
    body = {"psbt": argument_or_stdin(psbt), "wallet": wallet}
    remote.post_and_show(f"{BASE}/psbts/decode", body)


@app.command()
@asking
def send(remote: Remote, psbt: Psbt, max_fee_sat: FeeCap = None) -> None:
    """Finalise a PSBT and hand its transaction to the node."""
    body = {"psbt": argument_or_stdin(psbt), "max_fee_sat": max_fee_sat}
    remote.post_and_show(f"{BASE}/psbts/send", body)
