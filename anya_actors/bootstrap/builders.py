"""How each kind of actor is built, inside its own process.

Heavy libraries are imported in ``prepare``: only the process that needs them pays, and a standby
has paid already.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from anya_actors.actors.logs import configure_logs
from anya_actors.adapters.actors.event_bus import ActorsEventBus
from anya_actors.adapters.files.secret_file import read_secret_file
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.bootstrap.keys import open_keys, token_modules
from anya_actors.bootstrap.stores import open_stores
from anya_actors.config import HsmSettings, LogSettings, Settings
from anya_actors.ports.actors import HSM, Actors

if TYPE_CHECKING:
    from anya_actors.ports.bitcoin_rpc import BitcoinRpc
    from anya_actors.ports.passphrase import PassphraseSource

NODE = "bitcoin-node/main"


@dataclass(frozen=True)
class HsmBuilder:
    """``hsm/main``. The audit trail is a file of the node that it runs on."""

    settings: Settings

    async def prepare(self) -> None:
        _import("anya_actors.services.hsm", *_SEALING, *token_modules(self.settings.hsm))

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        from anya_actors.adapters.files.append_log import FileAppendLog
        from anya_actors.adapters.files.disk import SystemDisk
        from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
        from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
        from anya_actors.adapters.sealing.argon2 import Argon2Kdf
        from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
        from anya_actors.services.hsm import HsmService

        randomness = SystemRandomness()
        # The store first: its lock keeps a second HSM away from the audit trail.
        store = await open_stores(self.settings).activate(name)
        service = HsmService(
            store=store,
            audit_log=await FileAppendLog.open(SystemDisk(self.settings.data_dir / "hsm"), "audit.log"),
            passphrase=self._passphrase(),
            kdf=Argon2Kdf(),
            cipher=AesGcmCipher(randomness),
            boxes=NaclSealedBoxes(),
            algorithms=open_keys(self.settings.hsm, randomness, writing=True),
            guard=LinuxProcessGuard(),
            clock=SystemClock(),
            randomness=randomness,
            bus=ActorsEventBus(actors),
            actors=actors,
            settings=_hsm_settings(self.settings),
        )
        return service, store.epoch

    def _passphrase(self) -> PassphraseSource:
        from anya_actors.adapters.sealing.share_directory import FileOrShares, ShareDirectory

        if self.settings.hsm.share_directory is not None:
            return ShareDirectory(self.settings.hsm.share_directory)
        return FileOrShares(self.settings.passphrase_file, self.settings.shares_beside)


@dataclass(frozen=True)
class HsmSessionBuilder:
    """``hsm-session/<id>``. Keeps nothing, so its epoch is always 0."""

    settings: HsmSettings

    async def prepare(self) -> None:
        from anya_actors.coordinator.client import connect

        _import("anya_actors.services.hsm_session", *_SEALING, *token_modules(self.settings))
        # A first call to another process takes Ray longer than all of the opening besides.
        await connect().reach(HSM)
        _rehearse()

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        from anya_actors.adapters.linux.process_guard import LinuxProcessGuard
        from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
        from anya_actors.services.hsm_session import HsmSessionService

        randomness = SystemRandomness()
        service = HsmSessionService(
            session_id=name.partition("/")[2],
            actors=actors,
            algorithms=open_keys(self.settings, randomness, writing=False),
            boxes=NaclSealedBoxes(),
            guard=LinuxProcessGuard(),
            clock=SystemClock(),
            randomness=randomness,
        )
        return service, 0


@dataclass(frozen=True)
class BitcoinNodeBuilder:
    """``bitcoin-node/main``: the embedded regtest node. Its journal's lock lets one copy live."""

    settings: Settings

    async def prepare(self) -> None:
        _import("anya_actors.adapters.bitcoinkernel.engine", "anya_actors.serve.bitcoin_node.embedded")

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
        from anya_actors.adapters.files.append_log import FileAppendLog
        from anya_actors.adapters.files.disk import SystemDisk
        from anya_actors.adapters.rocksdb.chain_index import RocksdbChainIndexes
        from anya_actors.adapters.sealing.aes_gcm import AesGcmCipher
        from anya_actors.adapters.sealing.argon2 import Argon2Kdf
        from anya_actors.domain.bitcoin.network import Network
        from anya_actors.serve.bitcoin_node.embedded import EmbeddedNode, EmbeddedNodeSettings
        from anya_actors.services.bitcoin_node.wallets.sealing import WalletSeals

        folder = self.settings.data_dir / "bitcoin-node"
        ours = self.settings.bitcoin
        node = EmbeddedNode(
            EmbeddedNodeSettings(
                data_dir=folder,
                rpc_port=ours.rpc_port,
                esplora_port=ours.esplora_port,
                electrum_port=ours.electrum_port,
                zmq_port=ours.zmq_port,
            ),
            engines=KernelEngines(folder / "kernel", Network.REGTEST),
            open_journal=lambda: FileAppendLog.open(SystemDisk(folder), "journal"),
            indexes=RocksdbChainIndexes(folder / "indexes"),
            clock=SystemClock(),
            randomness=SystemRandomness(),
            seals=WalletSeals(Argon2Kdf(), AesGcmCipher(SystemRandomness())),
        )
        return node, 0


