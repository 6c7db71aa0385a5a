"""Options that many commands take, and the settings that they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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


def settings_of(data_dir: Path | None, config: Path | None, **flags: object) -> Settings:
    """The settings with these flags on top; ``api__port`` stands for ``api.port``."""
    from anya_actors.config import load_settings

    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    return load_settings(flags={"data_dir": data_dir, **dotted}, config_file=config)
