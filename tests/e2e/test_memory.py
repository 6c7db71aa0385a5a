"""Where private keys are while a platform uses them: in the HSM and the owning session, nowhere else.

After a session's end, and while the HSM is sealed, nowhere at all.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from bip39_slip39 import slip39
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from anya_actors.adapters.keys.bip32 import from_seed
from anya_actors.adapters.rocksdb.state_store import RocksdbStateStores
from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
from anya_actors.adapters.sealing.argon2 import Argon2Kdf
from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
from anya_actors.adapters.sealing.shamir_shares import split_passphrase
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.cli.processes import of_instance
from anya_actors.config import load_settings
from anya_actors.domain.hsm.machine import ROOT, STATE
from anya_actors.domain.hsm.material import KeyMaterial, pack_material
from anya_actors.domain.hsm.root import Root, kek_context, seal_context
from anya_actors.domain.keys.secret import Secret
from tests.e2e.conftest import Launched, anya, living
from tests.e2e.memory_scan import HEAD, Needles, found_in_process

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(600)]

HSM = "hsm/main"
MARK = b"\x9d\xf1\x42\x17\xe8\x5b\x03\xc6\x71"
CURVES = ("ed25519", "x25519", "secp256k1", "p256")
TYPES = (*CURVES, "aes256-gcm", "chacha20-poly1305", "hmac-sha256", "secret")
SIGNED = {
    "ed25519": "ed25519",
    "secp256k1": "schnorr-bip340",
    "p256": "ecdsa-p256-sha256",
    "bip32": "schnorr-bip340",
    "rsa-2048": "rsa-pss-sha256",
}
SEED = MARK + bytes((at * 37 + 200) % 256 for at in range(55))
OTHERS = ("ed25519", "aes256-gcm")
"""Key types of which a second session holds a key of its own."""


class Keys:
    """Known keys, as they are imported and as they are looked for."""

    def __init__(self) -> None:
        self.materials: dict[str, tuple[str, KeyMaterial]] = {}
        self.secrets: dict[str, bytes] = {}
        for number, name in enumerate((*TYPES, *(f"other-{each}" for each in OTHERS))):
            key = MARK + bytes((number * 23 + at + 1) % 256 for at in range(23))
            self._add(name, name.removeprefix("other-"), KeyMaterial("raw", key), key)
        private = rsa.generate_private_key(65537, 2048)
        encoded = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        numbers = private.private_numbers()
        self._add("rsa-2048", "rsa-2048", KeyMaterial("pkcs8", encoded), numbers.p.to_bytes(128, "big"))
        self.secrets["rsa-2048 q"] = numbers.q.to_bytes(128, "big")
        self._add("bip32", "bip32", KeyMaterial("seed", SEED), SEED)
        self.secrets["bip32 node"] = from_seed(Secret(SEED)).reveal()[41:]

    def _add(self, name: str, key_type: str, material: KeyMaterial, secret: bytes) -> None:
        self.materials[name] = (key_type, material)
        self.secrets[name] = secret


class Owner:
    """A user of the platform: everything goes over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str) -> Any:
        return self._client.get(path).raise_for_status().json()

    def post(self, path: str, body: object) -> Any:
        answer = self._client.post(f"security/{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def imports(self, name: str, key_type: str, material: KeyMaterial) -> None:
        transport = bytes.fromhex(self.get("security/transport-key")["public_key_hex"])
        with pack_material(material) as packed:
            box = NaclSealedBoxes().seal(packed, transport)
        operations = ["decrypt", "derive", "encrypt", "sign", "verify"]
        body = {"name": name, "key_type": key_type, "operations": operations, "box_hex": box.hex()}
        self.post("keys/import", body)

    def opens(self, *names: str) -> str:
        return str(self.post("sessions", {"keys": names})["session_id"])

    def uses(self, session: str, *operations: dict[str, Any]) -> None:
        self.post(f"sessions/{session}/operations", {"operations": operations})

    def closes(self, session: str) -> None:
        self._client.delete(f"security/sessions/{session}").raise_for_status()

    def pids(self) -> dict[str, int]:
        return {each["name"]: each["pid"] for each in self.get("system")["actors"] if each["pid"]}


@dataclass(frozen=True)
class Used:
    """Every known secret by its name, and what each session's actor was opened for."""

    secrets: dict[str, bytes]
    sessions: dict[str, set[str]]


def operation(name: str, key_type: str) -> dict[str, Any]:
    """One use of a key of this type."""
    facts = {"key": name, "data_hex": "11" * 32}
    if key_type in SIGNED:
        return facts | {"operation": "sign", "algorithm": SIGNED[key_type]}
    if key_type == "secret":
        return facts | {"operation": "stretch", "algorithm": "hkdf-sha256", "length": 32}
    if key_type == "hmac-sha256":
        return facts | {"operation": "mac", "algorithm": key_type}
    if key_type == "x25519":
        point = "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"
        return {"key": name, "operation": "agree", "algorithm": key_type, "public_key": point}
    return facts | {"operation": "encrypt", "algorithm": key_type}


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux reads the memory of other processes")
    data_dir = tmp_path_factory.mktemp("memory") / "data"
    up = ("-m", "anya_actors.cli.main", "up", "--json", "--port", "0", "--data-dir", str(data_dir))
    started = Launched(data_dir, *up)
    try:
        started.wait_for("ready")
        yield started
    finally:
        started.end()


@pytest.fixture(scope="module")
def owner(launched: Launched) -> Iterator[Owner]:
    told = launched.lines[-1]
    bearer = {"Authorization": f"Bearer {Path(told['admin_token_file']).read_text()}"}
    with httpx.Client(base_url=f"{told['api']}/api/v1/", headers=bearer, timeout=60.0) as client:
        yield Owner(client)


@pytest.fixture(scope="module")
def used(owner: Owner) -> Used:
    """Every key was imported, given to the one session or the other, and used there."""
    keys = Keys()
    for name, (key_type, material) in keys.materials.items():
        owner.imports(name, key_type, material)
    own = [name for name in keys.materials if not name.startswith("other-")]
    others = [name for name in keys.materials if name.startswith("other-")]
    sessions = {}
    for names in (own, others):
        session = owner.opens(*names)
        sessions[f"hsm-session/{session}"] = {name for name in keys.secrets if name.split()[0] in names}
        owner.uses(session, *(operation(name, keys.materials[name][0]) for name in names))
    return Used(keys.secrets, sessions)


def processes(launched: Launched) -> set[psutil.Process]:
    """Launcher, watchdog, Ray's servers, every actor's process, the door and the spares."""
    launcher = psutil.Process(launched.process.pid)
    return of_instance(launched.instance()) | {launcher, *launcher.children(recursive=True)}


def passphrase(launched: Launched) -> bytes:
    return (launched.data_dir / "hsm" / "passphrase").read_bytes().strip()


def found_by_process(
    launched: Launched, owner: Owner, secrets: Mapping[str, bytes], texts: Mapping[str, bytes] | None = None
) -> dict[str, set[str]]:
    """Which secrets each process holds, by its actor's name or its command line."""
    needles = Needles(MARK, secrets, texts)
    names = {pid: name for name, pid in owner.pids().items()}
    found: dict[str, set[str]] = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:  # searching keeps a core busy
        held = {each: pool.submit(found_in_process, each.pid, needles) for each in processes(launched)}
        for process, secrets_held in held.items():
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):  # ended
                name = names.get(process.pid, " ".join(process.cmdline()))
                found[name] = found.get(name, set()) | secrets_held.result()
    assert len(found) > 10
    return found