@dataclass(frozen=True)
class BitcoinBuilder:
    """``bitcoin/main``: follows a node through its JSON-RPC, ours or any other."""

    settings: Settings

    async def prepare(self) -> None:
        _import("anya_actors.services.bitcoin", "anya_actors.adapters.bitcoin_rpc.node")

    async def build(self, name: str, actors: Actors) -> tuple[Any, int]:
        from anya_actors.domain.bitcoin.network import Network
        from anya_actors.services.bitcoin import BitcoinService, BitcoinSettings
        from anya_actors.services.signer import RemoteSigner

        ours, randomness = self.settings.bitcoin, SystemRandomness()
        rpc = await self._rpc(actors)
        store = await open_stores(self.settings).activate(name)
        service = BitcoinService(
            store=store,
            rpc=rpc,
            signer=RemoteSigner(actors, name, randomness),
            actors=actors,
            clock=SystemClock(),
            randomness=randomness,
            bus=ActorsEventBus(actors),
            settings=BitcoinSettings(
                network=Network(ours.network),
                poll_interval_s=ours.poll_interval_s,
                mempool_interval_s=ours.poll_interval_s,
                final_confirmations=ours.final_confirmations,
                max_fee_sat=ours.max_fee_sat,
                fallback_feerate_sat_per_vb=ours.fallback_feerate_sat_per_vb,
            ),
        )
        return service, store.epoch

    async def _rpc(self, actors: Actors) -> BitcoinRpc:
        from pathlib import Path

        from anya_actors.adapters.bitcoin_rpc.node import CoreBitcoinRpc

        ours = self.settings.bitcoin
        url, cookie = ours.node_url, ours.node_cookie_file
        if url is None:
            addresses = await actors.call(NODE, "addresses", timeout_s=60.0)
            url, cookie = addresses.bitcoin_rpc, Path(addresses.bitcoin_cookie)
        elif ours.node_user is not None and ours.node_password_file is not None:
            password = read_secret_file(ours.node_password_file).reveal()
            url = _with_credentials(url, ours.node_user, password)
        return CoreBitcoinRpc(url, cookie_path=cookie, clock=SystemClock(), randomness=SystemRandomness())


_SEALING: Sequence[str] = (
    "anya_actors.adapters.files.append_log",
    "anya_actors.adapters.keys.library",
    "anya_actors.adapters.linux.process_guard",
    "anya_actors.adapters.sealing.argon2",
    "anya_actors.adapters.sealing.sealed_box",
)


def warm_up(log: LogSettings) -> None:
    """What every actor's process does before it is known which actor it will be."""
    configure_logs(log.level, log.format)
    _import("anya_actors.services.durable", "anya_actors.adapters.rocksdb.state_store")


def _rehearse() -> None:
    """Open a box and load a key: the libraries make themselves ready at their first use."""
    from anya_actors.adapters.keys.library import LibraryKeyAlgorithms
    from anya_actors.adapters.sealing.sealed_box import NaclSealedBoxes
    from anya_actors.domain.keys.secret import Secret

    algorithms, boxes = LibraryKeyAlgorithms(SystemRandomness()), NaclSealedBoxes()
    recipient = boxes.recipient()
    with Secret(bytearray(32)) as nothing:
        recipient.open(boxes.seal(nothing, recipient.public_key)).wipe()
    for key_type in ("ed25519", "secp256k1"):
        algorithms.load(key_type, algorithms.generate(key_type)).wipe()
    recipient.wipe()


def _import(*modules: str) -> None:
    for module in modules:
        importlib.import_module(module)


def _hsm_settings(settings: Settings) -> Any:
    from anya_actors.domain.hsm.root import KdfParameters
    from anya_actors.services.hsm import HsmSettings

    ours = settings.hsm
    return HsmSettings(
        kdf=KdfParameters(
            memory_kib=ours.argon2_memory_kib, iterations=ours.argon2_passes, lanes=ours.argon2_lanes
        ),
        session_limit=ours.max_sessions,
        auto_seal_after_s=ours.auto_seal_after_s,
        session_idle_timeout_s=round(ours.session_idle_timeout_s),
        session_absolute_timeout_s=round(ours.session_absolute_timeout_s),
    )


def _with_credentials(url: str, user: str, password: str) -> str:
    from urllib.parse import quote, urlsplit

    parts = urlsplit(url)
    return parts._replace(netloc=f"{quote(user, safe='')}:{quote(password, safe='')}@{parts.netloc}").geturl()
