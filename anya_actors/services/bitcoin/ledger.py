"""The durable state of the ``bitcoin`` actor, by name: its chain, its wallets, its generations."""

from __future__ import annotations

from typing import Final, TypeVar

from anya_actors.domain.bitcoin import rules
from anya_actors.domain.bitcoin.chain_follower import ChainCursor, FollowedChain
from anya_actors.domain.bitcoin.generation import Generation
from anya_actors.domain.bitcoin.rules import BitcoinAnswer, BitcoinState
from anya_actors.domain.bitcoin.subscriptions import Watchlist
from anya_actors.domain.bitcoin.wallet import UnknownWalletError, Wallet
from anya_actors.domain.machine import Event, InvalidInputError
from anya_actors.services.bitcoin.locks import KeyLocks
from anya_actors.services.durable import DurableEngine, Rules

V = TypeVar("V")

CHAIN_KEY: Final = "chain"
SUBSCRIPTIONS_KEY: Final = "subscriptions"
_WALLET_PREFIX: Final = "wallet/"

BitcoinEngine = DurableEngine[BitcoinState, BitcoinAnswer]

BITCOIN_RULES: Final = Rules(
    state=rules.STATE,
    command=rules.COMMAND,
    event=rules.EVENT,
    initial=rules.initial,
    step=rules.step,
    reply=rules.ANSWER,
    answer=rules.answer,
)


def wallet_key(name: str) -> str:
    return _WALLET_PREFIX + name


def call_id(message_id: str) -> str:
    """The engine's id of a caller's request: apart from those of the follower."""
    return f"call/{message_id}"


def expect(answer: object, kind: type[V]) -> V:
    """The answer if it is of this kind; raises `InvalidInputError` for a reused message id."""
    if not isinstance(answer, kind):
        raise InvalidInputError("message_id", "it was used for another kind of call")
    return answer


class Ledger:
    """Typed reading and writing over the engine.

    ``locks`` guard what spans several awaits: whoever decides from a wallet's keys and coins and
    then changes that wallet holds its lock in between.
    """

    def __init__(self, engine: BitcoinEngine) -> None:
        self.engine = engine
        self.locks = KeyLocks()

    async def wallet(self, name: str) -> Wallet:
        """The wallet; raises `UnknownWalletError`."""
        state = await self.engine.load(wallet_key(name))
        if not isinstance(state, Wallet):
            raise UnknownWalletError(name)
        return state

    async def wallet_names(self) -> list[str]:
        return [key.removeprefix(_WALLET_PREFIX) for key in await self.engine.keys(_WALLET_PREFIX)]

    async def wallets(self) -> list[Wallet]:
        return [await self.wallet(name) for name in await self.wallet_names()]

    async def chain(self) -> FollowedChain | None:
        """The chain as far as it has been told of, None before the node was first met."""
        state = await self.engine.load(CHAIN_KEY)
        return state if isinstance(state, FollowedChain) else None

    async def watchlist(self) -> Watchlist | None:
        """Every subscription, None before there was one."""
        state = await self.engine.load(SUBSCRIPTIONS_KEY)
        return state if isinstance(state, Watchlist) else None

    async def generation(self, tag: str) -> Generation | None:
        state = await self.engine.load(f"generation/{tag}")
        return state if isinstance(state, Generation) else None

    async def cursor(self, key: str) -> tuple[ChainCursor, int]:
        """Where this key's follower stands, and the number of its next change."""
        state = await self.engine.load(key)
        if not isinstance(state, FollowedChain | Wallet | Watchlist):
            raise UnknownWalletError(key)
        return state.cursor, state.follow_count

    async def follow(self, key: str, event: Event, follow_count: int) -> None:
        """Apply what the follower saw. The number makes a repetition after a crash harmless."""
        await self.engine.handle(key, event, message_id=f"follow/{key}/{follow_count}")
