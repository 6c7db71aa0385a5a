"""The whole HSM with its users' keys in a SoftHSM2 token."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.bootstrap.builders import HsmSessionBuilder
from anya_actors.bootstrap.keys import open_keys
from anya_actors.cli.doctor import findings
from anya_actors.config import Settings, load_settings
from anya_actors.domain.hsm.errors import KeyExistsError, UnknownKeyError, WaitingPeriodError
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.hsm.slots import KeyPlan
from anya_actors.domain.keys.operations import (
    AgreeRequest,
    DecryptRequest,
    EncryptRequest,
    MacRequest,
    SignRequest,
)
from anya_actors.domain.machine import InvalidInputError, NotSupportedError
from anya_actors.ports.key_algorithms import AgreeingKey
from anya_actors.services.hsm import HsmService
from anya_actors.services.hsm.importing import import_key
from anya_actors.services.hsm_session import HsmSessionService
from anya_actors.testing.clock import ManualClock
from anya_actors.testing.local_hsm import LocalHsm
from tests.integration.hsm.softhsm import LABEL, PIN, token_in

ALL = ("decrypt", "encrypt", "sign", "verify")
OUTSIDE = LibraryKeyAlgorithms(SystemRandomness())
DIGEST = bytes(range(32))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    folder = tmp_path_factory.mktemp("softhsm")
    pin_file = folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(PIN)
    with token_in(folder) as module:
        names = {"backend": "pkcs11", "pkcs11_token": LABEL}
        files = {"pkcs11_module": str(module), "pkcs11_pin_file": str(pin_file)}
        flags = {f"hsm.{name}": value for name, value in {**names, **files}.items()}
        yield load_settings(flags=flags, environ={"HOME": str(folder), "ANYA_DATA_DIR": str(folder / "data")})


@pytest.fixture(scope="module")
def algorithms(settings: Settings) -> Any:
    return open_keys(settings.hsm, SystemRandomness(), writing=True)


@pytest.fixture
async def bench(algorithms: Any) -> AsyncIterator[LocalHsm]:
    bench = LocalHsm(algorithms=algorithms)
    yield bench
    await bench.close()


@pytest.fixture
async def hsm(bench: LocalHsm) -> HsmService:
    return await bench.start()


def objects(algorithms: Any) -> int:
    """How many objects are in the token."""
    with algorithms._token.session() as session:
        return len(list(session.get_objects()))


async def make(hsm: HsmService, *key_types: str, policy: KeyPolicy | None = None) -> None:
    for key_type in key_types:
        policy = policy or KeyPolicy()
        await hsm.create_key(key_type, key_type, "alice", ALL, policy, message_id=key_type)


async def perform(bench: LocalHsm, hsm: HsmService, *requests: Any) -> list[bytes]:
    keys = tuple({request.key for request in requests})
    session = await hsm.open_session("alice", keys, message_id=SystemRandomness().token_bytes(8).hex())
    return [each.data for each in await bench.actors.call(session.actor, "perform", requests)]


async def test_it_starts_with_its_known_answers_and_leaves_none_in_the_token(
    bench: LocalHsm, algorithms: Any
) -> None:
    before = objects(algorithms)
    await bench.start()
    assert objects(algorithms) == before


async def test_sessions_act_by_keys_in_the_token_and_the_log_tells(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm, "ed25519", "secp256k1", "aes256-gcm", "hmac-sha256")
    view = await hsm.key("secp256k1")
    signed, edwards, sealed, mac = await perform(
        bench,
        hsm,
        SignRequest("secp256k1", DIGEST, "ecdsa-secp256k1"),
        SignRequest("ed25519", b"message", "ed25519"),
        EncryptRequest("aes256-gcm", b"text", "aes256-gcm", b"data"),
        MacRequest("hmac-sha256", b"message", "hmac-sha256"),
    )
    OUTSIDE.verify("secp256k1", bytes.fromhex(view.public_key), DIGEST, signed, "ecdsa-secp256k1")
    public_key = bytes.fromhex((await hsm.key("ed25519")).public_key)
    OUTSIDE.verify("ed25519", public_key, b"message", edwards, "ed25519")
    assert await perform(bench, hsm, DecryptRequest("aes256-gcm", sealed, "aes256-gcm", b"data")) == [b"text"]
    assert len(mac) == 32
    entries = [(each.operation, each.key) for each in await hsm.audit(limit=1000)]
    assert {("sign", "secp256k1"), ("sign", "ed25519"), ("encrypt", "aes256-gcm")} <= set(entries)
    await hsm.verify_audit()


async def test_sessions_agree_by_keys_in_the_token_with_keys_outside(
    bench: LocalHsm, hsm: HsmService
) -> None:
    for key_type, algorithm in (("p256", "ecdh-p256"), ("x25519", "x25519")):
        await hsm.create_key(key_type, key_type, "alice", ("derive",), message_id=key_type)
        other = OUTSIDE.load_any(key_type, OUTSIDE.generate(key_type))
        assert isinstance(other, AgreeingKey)
        (shared,) = await perform(bench, hsm, AgreeRequest(key_type, other.public_key, algorithm))
        assert shared == other.agree(bytes.fromhex((await hsm.key(key_type)).public_key), algorithm)


async def test_keys_are_there_after_a_restart_and_an_older_version_still_decrypts(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await make(hsm, "aes256-gcm")
    (sealed,) = await perform(bench, hsm, EncryptRequest("aes256-gcm", b"text", "aes256-gcm"))
    await hsm.rotate_key("aes256-gcm", "alice", message_id="rotate")
    bench.kill("hsm/main")
    again = await bench.start()
    found = await perform(bench, again, DecryptRequest("aes256-gcm", sealed, "aes256-gcm", version=1))
    assert found == [b"text"]


async def test_a_key_from_outside_is_taken_into_the_token(bench: LocalHsm, hsm: HsmService) -> None:
    private_key = OUTSIDE.generate("p256")
    plan = KeyPlan("brought", "p256", "alice", ALL)
    material = KeyMaterial("raw", private_key.reveal())
    view = await import_key(bench.actors, NaclSealedBoxes(), plan, material, message_id="import")
    assert bytes.fromhex(view.public_key) == OUTSIDE.load("p256", private_key).public_key
    (signed,) = await perform(bench, hsm, SignRequest("brought", DIGEST, "ecdsa-p256"))
    OUTSIDE.verify("p256", bytes.fromhex(view.public_key), DIGEST, signed, "ecdsa-p256")


async def test_a_destroyed_key_is_gone_from_the_token(
    bench: LocalHsm, hsm: HsmService, algorithms: Any
) -> None:
    before = objects(algorithms)
    await make(hsm, "p256", policy=KeyPolicy(deletion_wait_s=60))
    await hsm.rotate_key("p256", "alice", message_id="rotate")
    assert objects(algorithms) == before + 4
    await hsm.delete_key("p256", "alice", message_id="delete")
    with pytest.raises(WaitingPeriodError):
        await hsm.destroy_key("p256", "alice", message_id="too early")
    assert objects(algorithms) == before + 4
    assert isinstance(bench.clock, ManualClock)
    await bench.clock.advance(61)
    await hsm.destroy_key("p256", "alice", message_id="destroy")
    assert objects(algorithms) == before


async def test_trimmed_versions_are_gone_from_the_token(hsm: HsmService, algorithms: Any) -> None:
    before = objects(algorithms)
    await make(hsm, "aes256-gcm")
    await hsm.rotate_key("aes256-gcm", "alice", message_id="rotate")
    await hsm.configure_key("aes256-gcm", "alice", 2, message_id="configure")
    await hsm.trim_key("aes256-gcm", "alice", 2, message_id="trim")
    assert objects(algorithms) == before + 1


async def test_what_is_refused_leaves_nothing_in_the_token(hsm: HsmService, algorithms: Any) -> None:
    await make(hsm, "hmac-sha256")
    before = objects(algorithms)
    with pytest.raises(KeyExistsError):
        await hsm.create_key("hmac-sha256", "hmac-sha256", "alice", ALL, message_id="again")
    await hsm.delete_key("hmac-sha256", "alice", message_id="delete")
    with pytest.raises(UnknownKeyError):
        await hsm.rotate_key("hmac-sha256", "alice", message_id="rotate")
    with pytest.raises(InvalidInputError):
        await hsm.create_key("k", "no such type", "alice", ALL, message_id="type")
    assert objects(algorithms) == before


@pytest.mark.parametrize("key_type", ["bip32", "secret", "chacha20-poly1305"])
async def test_a_type_that_no_token_has_is_refused_and_not_made_in_software(
    hsm: HsmService, key_type: str
) -> None:
    with pytest.raises(NotSupportedError, match="token"):
        await make(hsm, key_type)
    assert not await hsm.keys("alice")


async def test_a_derived_key_is_refused_and_leaves_nothing_in_the_token(
    hsm: HsmService, algorithms: Any
) -> None:
    before = objects(algorithms)
    with pytest.raises(NotSupportedError, match="derived"):
        await make(hsm, "aes256-gcm", policy=KeyPolicy(derived=True))
    assert objects(algorithms) == before


async def test_an_algorithm_that_no_token_has_is_refused_counted_and_in_the_log(
    bench: LocalHsm, hsm: HsmService
) -> None:
    await make(hsm, "secp256k1")
    with pytest.raises(NotSupportedError, match="schnorr-bip340"):
        await perform(bench, hsm, SignRequest("secp256k1", DIGEST, "schnorr-bip340"))
    assert (await hsm.audit(limit=1000))[-1].outcome == "refused: not-supported"
    (counted,) = [each for each in (await hsm.metrics()).operations if each.algorithm == "schnorr-bip340"]
    assert counted.outcomes == {"not-supported": 1}


async def test_nothing_is_exported_from_a_token(hsm: HsmService) -> None:
    await make(hsm, "p256", policy=KeyPolicy(exportable=True))
    pem = await hsm.wrapping_key()
    with pytest.raises(NotSupportedError, match="does not leave"):
        await hsm.export_key("p256", "alice", pem, message_id="export")


async def test_keys_of_the_other_backend_are_refused_by_name(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm, "ed25519")
    bench.kill("hsm/main")
    in_software = LocalHsm(stores=bench.stores, log=bench.log, clock=bench.clock)
    software = await in_software.start()
    with pytest.raises(NotSupportedError, match="PKCS#11 token"):
        await software.open_session("alice", ("ed25519",), message_id="open")
    await software.create_key("soft", "ed25519", "alice", message_id="soft")
    await in_software.close()
    again = await bench.start()
    with pytest.raises(NotSupportedError, match="without the token"):
        await again.open_session("alice", ("soft",), message_id="other")


async def test_a_session_holds_handles_and_no_private_key(bench: LocalHsm, hsm: HsmService) -> None:
    await make(hsm, "ed25519")
    held: list[HsmSessionService] = []
    make_session = bench.session

    def session(session_id: str) -> HsmSessionService:
        held.append(make_session(session_id))
        return held[-1]

    bench.actors._kinds["hsm-session"] = session
    await perform(bench, hsm, SignRequest("ed25519", b"", "ed25519"))
    assert [type(each.private).__name__ for each in held[0].held_keys] == ["TokenKey"]


async def test_a_sessions_process_opens_the_token_by_itself(
    algorithms: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LinuxProcessGuard, "harden", lambda _: ())  # this process is the tests'
    bench = LocalHsm(algorithms=algorithms, clock=SystemClock())
    hsm = await bench.start()
    await make(hsm, "ed25519")
    session = await hsm.open_session("alice", ("ed25519",), message_id="open")
    service, _ = await HsmSessionBuilder(settings.hsm).build(session.actor, bench.actors)
    await service.resume()
    public_key = bytes.fromhex((await hsm.key("ed25519")).public_key)
    OUTSIDE.verify("ed25519", public_key, b"", await service.sign("ed25519", b"", "ed25519"), "ed25519")
    await service.close()
    await bench.close()


def test_a_uri_names_the_token_as_well(settings: Settings) -> None:
    ours = settings.hsm
    way = f"module-path={ours.pkcs11_module}&pin-source=file:{ours.pkcs11_pin_file}"
    for serial, well in (("", True), (";serial=0123", False)):
        flags = {"hsm.backend": "pkcs11", "hsm.pkcs11_uri": f"pkcs11:token={LABEL}{serial}?{way}"}
        named = load_settings(flags=flags, environ={"HOME": "/", "ANYA_DATA_DIR": str(settings.data_dir)})
        assert [each.well for each in findings(named) if each.check == "token"] == [well]


def test_the_doctor_opens_the_token(settings: Settings) -> None:
    (found,) = [each for each in findings(settings) if each.check == "token"]
    assert (found.well, found.found) == (True, "the PKCS#11 token opens")
