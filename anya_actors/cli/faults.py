"""What can keep a platform from starting or a command from answering, and its exit code."""

from __future__ import annotations

from typing import Final

from anya_actors.domain.machine import AnyaError


class DataDirectoryLockedError(AnyaError):
    """A living platform uses this data directory."""

    code = "data-directory-locked"
    message = "{} is in use by the platform with process id {}"
    remedy = "Stop that one with 'anya down', or choose another --data-dir."

    def __init__(self, data_dir: str, pid: int) -> None:
        super().__init__(data_dir, pid)


class DataDirectoryError(AnyaError):
    """The data directory cannot be written."""

    code = "data-directory"
    message = "the data directory {} cannot be used: {}"
    remedy = "Choose a writable place with --data-dir."

    def __init__(self, data_dir: str, reason: str) -> None:
        super().__init__(data_dir, reason)


class MissingPassphraseError(AnyaError):
    """The HSM has been sealed before, and the file that unseals it is gone."""

    code = "missing-passphrase"
    message = "{} is missing, and {} was sealed with it"
    remedy = "Put the passphrase file back; without it the keys cannot be opened by anyone."

    def __init__(self, passphrase_file: str, data_dir: str) -> None:
        super().__init__(passphrase_file, data_dir)


class RayBootError(AnyaError):
    """Ray did not start."""

    code = "ray-boot"
    message = "Ray did not start in {} attempts: {}"
    remedy = "Run 'anya doctor' for memory and disk space; on a busy machine start again."

    def __init__(self, attempts: int, reason: str) -> None:
        super().__init__(attempts, reason)


class NotRunningError(AnyaError):
    """No platform runs on this data directory."""

    code = "not-running"
    message = "no platform runs on {}"
    remedy = "Start one with 'anya up', or name its --data-dir."

    def __init__(self, data_dir: str) -> None:
        super().__init__(data_dir)


class StillStartingError(AnyaError):
    """The platform is there and not ready yet."""

    code = "still-starting"
    message = "the platform on {} is still starting"
    remedy = "Wait until 'anya up' says that it is ready."

    def __init__(self, data_dir: str) -> None:
        super().__init__(data_dir)


class NoAdminTokenError(AnyaError):
    """The platform runs, and has no token for the administrator: its HSM was sealed before it started."""

    code = "no-admin-token"
    message = "the platform on {} started with its HSM sealed, so no token could be made"
    remedy = "Unseal it with a token that was made before, or start it again with 'anya up --unseal'."

    def __init__(self, data_dir: str) -> None:
        super().__init__(data_dir)


class NotAnsweringError(AnyaError):
    """The platform runs, and its HTTP door gives no answer or one we do not understand."""

    code = "not-answering"
    message = "{} does not answer as it should: {}"
    remedy = (
        "Check --api if you gave it; else see the logs that 'anya up' named, or start the platform again."
    )

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)


class RefusedError(AnyaError):
    """The platform answered with a problem document (RFC 9457); its own words are passed on."""

    code = "refused"
    message = "the platform refused with status {} ({}): {}"
    remedy = "Do what its answer says, then try again."

    def __init__(self, status: int, problem: str, detail: str, remedy: str = "") -> None:
        super().__init__(status, problem, detail, remedy)
        if remedy:
            self.remedy = remedy  # type: ignore[misc]  # the platform's own, in the place of the class's
        self.status = status
        self.problem = problem


class UnforeseenError(AnyaError):
    """A fault of ours that no other error names."""

    code = "unforeseen"
    message = "{}: {}"
    remedy = "Please report it with the last lines of log/launcher.log in the data directory."

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(kind, reason)


class CommandFaultError(AnyaError):
    """A command met an error of Python's that nobody foresaw. Its text is not shown: it may hold a secret."""

    code = "fault"
    message = "{} at {}"
    remedy = "This is a fault of ours: please report it with the command that met it."

    def __init__(self, kind: str, place: str) -> None:
        super().__init__(kind, place)


class StuckPlatformError(AnyaError):
    """The platform was asked to stop and still runs."""

    code = "stuck"
    message = "the platform with process id {} still runs after {} s"
    remedy = "Use 'anya down --force': everything it has acknowledged is on disk."

    def __init__(self, pid: int, waited_s: float) -> None:
        super().__init__(pid, waited_s)


class InterruptedStartError(AnyaError):
    """Ctrl-C or SIGTERM came before the platform was ready."""

    code = "interrupted"
    message = "stopped before the platform was ready"
    remedy = "Start it again with 'anya up'."


# 1 is every other error and 2 is typer's for a wrong command line.
EXIT_CODES: Final = {
    "invalid-settings": 3,
    "data-directory-locked": 4,
    "busy-port": 5,
    "wrong-passphrase": 6,
    "missing-passphrase": 6,
    "secret-file": 6,
    "not-running": 7,
    "still-starting": 7,
    "interrupted": 130,
}
FORCED: Final = 130


def exit_code(error: AnyaError) -> int:
    """The exit code that tells a script which error ended the command."""
    return EXIT_CODES.get(error.code, 1)
