"""A PKCS#11 token as one process has it open."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pkcs11
from pkcs11 import Mechanism, TokenFlag

from anya_actors.domain.machine import NotSupportedError, UnavailableError

NAME: Final = "the PKCS#11 token"
_LAST_TRY: Final = TokenFlag.USER_PIN_FINAL_TRY | TokenFlag.USER_PIN_LOCKED


class Token:
    """One session with a token, logged in, for the threads of one process in turn.

    A module does not survive a fork: each process opens the token by itself.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self._process = os.getpid()
        self._turn = threading.RLock()
        self.mechanisms: frozenset[Mechanism] = frozenset(session.token.slot.get_mechanisms())

    @contextmanager
    def session(self) -> Iterator[Any]:
        """The session, while nobody else has it. What the token raises inside is `UnavailableError`."""
        if os.getpid() != self._process:
            raise UnavailableError(NAME, "it was opened by another process")
        with self._turn:
            try:
                yield self._session
            except pkcs11.PKCS11Error as error:
                raise UnavailableError(NAME, type(error).__name__) from None

    def close(self) -> None:
        """End the session."""
        with self.session() as session:
            session.close()


def open_token(module: Path, label: str, pin: str, *, writing: bool, serial: str = "") -> Token:
    """Log in to the token of this label (and serial number); only ``writing`` sessions make keys.

    Raises `UnavailableError`. A token that would lock itself at the next wrong PIN is left alone:
    whoever starts this process again and again must not use up the last try.
    """
    try:
        library: Any = pkcs11.lib(str(module))
        token = library.get_token(token_label=label, token_serial=serial.encode() or None)
        if token.flags & _LAST_TRY:
            raise UnavailableError(NAME, "one more wrong PIN locks it, or it is locked: log in by hand first")
        try:
            return Token(token.open(user_pin=pin, rw=writing))
        except pkcs11.UserAlreadyLoggedIn:  # by another session of this process
            return Token(token.open(rw=writing))
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
