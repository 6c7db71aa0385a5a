"""Options that many commands take, and the settings that they lead to."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anya_actors.config import Settings

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="PATH", help="Where the platform keeps everything.")
]
Config = Annotated[
    Path | None, typer.Option("--config", metavar="PATH", help="The settings file, anya.toml.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="Your own access token, instead of the platform's."),
]
Api = Annotated[
    str | None,
    typer.Option("--api", metavar="URL", help="Where the HTTP API is, with --token-file; else here."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object per line, for programs.")]

Wallet = Annotated[str, typer.Argument(metavar="WALLET")]
Feerate = Annotated[int | None, typer.Option("--feerate", min=1, max=10_000, help="Satoshis a virtual byte.")]
FeeCap = Annotated[int | None, typer.Option("--max-fee-sat", min=1, help="Refuse to pay a higher fee.")]


def of_platform(
    *, data_dir: DataDir = None, config: Config = None, json: Json = False
) -> tuple[Path | None, Path | None, bool]:
    """The options of every command that asks a platform: which one, and how its answer is printed."""
    return data_dir, config, json


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its ``remote``, made of the options of `of_platform`, which it then takes too."""

    @functools.wraps(command)
    def asked(**given: Any) -> None:
        from anya_actors.cli.remote import Remote

        shared = {name: given.pop(name) for name in _SHARED}
        command(Remote(*of_platform(**shared)), **given)

    own = inspect.signature(command, eval_str=True).parameters.values()
    parameters = [each for each in own if each.name != "remote"] + list(_SHARED.values())
    keyword = inspect.Parameter.KEYWORD_ONLY
    # typer reads both.
    asked.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [each.replace(kind=keyword) for each in parameters]
    )
    asked.__annotations__ = {each.name: each.annotation for each in parameters}
    return asked


_SHARED = inspect.signature(of_platform, eval_str=True).parameters


def settings_of(data_dir: Path | None, config: Path | None, **flags: object) -> Settings:
    """The settings with these flags on top; ``api__port`` stands for ``api.port``."""
    from anya_actors.config import load_settings

    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(flags={"data_dir": data_dir, **dotted}, config_file=config)
