"""Keys that are kept elsewhere, as in a token: what is to be destroyed there is owed until it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.hsm.material import KeyMaterial
from anya_actors.domain.hsm.policy import KeyPolicy
from anya_actors.domain.keys.secret import HANDLE_PREFIX, Secret
from anya_actors.domain.machine import NotSupportedError, UnavailableError
from anya_actors.ports.key_algorithms import KeyAlgorithms, PrivateKey, SigningKey
from anya_actors.services.hsm import HsmService
from anya_actors.testing.local_hsm import LocalHsm


class MemoryToken(LibraryKeyAlgorithms):
    """A token in this process, that can be unplugged."""

    def __init__(self) -> None:
        super().__init__(SystemRandomness())
        self.kept: dict[bytes, bytes] = {}
        self.is_plugged_in = True
        self._software = LibraryKeyAlgorithms(SystemRandomness())

    @property
    def own(self) -> KeyAlgorithms:
        return self._software

    def generate(self, key_type: str) -> Secret:
        return self._keep(self._software.generate(key_type))

    def read(self, key_type: str, material: KeyMaterial) -> Secret:
        return self._keep(self._software.read(key_type, material))

    def load(self, key_type: str, private_key: Secret) -> SigningKey:
        return self._software.load(key_type, self._found(private_key))

    def load_any(self, key_type: str, private_key: Secret) -> PrivateKey:
        return self._software.load_any(key_type, self._found(private_key))

    def check_kept(self, private_key: Secret) -> None:
        if not private_key.buffer.startswith(HANDLE_PREFIX):
            raise NotSupportedError("a key in software", "there is a token")

    def discard(self, private_key: Secret) -> None:
        if not self.is_plugged_in:
            raise UnavailableError("the token", "it is unplugged")
        self.kept.pop(private_key.reveal(), None)

    def _keep(self, private_key: Secret) -> Secret:
        handle = HANDLE_PREFIX + len(self.kept).to_bytes(16, "big")
        self.kept[handle] = private_key.reveal()
        return Secret(handle)

    def _found(self, handle: Secret) -> Secret:
        self.check_kept(handle)
        return Secret(self.kept[handle.reveal()])


@pytest.fixture
def token() -> MemoryToken:
    return MemoryToken()


@pytest.fixture
async def bench(token: MemoryToken) -> AsyncIterator[LocalHsm]:
    bench = LocalHsm(algorithms=token)
    yield bench
    await bench.close()


async def deleted(hsm: HsmService, name: str) -> None:
    await hsm.create_key(name, "ed25519", "alice", policy=KeyPolicy(deletion_wait_s=0), message_id=name)
    await hsm.delete_key(name, "alice", message_id=f"delete-{name}")


async def test_what_a_dead_hsm_owed_to_destroy_its_successor_destroys(
    bench: LocalHsm, hsm: HsmService, token: MemoryToken
) -> None:
    await deleted(hsm, "k")
    token.is_plugged_in = False
    with pytest.raises(UnavailableError, match="unplugged"):
        await hsm.destroy_key("k", "alice", message_id="destroy")
    assert len(token.kept) == 1
    bench.kill("hsm/main")
    token.is_plugged_in = True
    again = await bench.start()
    await again.destroy_key("k", "alice", message_id="destroy")  # repeated: answered once it is gone
    assert token.kept == {}
    assert (await again.key("k")).state == "destroyed"


async def test_without_its_token_the_hsm_comes_to_life_and_still_owes(
    bench: LocalHsm, hsm: HsmService, token: MemoryToken
) -> None:
    await deleted(hsm, "k")
    token.is_plugged_in = False
    with pytest.raises(UnavailableError, match="unplugged"):
        await hsm.destroy_key("k", "alice", message_id="destroy")
    bench.kill("hsm/main")
    in_software = LocalHsm(stores=bench.stores, log=bench.log, clock=bench.clock)
    software = await in_software.start()
    assert (await software.key("k")).state == "destroyed"
    assert len(token.kept) == 1
    await in_software.close()
    token.is_plugged_in = True
    again = await bench.start()
    await again.destroy_key("k", "alice", message_id="destroy")
    assert token.kept == {}


async def test_an_unplugged_token_holds_up_no_other_key(
    bench: LocalHsm, hsm: HsmService, token: MemoryToken
) -> None:
    await deleted(hsm, "k")
    token.is_plugged_in = False
    with pytest.raises(UnavailableError, match="unplugged"):
        await hsm.destroy_key("k", "alice", message_id="destroy")
    view = await hsm.create_key("other", "ed25519", "alice", message_id="other")
    assert (await hsm.disable_key("other", "alice", message_id="disable")).name == view.name


async def test_the_hsms_own_keys_are_not_in_the_token(hsm: HsmService, token: MemoryToken) -> None:
    await hsm.wrapping_key()
    assert await hsm.issue_token("alice", ("security",), 60, message_id="t")
    await hsm.rotate_token_key(message_id="r")
    assert (await hsm.audit_checkpoint()).signature
    assert token.kept == {}
