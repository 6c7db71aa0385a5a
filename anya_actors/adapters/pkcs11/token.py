"""A PKCS#11 token as one process has it open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pkcs11
from pkcs11 import Mechanism, TokenFlag

from anya_actors.domain.machine import NotSupportedError, UnavailableError

NAME: Final = "the PKCS#11 token"
LOST: Final = (
    *(pkcs11.DeviceError, pkcs11.DeviceRemoved, pkcs11.TokenNotPresent),
    *(pkcs11.SessionHandleInvalid, pkcs11.SessionClosed, pkcs11.UserNotLoggedIn),
)
"""After these the session is of no use any more."""
_LAST_TRY: Final = TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED


class Token:
    """One session with a token, logged in, for the threads of one process in turn.

    A module does not survive a fork: each process opens the token by itself. A token that was taken
    away is opened again by the next call; ``opened`` counts, for what was found before is then void.
    """

    def __init__(self, log_in: Callable[[], Any]) -> None:
        self._log_in = log_in
        self._session: Any = log_in()
        self._process = os.getpid()
        self._turn = threading.RLock()
        self.opened = 1
        self.mechanisms: frozenset[Mechanism] = frozenset(self._session.token.slot.get_mechanisms())

    @contextmanager
    def session(self) -> Iterator[Any]:
        """The session, while nobody else has it. What the token raises inside is `UnavailableError`."""
        if os.getpid() != self._process:
            raise UnavailableError(NAME, "it was opened by another process")
        with self._turn:
            try:
                if self._session is None:
                    self._session = self._log_in()
                    self.opened += 1
                yield self._session
            except pkcs11.PKCS11Error as error:
                if isinstance(error, LOST):
                    self._session = None
                raise UnavailableError(NAME, type(error).__name__) from None

    def close(self) -> None:
        """End the session."""
        with self.session() as session:
            session.close()


def open_token(module: Path, label: str, pin: Callable[[], str], *, writing: bool, serial: str = "") -> Token:
    """Log in to the token of this label (and serial number); only ``writing`` sessions make keys.

    Raises `UnavailableError`. A token that would lock itself at the next wrong PIN is left alone:
    whoever starts this process again and again must not use up the last try.
    """
    return Token(lambda: _logged_in(module, label, serial, pin(), writing))


def _logged_in(module: Path, label: str, serial: str, pin: str, writing: bool) -> Any:
    try:
        library: Any = pkcs11.lib(str(module))
        token = library.get_token(token_label=label, token_serial=serial.encode() or None)
        if token.flags & _LAST_TRY:
            raise UnavailableError(NAME, "one more wrong PIN locks it, or it is locked: log in by hand first")
        try:
            return token.open(user_pin=pin, rw=writing)
        except pkcs11.UserAlreadyLoggedIn:  # by another session of this process
            return token.open(rw=writing)
    except pkcs11.NoSuchToken:
        raise UnavailableError(NAME, f"{module} shows none that is labelled {label!r}") from None
    except pkcs11.MultipleTokensReturned:
        raise UnavailableError(NAME, f"{module} shows several that are labelled {label!r}") from None
    except pkcs11.PinIncorrect:
        raise UnavailableError(NAME, "it refuses the PIN of hsm.pkcs11_pin_file") from None
    except pkcs11.PKCS11Error as error:
        raise UnavailableError(NAME, f"{type(error).__name__} from {module}") from None


def check_mechanisms(token: Token, what: str, *needed: Mechanism) -> None:
    """Raise `NotSupportedError` unless the token has these mechanisms."""
    missing = [each.name for each in needed if each not in token.mechanisms]
    if missing:
        raise NotSupportedError(f"{what} in this token", f"it lacks {', '.join(missing)}")
