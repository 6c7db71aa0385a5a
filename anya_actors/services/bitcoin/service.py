"""The use cases of the ``bitcoin`` actor.

What it promises: an acknowledged payment is made exactly once, whatever crashes when, unless it
ends rejected or conflicted, which its phase says. A wallet's balance is what the node's active
chain says, through any reorganisation of fewer than ``RETAINED_BLOCKS`` blocks. What only asks the
node stands in ``node_queries``, who waits for what in ``subscriptions``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from anya_actors.domain.bitcoin.hashes import BlockHash, Txid
from anya_actors.domain.bitcoin.orders import SendTerms, WalletOrder
from anya_actors.domain.bitcoin.views import (
    AddressView,
    BalanceView,
    BlockView,
    PaymentView,
    TipView,
    TransactionView,
    WalletView,
)
from anya_actors.domain.bitcoin.wallet import (
    check_wallet_name,
)
from anya_actors.domain.supervision.backoff import Backoff
from anya_actors.ports.actors import Actors
from anya_actors.ports.bitcoin_rpc import BitcoinRpc
from anya_actors.ports.clock import Clock
from anya_actors.ports.event_bus import EventBus
from anya_actors.ports.randomness import Randomness
from anya_actors.ports.signer import Signer
from anya_actors.ports.state_store import StateStore
from anya_actors.services.bitcoin.chain_views import block_view, tip_view, transaction_view
from anya_actors.services.bitcoin.follower import Follower
from anya_actors.services.bitcoin.ledger import (
    BITCOIN_RULES,
    BitcoinEngine,
    Ledger,
    wallet_key,
)
from anya_actors.services.bitcoin.messages import Messages
from anya_actors.services.bitcoin.mining import Miner
from anya_actors.services.bitcoin.node_queries import NodeQueries
from anya_actors.services.bitcoin.payees import Payees
from anya_actors.services.bitcoin.payments import Payments
from anya_actors.services.bitcoin.performer import Performer
from anya_actors.services.bitcoin.psbts import Psbts
from anya_actors.services.bitcoin.settings import BitcoinSettings
from anya_actors.services.bitcoin.silent_scanning import SilentScanner
from anya_actors.services.bitcoin.subscriptions import Subscriptions
from anya_actors.services.bitcoin.wallet_keys import WalletKeys
from anya_actors.services.bitcoin.wallets import Wallets

_HEIGHT = re.compile(r"[0-9]{1,9}", re.ASCII)
# An owed broadcast must not sleep for long after its node has come back.
_RETRIES: Final = Backoff(first_s=0.05, longest_s=5.0)


class BitcoinService:
    """Everything that ``bitcoin/main`` serves. Hashes are the reversed text that Core shows."""

    def __init__(
        self,
        *,
        store: StateStore,
        rpc: BitcoinRpc,
        signer: Signer,
        actors: Actors,
        clock: Clock,
        randomness: Randomness,
        bus: EventBus | None = None,
        settings: BitcoinSettings | None = None,
    ) -> None:
        self._settings = settings or BitcoinSettings()
        self._rpc = rpc
        self._clock = clock
        self._engine = BitcoinEngine(
            store=store,
            rules=BITCOIN_RULES,
            perform=lambda key, command, effect_id: self._performer.perform(key, command, effect_id),
            clock=clock,
            randomness=randomness,
            bus=bus,
            backoff=_RETRIES,
        )
        self._ledger = Ledger(self._engine)
        network = self._settings.network
        self._keys = WalletKeys(actors, signer, owner=store.actor, network=network)
        silent = SilentScanner(rpc, signer)
        self._follower = Follower(self._ledger, rpc, silent, clock, self._settings)
        self._performer = Performer(self._ledger, rpc, signer, self._follower)
        self.wallet_book = Wallets(self._ledger, rpc, self._keys, self._follower, clock, self._settings)
        self._payments = Payments(
            self._ledger, rpc, self.wallet_book, signer, clock, randomness, self._settings
        )
        self._miner = Miner(self._ledger, rpc, self._follower, network)
        self.psbts = Psbts(
            self._ledger,
            rpc,
            signer,
            self.wallet_book,
            self._payments,
            self._follower,
            clock,
            randomness,
            self._settings,
        )
        self.messages = Messages(self._ledger, signer, network)
        self.node = NodeQueries(rpc, self._follower, self._settings)
        self.payees = Payees(clock, network)
        self.subscriptions = Subscriptions(self._ledger, rpc, self._follower, clock, self._settings.network)

    # -- life ---------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Take up the payments that a dead predecessor owed, and follow the chain."""
        await self._engine.resume()
        self._follower.start()

    async def check_health(self) -> None:
        """Raise if this copy may not act or follows no longer. An unreachable node is no illness of
        ours: no restart of this actor would bring it back."""
        await self._engine.check_health()
        self._follower.check_health()

    async def close(self) -> None:
        await self._follower.close()
        await self._engine.close()
        await self._rpc.close()

    async def follow(self) -> None:
        """Bring every wallet to the node's tip now; raises an `UnavailableError` if there is none."""
        await self._follower.follow()

    async def settled(self, wallet: str) -> None:
        """Wait until this wallet owes no signature and no broadcast."""
        await self._engine.settled(wallet_key(check_wallet_name(wallet)))

    # -- the chain ----------------------------------------------------------------------------

    async def tip(self) -> TipView:
        """The node's active chain and its newest block."""
        return tip_view(await self._rpc.chain_info())

    async def block(self, block: str | int) -> BlockView:
        """A block by hash or by height on the active chain; raises `BlockNotFoundError`, `HashError`."""
        text = str(block)
        if _HEIGHT.fullmatch(text) is not None:
            block_hash = await self._rpc.block_hash(int(text))
        else:
            block_hash = BlockHash.from_hex(text)
        found = await self._rpc.header(block_hash)
        return block_view(found, await self._rpc.block(block_hash))

    async def transaction(self, txid: str) -> TransactionView:
        """A transaction; raises `TransactionNotFoundError`, `HashError`."""
        found = await self._rpc.transaction(Txid.from_hex(txid))
        return transaction_view(found, self._settings.network)

    async def generate(self, address: str, blocks: int, *, message_id: str) -> list[str]:
        """Mine ``blocks`` blocks (1 to 1000) that pay ``address``; their hashes, oldest first.

        Regtest only (`NotSupportedError`). At most once for each message id: if this process died,
        or the node's answer was lost, before the outcome was stored, a repetition mines nothing
        and raises `GenerationOutcomeUnknownError`. Every wallet has followed when it returns.
        """
        return await self._miner.generate(address, blocks, message_id)

    # -- wallets ------------------------------------------------------------------------------

    async def create_wallet(
        self, name: str, order: WalletOrder | None = None, *, message_id: str
    ) -> WalletView:
        """Make a wallet; by default with addresses of BIP84 under a new key in the HSM.

        Raises `InvalidInputError`, `DescriptorError`, `WalletExistsError`, or an
        `UnavailableError` if no node was ever met: a wallet begins at a block.
        """
        return await self.wallet_book.create(name, order or WalletOrder(), message_id)

    async def wallets(self) -> list[WalletView]:
        """Every wallet, by name."""
        return await self.wallet_book.wallets()

    async def new_address(self, wallet: str, *, message_id: str) -> AddressView:
        """A receiving address that was never given out."""
        return await self.wallet_book.new_address(wallet, message_id)

    async def balance(self, wallet: str) -> BalanceView:
        """The wallet's money as of the block that it has followed; raises `UnknownWalletError`."""
        return await self.wallet_book.balance(wallet)

    # -- payments -----------------------------------------------------------------------------

    async def send(
        self,
        wallet: str,
        address: str,
        amount_sat: int,
        feerate_sat_per_vb: int | None = None,
        max_fee_sat: int | None = None,
        *,
        message_id: str,
    ) -> PaymentView:
        """Pay one address: see `pay`."""
        terms = SendTerms(feerate_sat_per_vb, max_fee_sat)
        request = ("send", wallet, address, amount_sat, feerate_sat_per_vb, max_fee_sat)
        return await self._payments.send(wallet, [(address, amount_sat)], terms, message_id, request)

    async def pay(
        self, wallet: str, to: Sequence[tuple[str, int]], terms: SendTerms, *, message_id: str
    ) -> PaymentView:
        """Promise a payment to several addresses. When this returns, it will be made whatever crashes.

        The answer is that of the promise (phase ``requested``), with the final txid and fee; ask
        `payment` how it fares. Without a feerate the node's estimate is used. Raises, with nothing
        promised: `UnknownWalletError`, `AddressError`, `AmountError`, `DustError`,
        `InsufficientFundsError`, `TransactionTooLargeError`, `FeeCapMissingError`,
        `AbsurdFeeError`, `FeerateUnknownError`, `CoinNotSpendableError`, `InvalidInputError`,
        `IdempotencyConflictError`.
        """
        asked = tuple((address, amount_sat) for address, amount_sat in to)
        return await self._payments.send(wallet, asked, terms, message_id, ("pay", wallet, asked, terms))

    async def bump_payment(
        self,
        payment_id: str,
        feerate_sat_per_vb: int | None = None,
        max_fee_sat: int | None = None,
        *,
        message_id: str,
    ) -> PaymentView:
        """Raise the fee of a payment in the mempool by replacing its transaction (BIP125).

        Whatever crashes, at most one of the versions is ever in the chain. Without a feerate, the
        least that nodes take. Raises, with nothing changed: `UnknownPaymentError`,
        `NotReplaceableError`, `ReplacementFeeError`, `InsufficientFundsError`, `AbsurdFeeError`.
        """
        return await self._payments.replace(
            payment_id, feerate_sat_per_vb, max_fee_sat, message_id, cancel=False
        )

    async def cancel_payment(
        self,
        payment_id: str,
        feerate_sat_per_vb: int | None = None,
        max_fee_sat: int | None = None,
        *,
        message_id: str,
    ) -> PaymentView:
        """Take a payment in the mempool back, by a replacement that pays the wallet itself.

        A payment that lost a coin in a reorganisation is taken back too: that frees its other coins.
        A miner may still include the payment itself; its view's ``cancels`` says, once it is
        confirmed, which of the two it was. Raises as `bump_payment`.
        """
        return await self._payments.replace(
            payment_id, feerate_sat_per_vb, max_fee_sat, message_id, cancel=True
        )

    async def accelerate(self, wallet: str, txid: str, terms: SendTerms, *, message_id: str) -> PaymentView:
        """Have a transaction of the mempool mined sooner: a child of it pays for both (CPFP).

        The feerate is that of child and unconfirmed ancestors together. Raises, with nothing
        promised: `TransactionNotFoundError`, `NothingToSpendError`, `DustError`, `AbsurdFeeError`.
        """
        return await self._payments.accelerate(wallet, txid, terms, message_id)

    async def payment(self, payment_id: str) -> PaymentView:
        """How a payment fares; raises `UnknownPaymentError`."""
        return await self._payments.payment(payment_id)

    async def payments(self, wallet: str) -> list[PaymentView]:
        """Every payment of the wallet, oldest first."""
        return await self._payments.payments(wallet)
