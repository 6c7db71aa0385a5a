"""Holding wallets: making them, their addresses, coins and labels, and looking through the chain again."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from anya_actors.domain.bitcoin import silent_receiving, wallet_views
from anya_actors.domain.bitcoin.account import (
    CHANGE,
    RECEIVE,
    Account,
    AddressesEndError,
    AddressKind,
    account_from,
    account_path,
    address_at,
    branch_of,
)
from anya_actors.domain.bitcoin.chain_follower import BlockOutOfOrderError, ChainCursor
from anya_actors.domain.bitcoin.labels import check_label, format_labels, parse_labels
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.orders import Label, WalletOrder
from anya_actors.domain.bitcoin.transaction import parse_outpoint
from anya_actors.domain.bitcoin.views import (
    AddressView,
    BalanceView,
    CoinView,
    ExtendedKeyView,
    LabelView,
    WalletView,
)
from anya_actors.domain.bitcoin.wallet import (
    AddressAdded,
    ChangeOutput,
    LabelsSet,
    Wallet,
    WalletCreated,
    WalletExistsError,
    WalletRescanned,
    check_wallet_name,
)
from anya_actors.domain.bitcoin.wallet_scripts import key_script
from anya_actors.domain.keys.key_origin import parse_key_path
from anya_actors.domain.machine import InvalidInputError, UnavailableError
from anya_actors.ports.bitcoin_rpc import BitcoinRpc
from anya_actors.ports.clock import Clock
from anya_actors.services.bitcoin.follower import Follower
from anya_actors.services.bitcoin.ledger import Ledger, call_id, expect, wallet_key
from anya_actors.services.bitcoin.settings import BitcoinSettings
from anya_actors.services.bitcoin.tracks import cursor_at
from anya_actors.services.bitcoin.wallet_keys import WalletKeys


class Wallets:
    """See `BitcoinService`, which says what each method promises."""

    def __init__(
        self,
        ledger: Ledger,
        rpc: BitcoinRpc,
        keys: WalletKeys,
        follower: Follower,
        clock: Clock,
        settings: BitcoinSettings,
    ) -> None:
        self._ledger, self._rpc, self._keys = ledger, rpc, keys
        self._follower, self._clock, self._settings = follower, clock, settings

    async def create(self, name: str, order: WalletOrder, message_id: str) -> WalletView:
        """Make a wallet."""
        key, request = wallet_key(check_wallet_name(name)), ("create_wallet", name, order)
        async with self._ledger.locks(key):
            answered = await self._ledger.engine.answered(key, call_id(message_id), request)
            if isinstance(answered, WalletView):
                return answered
            if await self._ledger.engine.exists(key):
                raise WalletExistsError(name)
            account = await self._account(name, order)
            cursor = await self._birth(order.birth_height)
            network = self._settings.network
            event = WalletCreated(
                name,
                network.value,
                cursor,
                self._clock.now_unix_ms(),
                address_at(account, RECEIVE, 0, network),
                account=account.reached(RECEIVE, 0),
            )
            answer = await self._ledger.engine.handle(
                key, event, message_id=call_id(message_id), request=request
            )
        if order.descriptor or order.birth_height is not None:
            # It may be paid already, in blocks or in the mempool.
            self._follower.look_again()
            self._follower.wake()
        return expect(answer, WalletView)

    async def _account(self, name: str, order: WalletOrder) -> Account:
        network = self._settings.network
        if order.descriptor:
            fingerprint = await self._keys.fingerprint(order.key) if order.key else b""
            account = account_from(
                order.descriptor,
                order.change_descriptor,
                network,
                key=order.key,
                fingerprint=fingerprint,
                gap_limit=order.gap_limit,
            )
            _verify_holds(account, network)
            return account
        try:
            kind = AddressKind(order.kind)
        except ValueError:
            raise InvalidInputError("kind", "it is none of wpkh, tr, sh-wpkh and pkh") from None
        account_path(kind, network, order.account)
        return await self._keys.account(name, kind, order.account, order.gap_limit)

    async def _birth(self, height: int | None) -> ChainCursor:
        chain = await self._ledger.chain()
        if chain is None:
            await self._follower.follow(mempool=False)
            chain = await self._ledger.chain()
        if chain is None:
            raise UnavailableError("the Bitcoin node", "its chain has not been read yet")
        return chain.cursor if height is None else await self._cursor_before(height)

    async def _cursor_before(self, height: int) -> ChainCursor:
        """A cursor from which block ``height`` is the next; of the first block, on the genesis."""
        info = await self._rpc.chain_info()
        if isinstance(height, bool) or not isinstance(height, int) or not 0 <= height <= info.height + 1:
            raise InvalidInputError("height", f"the chain has blocks 0 to {info.height}")
        return await cursor_at(self._rpc, max(0, height - 1))

    async def new_address(self, wallet: str, message_id: str, *, change: bool = False) -> AddressView:
        """Give out the next address."""
        key, request = wallet_key(check_wallet_name(wallet)), ("new_address", wallet, change)
        async with self._ledger.locks(key):
            answered = await self._ledger.engine.answered(key, call_id(message_id), request)
            if isinstance(answered, AddressView):
                return answered
            before = await self._ledger.wallet(wallet)
            event = await self._next_address(before, CHANGE if change else RECEIVE)
            answer = await self._ledger.engine.handle(
                key, event, message_id=call_id(message_id), request=request
            )
        return expect(answer, AddressView)

    async def silent_address(self, wallet: str, message_id: str) -> AddressView:
        """The wallet's silent payment address (BIP352); from the first time on, what it is paid is found.

        Raises `NotSupportedError`, and `OperationRefusedError` if its key's policy forbids it.
        """
        key, request = wallet_key(check_wallet_name(wallet)), ("silent_address", wallet)
        async with self._ledger.locks(key):
            before = await self._ledger.wallet(wallet)
            if before.silent is not None:
                return silent_receiving.address_view(before)
            keys = await self._keys.silent(*silent_receiving.silent_account(before))
            event = silent_receiving.SilentReceivingBegun(keys)
            answer = await self._ledger.engine.handle(
                key, event, message_id=call_id(message_id), request=request
            )
        self._follower.look_again()
        return expect(answer, AddressView)

    async def _next_address(self, wallet: Wallet, branch: int) -> AddressAdded:
        if wallet.account is None:
            return AddressAdded(await self._keys.make(wallet.name, len(wallet.keys), change=branch == CHANGE))
        place = wallet.account.next_place(branch)
        derived = branch_of(wallet.account.descriptor(branch), self._settings.network)
        if place > 0 and not derived.descriptor.is_ranged:
            raise AddressesEndError(wallet.name)
        return AddressAdded(place=place, branch=branch)

    async def change_output(self, wallet: Wallet) -> ChangeOutput:
        """Where the wallet's next change goes."""
        if wallet.account is None:
            key = await self._keys.make(wallet.name, len(wallet.keys), change=True)
            return ChangeOutput(key_script(key.public_key), key)
        derived = branch_of(wallet.account.change, self._settings.network)
        place = wallet.account.next_change if derived.descriptor.is_ranged else 0
        return ChangeOutput(derived.script(place), place=place)

    async def addresses(self, wallet: str) -> list[AddressView]:
        """Every address given out or used, receiving ones first."""
        found = await self._ledger.wallet(check_wallet_name(wallet))
        if found.account is None:
            return [wallet_views.address_view_of(found, AddressAdded(key)) for key in found.keys]
        return [
            wallet_views.account_address_view(found, branch, place)
            for branch in (RECEIVE, CHANGE)
            for place in range(found.account.next_place(branch))
        ]

    async def wallet(self, name: str) -> WalletView:
        return wallet_views.view_of(await self._ledger.wallet(check_wallet_name(name)))

    async def wallets(self) -> list[WalletView]:
        return [wallet_views.view_of(wallet) for wallet in await self._ledger.wallets()]

    async def balance(self, wallet: str) -> BalanceView:
        return wallet_views.balance_of(await self._ledger.wallet(check_wallet_name(wallet)))

    async def coins(self, wallet: str) -> list[CoinView]:
        return wallet_views.coins_of(await self._ledger.wallet(check_wallet_name(wallet)))

    # -- labels -------------------------------------------------------------------------------

    async def labels(self, wallet: str) -> list[LabelView]:
        found = await self._ledger.wallet(check_wallet_name(wallet))
        return [wallet_views.label_view_of(label) for label in found.labels]

    async def export_labels(self, wallet: str) -> str:
        return format_labels((await self._ledger.wallet(check_wallet_name(wallet))).labels)

    async def import_labels(self, wallet: str, text: str, message_id: str) -> None:
        await self.set_labels(wallet, parse_labels(text), message_id)

    async def freeze(self, wallet: str, outpoints: Sequence[str], frozen: bool, message_id: str) -> None:
        """Keep these coins from being spent, or no longer; their labels stay."""
        key, request = wallet_key(check_wallet_name(wallet)), ("freeze", wallet, tuple(outpoints), frozen)
        async with self._ledger.locks(key):
            before = await self._ledger.wallet(wallet)
            known = {one.ref: one for one in before.labels if one.kind == "output"}
            names = [str(parse_outpoint(one)) for one in outpoints]
            labels = tuple(
                check_label(replace(known.get(name, Label("output", name)), spendable=not frozen))
                for name in names
            )
            await self._ledger.engine.handle(
                key, LabelsSet(labels), message_id=call_id(message_id), request=request
            )

    async def set_labels(self, wallet: str, labels: Sequence[Label], message_id: str) -> None:
        """Set these labels; one without text takes the label away."""
        key = wallet_key(check_wallet_name(wallet))
        event = LabelsSet(tuple(check_label(label) for label in labels))
        async with self._ledger.locks(key):
            await self._ledger.wallet(wallet)
            await self._ledger.engine.handle(key, event, message_id=call_id(message_id))

    # -- the chain again ----------------------------------------------------------------------

    async def rescan(self, wallet: str, height: int, message_id: str) -> None:
        """Follow the chain again from a height; coins of lower blocks stay."""
        # On the node's chain first: what has left it is told as reorganised, not looked for again.
        await self._follower.follow(mempool=False)
        key, request = wallet_key(check_wallet_name(wallet)), ("rescan", wallet, height)
        async with self._ledger.locks(key):
            before = await self._ledger.wallet(wallet)
            event = WalletRescanned(await self._cursor_before(height))
            if event.cursor.height > before.cursor.height:
                event = WalletRescanned(before.cursor)  # no block may be left out
            try:
                await self._ledger.engine.handle(key, event, message_id=call_id(message_id), request=request)
            except BlockOutOfOrderError:
                raise UnavailableError("the chain", "it was reorganised at this moment") from None
        self._follower.look_again()
        self._follower.wake()

    async def extended_key(self, wallet: str, path: str) -> ExtendedKeyView:
        """The extended public key at a path of the wallet's key, which is made at the first time.

        Raises `KeyPathError`.
        """
        steps = parse_key_path(path)
        key = await self._keys.master(check_wallet_name(wallet))
        origin, xpub = await self._keys.extended(key, steps)
        return ExtendedKeyView(key, f"[{origin}]{xpub}", xpub, origin.fingerprint.hex())


def _verify_holds(account: Account, network: Network) -> None:
    """Raise `InvalidInputError` unless the HSM's key, where one is named, is one of the descriptors'."""
    if not account.key:
        return
    for branch in (RECEIVE, CHANGE):
        keys = branch_of(account.descriptor(branch), network).plan(0).keys
        flat = [inner for key in keys for inner in (key, *key.participants)]
        if all(key.origin.fingerprint != account.fingerprint for key in flat):
            raise InvalidInputError(
                "key", f"no key of the descriptor has the fingerprint {account.fingerprint.hex()}"
            )
