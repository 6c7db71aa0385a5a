"""A SoftHSM2 token for tests, with its files in a folder of the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

LABEL: Final = "anya"
PIN: Final = "1234"
_MODULES: Final = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
)


def module_path() -> Path:
    """Where Debian puts the module; skips the test where it is absent."""
    pytest.importorskip("pkcs11")
    found = next((path for path in _MODULES if path.exists()), None)
    if found is None:
        pytest.skip("SoftHSM2 is absent")
    return found


@contextmanager
def token_in(folder: Path) -> Iterator[Path]:
    """A new token; the module finds it while the block lasts. Gives the module's path."""
    module = module_path()
    (folder / "tokens").mkdir()
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(configuration))
        pins = ["--pin", PIN, "--so-pin", "123456"]
        command = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, *pins]
        subprocess.run(command, check=True, capture_output=True)
        try:
            yield module
        finally:
            import pkcs11

            pkcs11.unload(str(module))
