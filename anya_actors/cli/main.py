"""The command ``anya``. Parses arguments; what a command does is imported when it runs.

Exit codes: 0 done; 1 an error, named on standard error; 2 a wrong command line; 3 wrong settings;
4 the data directory is in use; 5 the port is taken; 6 the passphrase is wrong, missing or readable
by others; 7 no platform runs (or it is still starting); 130 interrupted or forced.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anya_actors import __version__
from anya_actors.cli import bitcoin, hsm, hsm_access, wallet
from anya_actors.cli.options import Config, DataDir, Json, settings_of

if TYPE_CHECKING:
    from anya_actors.domain.machine import AnyaError

app = typer.Typer(
    name="anya",
    help="A durable actor platform for building on Bitcoin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its help costs 0.16 s of imports
)
token_app = typer.Typer(help="Access tokens for the HTTP API.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(token_app, name="token")
app.add_typer(bitcoin.app, name="bitcoin")
app.add_typer(wallet.app, name="wallet")
app.add_typer(hsm.app, name="hsm")
hsm.app.add_typer(hsm_access.client_app, name="client")


def main() -> None:
    """The entry point: errors of ours end in one line and an exit code, never in a traceback."""
    from anya_actors.domain.machine import AnyaError

    try:
        app()
    except AnyaError as error:
        from anya_actors.cli.faults import exit_code
        from anya_actors.cli.output import print_error

        print_error(error)
        sys.exit(exit_code(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Whoever read our output has gone (``anya status | head``); that is no error of ours.
        sys.stderr.close()
        sys.exit(0)
    except Exception as error:  # noqa: BLE001 - what nobody foresaw ends in a sentence too
        from anya_actors.cli.output import print_error

        print_error(_fault(error))
        sys.exit(1)


def _fault(error: Exception) -> AnyaError:
    from traceback import extract_tb

    from anya_actors.cli.faults import CommandFaultError
    from anya_actors.domain.machine import InvalidInputError

    if isinstance(error, UnicodeError):
        return InvalidInputError("what was given", "it is not text in UTF-8")
    place = extract_tb(error.__traceback__)[-1]
    return CommandFaultError(type(error).__name__, f"{Path(place.filename).name}:{place.lineno}")


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


@app.command()
def up(
    data_dir: DataDir = None,
    config: Config = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port of the HTTP API; 0 takes a free one.")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option("--cluster", metavar="ADDRESS", help="Join the Ray cluster at this address.")
    ] = None,
    unseal: Annotated[
        bool, typer.Option("--unseal", help="Unseal the HSM, if it was sealed before.")
    ] = False,
    json: Json = False,
) -> None:
    """Start the platform; print its addresses when it is ready. Ctrl-C stops it cleanly."""
    from anya_actors.cli.output import progress
    from anya_actors.cli.platform import start_platform
    from anya_actors.cli.up import run

    settings = settings_of(data_dir, config, api__port=port, ray__address=cluster)
    raise typer.Exit(run(settings, progress(as_json_lines=json), start_platform, unseal=unseal))


@app.command()
def down(
    data_dir: DataDir = None,
    config: Config = None,
    force: Annotated[bool, typer.Option("--force", help="Do not wait for what is in flight.")] = False,
) -> None:
    """Stop the platform of a data directory and wait until nothing of it is left."""
    from anya_actors.cli.down import stop_platform

    stop_platform(settings_of(data_dir, config), force=force)


@app.command()
def status(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Show the supervision tree: every actor, its process, its restarts."""
    from anya_actors.cli.output import for_terminal
    from anya_actors.cli.status import show_status

    show_status(settings_of(data_dir, config), as_json_lines=json or not for_terminal())


@app.command()
def demo(json: Json = False) -> None:
    """Take the tour: a platform in a temporary directory does real work and is killed at it."""
    from anya_actors.cli.demo.tour import take_tour

    raise typer.Exit(take_tour(as_json_lines=json))


@app.command()
def doctor(data_dir: DataDir = None, config: Config = None, json: Json = False) -> None:
    """Check whether this machine can run a platform."""
    from anya_actors.cli.doctor import examine
    from anya_actors.cli.output import for_terminal

    raise typer.Exit(examine(settings_of(data_dir, config), as_json_lines=json or not for_terminal()))


@token_app.command("create")
def token_create(
    scopes: Annotated[
        str, typer.Option("--scopes", help="What it allows, separated by commas or spaces.")
    ] = "",
    role: Annotated[
        list[str] | None, typer.Option("--role", help="A set of scopes, like signer or auditor; repeatable.")
    ] = None,
    ttl: Annotated[int, typer.Option("--ttl", min=1, help="How long it is valid, in seconds.")] = 3600,
    subject: Annotated[str, typer.Option("--subject", help="Whose token it is.")] = "cli",
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """Print an access token and nothing else."""
    from anya_actors.cli.token import create_token

    wanted = tuple(scopes.replace(",", " ").split()), tuple(role or ())
    if not any(wanted):
        raise typer.BadParameter("name --scopes or --role")
    print(create_token(settings_of(data_dir, config), *wanted, ttl_s=ttl, subject=subject))


@token_app.command("revoke")
def token_revoke(
    token_id: Annotated[str, typer.Option("--id", help="The token with this id (its jti).")] = "",
    subject: Annotated[
        str, typer.Option("--subject", help="All that was issued to this subject or client until now.")
    ] = "",
    data_dir: DataDir = None,
    config: Config = None,
) -> None:
    """End tokens; without an option, the one on standard input. Done when no door takes them any more."""
    from anya_actors.cli.remote import argument_or_stdin
    from anya_actors.cli.token import revoke_tokens

    if token_id and subject:
        raise typer.BadParameter("name --id or --subject")
    what = {"token_id": token_id, "subject": subject}
    if not token_id and not subject:
        what["token"] = argument_or_stdin("-")
    revoke_tokens(settings_of(data_dir, config), {name: value for name, value in what.items() if value})


@token_app.command("rotate-key")
def token_rotate_key(
    revoke: Annotated[
        bool, typer.Option("--revoke", help="End every token from before, the platform's own too.")
    ] = False,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Sign access tokens by a new key. After --revoke, start the platform again to use this command line."""
    from anya_actors.cli.show import show_one
    from anya_actors.cli.token import rotate_token_key

    made = rotate_token_key(settings_of(data_dir, config), revoke=revoke)
    show_one(made, as_json_lines=json)


if __name__ == "__main__":
    main()
