"""Keys of wallets, made in the HSM."""

from __future__ import annotations

from anya_actors.domain.bitcoin.account import Account, AddressKind, account_path, single_key_account
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.silent_keys import SilentKeys, silent_paths
from anya_actors.domain.bitcoin.wallet import WalletKey
from anya_actors.domain.hsm.errors import KeyExistsError, OperationRefusedError
from anya_actors.domain.hsm.views import KeyView
from anya_actors.domain.keys.key_origin import KeyOrigin
from anya_actors.domain.keys.operations import KeyPath
from anya_actors.domain.machine import InvalidInputError
from anya_actors.ports.actors import HSM, Actors
from anya_actors.ports.signer import Signer


class WalletKeys:
    """Asks the HSM for keys owned by this actor: ``wallet.<name>`` is a wallet's BIP32 key.

    Wallets made before there were accounts have one key ``wallet.<name>.<index>`` for each address.
    """

    def __init__(self, actors: Actors, signer: Signer, *, owner: str, network: Network) -> None:
        self._actors, self._signer = actors, signer
        self._owner, self._network = owner, network

    async def make(self, wallet: str, index: int, *, change: bool = False) -> WalletKey:
        """The key of this index of an old wallet; asking again after a crash gives the same key."""
        view = await self._make(f"wallet.{wallet}.{index}", "secp256k1")
        return WalletKey(view.name, bytes.fromhex(view.public_key), change)

    async def master(self, wallet: str) -> str:
        """The name of the wallet's BIP32 key; it is made at the first time."""
        return (await self._make(f"wallet.{wallet}", "bip32")).name

    async def account(self, wallet: str, kind: AddressKind, number: int, gap_limit: int) -> Account:
        """The account of a key that is made for the wallet, or was made for it before a crash."""
        key = await self.master(wallet)
        path = account_path(kind, self._network, number)
        origin, xpub = await self.extended(key, path)
        return single_key_account(kind, str(origin), xpub, self._network, key, gap_limit)

    async def extended(self, key: str, path: KeyPath) -> tuple[KeyOrigin, str]:
        """Origin and extended public key of a BIP32 key of ours at a path."""
        testnet = self._network is not Network.MAINNET
        xpub = await self._signer.extended_public_key(key, path, testnet=testnet)
        return KeyOrigin(await self._signer.fingerprint(key), path), xpub

    async def silent(self, key: str, account: int) -> SilentKeys:
        """The keys by which an account of a BIP32 key of ours receives silent payments.

        Raises `OperationRefusedError` if its policy forbids one of their paths, or to derive or sign.
        """
        view: KeyView = await self._actors.call(HSM, "key", key)
        if "sign" not in view.operations:
            raise OperationRefusedError(key, "sign")
        scan_path, spend_path = silent_paths(self._network, account)
        spend_key = await self._signer.public_key(key, path=spend_path)
        scan_key = await self._signer.public_key(key, path=scan_path)
        # What scanning will ask for at every block is asked for once before the address is given out.
        await self._signer.shared_points(key, [spend_key], path=scan_path)
        return SilentKeys(scan_path, scan_key, spend_path, spend_key)

    async def fingerprint(self, key: str) -> bytes:
        """The fingerprint of a BIP32 key that this actor may use; raises `UnknownKeyError`."""
        view: KeyView = await self._actors.call(HSM, "key", key)
        if view.owner != self._owner or view.key_type != "bip32":
            raise InvalidInputError("key", f"it is no bip32 key of {self._owner}")
        return await self._signer.fingerprint(key)

    async def _make(self, name: str, key_type: str) -> KeyView:
        try:
            view: KeyView = await self._actors.call(
                HSM,
                "create_key",
                name,
                key_type,
                self._owner,
                ("derive", "sign", "verify") if key_type == "bip32" else ("sign", "verify"),
                message_id=f"{self._owner}/{name}",
            )
        except KeyExistsError:
            # Made so long ago that the HSM has forgotten the request that made it.
            view = await self._actors.call(HSM, "key", name)
            if view.owner != self._owner or view.key_type != key_type:
                raise
        return view
