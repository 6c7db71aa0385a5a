"""Where users' keys are: in software, or in a PKCS#11 token."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from anya_actors.adapters.files.secret_file import read_secret_file
from anya_actors.config import HsmSettings
from anya_actors.domain.keys.pkcs11_uri import TokenUri, parse_token_uri
from anya_actors.domain.machine import NotSupportedError
from anya_actors.ports.randomness import Randomness

if TYPE_CHECKING:
    from anya_actors.ports.key_algorithms import KeyAlgorithms


def token_modules(settings: HsmSettings) -> tuple[str, ...]:
    """What a process that will open the token can load before."""
    chosen = settings.backend == "pkcs11" and importlib.util.find_spec("pkcs11") is not None
    return ("anya_actors.adapters.pkcs11.algorithms",) if chosen else ()


def open_keys(settings: HsmSettings, randomness: Randomness, *, writing: bool) -> KeyAlgorithms:
    """The libraries, or the token, which each process opens by itself.

    Raises `UnavailableError` for a token that does not open, and `SecretFileError` for its PIN.
    """
    from anya_actors.adapters.keys.library import LibraryKeyAlgorithms

    if settings.backend == "software":
        return LibraryKeyAlgorithms(randomness)
    try:
        from anya_actors.adapters.pkcs11.algorithms import TokenKeyAlgorithms
        from anya_actors.adapters.pkcs11.token import open_token
    except ImportError:
        raise NotSupportedError("a PKCS#11 token", "install anya-actors[pkcs11]") from None
    way = _way(settings)
    token = open_token(
        Path(way.module),
        way.token,
        lambda: read_secret_file(Path(way.pin_file)).reveal(),
        serial=way.serial,
        writing=writing,
    )
    return TokenKeyAlgorithms(token, randomness)


def _way(settings: HsmSettings) -> TokenUri:
    if settings.pkcs11_uri is not None:
        return parse_token_uri(settings.pkcs11_uri)
    return TokenUri(str(settings.pkcs11_token), str(settings.pkcs11_module), str(settings.pkcs11_pin_file))
