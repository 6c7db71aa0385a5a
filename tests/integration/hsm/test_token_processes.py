"""Several processes at one SoftHSM2 token: they sign while another makes and destroys keys."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.keys.secret import Secret
from anya_actors.domain.machine import UnavailableError
from tests.integration.hsm.softhsm import LABEL, PIN, token_in

SIGNATURES = 200
KEY_TYPES = ("ed25519", "secp256k1")
ALGORITHMS = {"ed25519": "ed25519", "secp256k1": "ecdsa-secp256k1-sha256"}


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with token_in(tmp_path_factory.mktemp("softhsm")) as path:
        yield path


def opened(module: Path, pin: str = PIN, *, writing: bool = False) -> Any:
    from anya_actors.adapters.pkcs11.algorithms import TokenKeyAlgorithms
    from anya_actors.adapters.pkcs11.token import open_token

    return TokenKeyAlgorithms(open_token(module, LABEL, lambda: pin, writing=writing), SystemRandomness())


def sign(module: Path, key_type: str, handle: bytes) -> list[bytes]:
    """Signatures by a key of the token, each by the key found anew, as another session would."""
    token = opened(module)
    messages = [number.to_bytes(2, "big") for number in range(SIGNATURES)]
    return [token.load(key_type, Secret(handle)).sign(each, ALGORITHMS[key_type]) for each in messages]


def try_pin(module: Path, pin: str) -> str:
    """Why the token does not let in."""
    try:
        opened(module, pin)
    except UnavailableError as error:
        return str(error)
    return ""


def test_two_processes_sign_while_a_third_makes_and_destroys_keys(module: Path) -> None:
    token, outside = opened(module, writing=True), LibraryKeyAlgorithms(SystemRandomness())
    handles = {key_type: token.generate(key_type) for key_type in KEY_TYPES}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        signing = {
            key_type: pool.submit(sign, module, key_type, handle.reveal())
            for key_type, handle in handles.items()
        }
        made = 0
        while not all(each.done() for each in signing.values()):
            token.discard(token.generate("p256"))
            made += 1
        signed = {key_type: each.result() for key_type, each in signing.items()}
    assert made > 0
    for key_type, signatures in signed.items():
        public_key = token.load(key_type, handles[key_type]).public_key
        for number, signature in enumerate(signatures):
            message = number.to_bytes(2, "big")
            outside.verify(key_type, public_key, message, signature, ALGORITHMS[key_type])


def test_a_wrong_pin_is_told_and_the_right_one_still_opens(module: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert "refuses the PIN" in pool.submit(try_pin, module, "9999").result()
        assert pool.submit(try_pin, module, PIN).result() == ""


def test_a_session_that_reads_makes_no_key(module: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert "SessionReadOnly" in pool.submit(try_making, module).result()


def try_making(module: Path) -> str:
    """Why a session that reads makes no key."""
    try:
        opened(module).generate("p256")
    except UnavailableError as error:
        return str(error)
    return ""


def test_what_was_opened_before_a_fork_is_refused_after_it(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = opened(module)
    monkeypatch.setattr("os.getpid", lambda: 1)
    with pytest.raises(UnavailableError, match="another process"):
        token.generate("p256")
