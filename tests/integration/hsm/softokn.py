"""NSS's software token, the one of Firefox, with its files in a folder of the test."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.hsm.softhsm import LABEL, PIN

_SOURCE: Final = Path(__file__).with_name("softokn_params.c")
LACKS: Final = frozenset({"ed25519", "secp256k1", "x25519", "aes128-gcm", "aes256-gcm"})
"""Curves that it has not; and python-pkcs11 takes too small a buffer of it for AES-GCM's tag."""


@contextmanager
def softokn_in(folder: Path) -> Iterator[Path]:
    """A new token, as `softhsm.token_in`; skips the test without libnss3 or a C compiler."""
    pkcs11: Any = pytest.importorskip("pkcs11")
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a C compiler is absent")
    try:
        ctypes.CDLL("libsoftokn3.so")
    except OSError:
        pytest.skip("NSS's libsoftokn3.so is absent")
    module, files = folder / "softokn.so", folder / "nss"
    files.mkdir()
    command = [compiler, "-shared", "-fPIC", "-o", str(module), str(_SOURCE), "-ldl"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        names = f"configdir='sql:{files}' certPrefix='' keyPrefix='' secmod='secmod.db'"
        patch.setenv("ANYA_SOFTOKN", f"{names} dbTokenDescription='{LABEL}' flags= minPW={len(PIN)}")
        token = pkcs11.lib(str(module)).get_token(token_label=LABEL)
        with token.open(so_pin="", rw=True) as session:
            session.init_pin(PIN)
        try:
            yield module
        finally:
            pkcs11.unload(str(module))