def holders(found: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Those that hold any."""
    return {name: secrets for name, secrets in found.items() if secrets}


async def root_keys(launched: Launched, folder: Path) -> dict[str, bytes]:
    """What is between the passphrase and the keys, opened from a copy of the HSM's store."""
    settings = load_settings(flags={"data_dir": str(launched.data_dir)}, environ={})
    copied = shutil.copytree(settings.state_dir, folder / "state")
    store = await RocksdbStateStores(copied).activate(HSM)
    stored = await store.load(ROOT)
    assert stored is not None
    root = STATE.decode(stored.state)
    await store.close()
    assert isinstance(root, Root)
    assert root.seal is not None
    cipher, given = AesGcmCipher(SystemRandomness()), Secret(passphrase(launched))
    key = await Argon2Kdf().derive(given, root.seal.salt, root.seal.parameters)
    master = cipher.open(key, root.seal.sealed, seal_context())
    kek = cipher.open(master, root.keks[-1].wrapped, kek_context(root.keks[-1].version))
    opened = {"passphrase": given, "passphrase's key": key, "master key": master, "key-encryption key": kek}
    return {name: secret.reveal() for name, secret in opened.items()}


def test_keys_are_in_the_hsm_and_the_session_that_holds_them_alone(
    launched: Launched, owner: Owner, used: Used
) -> None:
    found = found_by_process(launched, owner, used.secrets | {"passphrase": passphrase(launched)})
    assert holders(found).keys() <= {HSM, *used.sessions}
    for session, secrets in used.sessions.items():
        # All of them but the seed, of which a session gets the node: so the scan does find what is there.
        assert found[session] == secrets - {"bip32"}
    assert found[HSM] == set()


def test_processes_with_keys_write_no_core_file_and_lock_their_keys(owner: Owner, used: Used) -> None:
    pids = owner.pids()
    for name in (HSM, *used.sessions):
        limits = Path(f"/proc/{pids[name]}/limits").read_text()
        assert limits.partition("Max core file size")[2].split()[:2] == ["0", "0"]
        locked = Path(f"/proc/{pids[name]}/status").read_text().partition("VmLck:")[2].split()[0]
        assert int(locked) > 0


def test_no_key_is_in_a_file_or_in_shared_memory(launched: Launched, used: Used) -> None:
    needles = Needles(MARK, used.secrets | {"passphrase": passphrase(launched)})
    places = (launched.data_dir, Path(launched.record()["temp_dir"]), Path("/dev/shm"))
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert len(files) > 30
    for path in files:
        allowed = {"passphrase"} if path == launched.data_dir / "hsm" / "passphrase" else set()
        assert set(needles.found_in(path.read_bytes())) == allowed, path


def test_after_the_end_of_its_sessions_no_process_holds_a_key(
    launched: Launched, owner: Owner, used: Used
) -> None:
    processes_of_sessions = [psutil.Process(owner.pids()[actor]) for actor in used.sessions]
    for actor in used.sessions:
        owner.closes(actor.partition("/")[2])
    began = time.monotonic()
    while living(processes_of_sessions):
        assert time.monotonic() - began < 120
        time.sleep(0.1)
    assert holders(found_by_process(launched, owner, used.secrets)) == {}


async def test_after_sealing_no_process_holds_a_key_or_what_opens_keys(
    launched: Launched, owner: Owner, used: Used, tmp_path: Path
) -> None:
    names = [name for name in used.secrets if name.startswith("other-")]
    session = f"hsm-session/{owner.opens(*names)}"
    owner.uses(session.partition("/")[2], *(operation(name, name.removeprefix("other-")) for name in names))
    secrets = used.secrets | await root_keys(launched, tmp_path)
    # So the scan does find what is there, and the session's keys are still to be wiped.
    assert holders(found_by_process(launched, owner, secrets)) == {
        HSM: {"key-encryption key"},
        session: set(names),
    }
    owner.post("seal", {})
    assert holders(found_by_process(launched, owner, secrets)) == {}
    owner.post("unseal", {})
    owner.post("seal", {})
    assert holders(found_by_process(launched, owner, secrets)) == {}


def of_shares(folder: Path, text: bytes) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """What is not to be found once the shares of a folder were joined to ``text``: secrets, and texts."""
    secrets = {"passphrase": text, "passphrase's bytes": base64.urlsafe_b64decode(text + b"=")}
    texts: dict[str, bytes] = {}
    for path in folder.glob("*.share"):
        share = path.read_text().strip()
        secrets[f"{path.name} as a number"] = slip39.share_from_mnemonic(share).value
        # The first words name the splitting; of the others every stretch must be gone.
        texts |= {f"{path.name} at {at}": share[at:].encode() for at in range(40, len(share) - HEAD, HEAD)}
    return secrets, texts


def test_shares_that_unsealed_are_in_no_process(launched: Launched, owner: Owner, used: Used) -> None:
    file, folder = launched.data_dir / "hsm" / "passphrase", launched.data_dir / "hsm" / "shares"
    text = passphrase(launched)
    split = ("hsm", "split-passphrase", str(folder), "--threshold", "2", "--shares", "3")
    code, _, err = anya(*split, "--data-dir", str(launched.data_dir))
    assert code == 0, err
    file.unlink()
    owner.post("seal", {})
    owner.post("unseal", {})
    assert not owner.get("security/seal-status")["sealed"]
    assert holders(found_by_process(launched, owner, *of_shares(folder, text))) == {}


JOIN = """
import sys, pathlib
from anya_actors.adapters.sealing.{} import {} as join
join(pathlib.Path(sys.argv[1])).wipe()
print("joined", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("join", "is_found"),
    [(("share_joining", "join_apart"), False), (("shamir_shares", "read_shares"), True)],
    ids=["apart", "in the process itself"],
)
def test_a_process_that_has_shares_joined_apart_holds_none(
    tmp_path: Path, join: tuple[str, str], is_found: bool
) -> None:
    text = base64.urlsafe_b64encode(os.urandom(32)).rstrip(b"=")
    for number, share in enumerate(split_passphrase(Secret(text), 2, 3)):
        file = tmp_path / f"{number}.share"
        file.touch(mode=0o600)
        file.write_text(share)
    command = [sys.executable, "-c", JOIN.format(*join), str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"joined\n"
        needles = Needles(MARK, *of_shares(tmp_path, text))
        found = found_in_process(process.pid, needles)
        process.communicate()
    assert bool(found) == is_found, found
