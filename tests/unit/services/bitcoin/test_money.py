"""Whatever happens in whatever order, the wallet holds what the chain says and pays no one twice."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Stage
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.coin_selection import DustError, InsufficientFundsError
from anya_actors.domain.bitcoin.payment import Phase
from anya_actors.domain.bitcoin.payment_order import AbsurdFeeError
from anya_actors.domain.bitcoin.replacement_plan import NotReplaceableError, ReplacementFeeError
from anya_actors.domain.bitcoin.wallet_scripts import known_scripts
from anya_actors.services.bitcoin import BitcoinService

# Said once more, not imported: what the rules hold reserved is what is tested.
UNDER_WAY = (Phase.REQUESTED, Phase.SIGNED, Phase.BROADCAST)

ACTION = st.one_of(
    st.tuples(st.just("mine"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("mine"), st.integers(1, 1), st.just(True)),
    st.tuples(st.just("send"), st.integers(1_000, 60 * 10**8), st.integers(1, 50)),
    st.tuples(st.just("send to ourselves"), st.integers(1_000, 20 * 10**8), st.integers(1, 50)),
    st.tuples(st.just("bump"), st.integers(0, 9), st.integers(2, 80)),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.integers(2, 80)),
    st.tuples(st.just("reorganise"), st.integers(1, 4), st.booleans()),
    st.tuples(st.just("reorganise"), st.integers(1, 2), st.booleans()),
    st.tuples(st.just("lose mempool"), st.just(0), st.just(0)),
    st.tuples(st.just("outage"), st.just(0), st.just(0)),
    st.tuples(st.just("lose answer"), st.just(0), st.just(0)),
    st.tuples(st.just("full mempool"), st.just(0), st.just(0)),
    st.tuples(st.just("restart"), st.just(0), st.just(0)),
)


class Story:
    """One run of actions, checked after each."""

    def __init__(self, world: Any, service: BitcoinService) -> None:
        self.world = world
        self.service = service
        self.sent: dict[str, bytes] = {}

    async def act(self, number: int, action: tuple[str, int, int]) -> None:
        kind, a, b = action
        node = self.world.node
        match kind:
            case "mine":
                script = self.world.script((await self.service.wallets())[0].address)
                node.mine(a, script) if b else node.mine(a)
            case "send" | "send to ourselves":
                await self.send(number, a, b, ours=kind != "send")
            case "bump" | "cancel":
                await self.replace(number, a, b, cancel=kind == "cancel")
            case "reorganise":
                node.reorganise(min(a, node.height - 110), empty=bool(b))
            case "lose mempool":
                node.lose_mempool()
            case "outage":
                node.down = not node.down
            case "lose answer":
                node.lose_answers = 1
            case "full mempool":
                node.reject_reason = None if node.reject_reason else "mempool full"
            case "restart":
                self.service = await self.world.restart(self.service)

    async def send(self, number: int, amount_sat: int, feerate: int, *, ours: bool) -> None:
        address = self.world.foreign_address(1000 + number)
        if ours:
            address = (await self.service.new_address("main", message_id=f"address {number}")).address
        try:
            promised = await self.service.send(
                "main", address, amount_sat, feerate, message_id=f"send {number}"
            )
        except InsufficientFundsError:
            return
        self.sent[promised.payment_id] = self.world.script(address)

    async def replace(self, number: int, which: int, feerate: int, *, cancel: bool) -> None:
        if not self.sent:
            return
        payment_id = list(self.sent)[which % len(self.sent)]
        ask = self.service.cancel_payment if cancel else self.service.bump_payment
        with contextlib.suppress(
            NotReplaceableError, ReplacementFeeError, InsufficientFundsError, AbsurdFeeError, DustError
        ):
            await ask(payment_id, feerate, message_id=f"replace {number}")

    async def check(self) -> None:
        wallet = await self.service._ledger.wallet("main")
        reserved = [
            outpoint
            for payment in wallet.payments
            if payment.phase in UNDER_WAY
            for outpoint in payment.outpoints
        ]
        assert len(reserved) == len(set(reserved))
        for payment_id, script in self.sent.items():
            payment = wallet.payment(payment_id)
            paid = self.world.node.outputs_to(script)
            assert paid in ([], [payment.amount_sat])
            if wallet.cursor.tip_hash == self.world.node.best_hash:
                in_a_block = payment.phase in (Phase.CONFIRMED, Phase.SETTLED)
                assert bool(paid) == (in_a_block and not payment.cancels)
        if wallet.cursor.tip_hash == self.world.node.best_hash:
            balance = await self.service.balance("main")
            held_sat = self.world.node.balance_sat(known_scripts(wallet))
            assert balance.confirmed_sat + balance.immature_sat == held_sat
            assert balance.confirmed_sat == balance.reserved_sat + balance.spendable_sat

    async def finish(self) -> None:
        """With a node that works again, every payment ends, and as its phase says."""
        self.world.node.down = False
        self.world.node.reject_reason = None
        self.world.node.lose_answers = 0
        for _ in range(4):
            await self.world.pass_time(6)
            await self.service.settled("main")
            self.world.node.mine(1)
            await self.service.follow()
            await self.check()
        wallet = await self.service._ledger.wallet("main")
        assert wallet.cursor.tip_hash == self.world.node.best_hash
        over = (Phase.CONFIRMED, Phase.SETTLED, Phase.REJECTED, Phase.CONFLICTED)
        for payment in wallet.payments:
            lost_coin = any((one.txid, one.index) not in known(wallet) for one in payment.inputs)
            assert payment.phase in over or lost_coin


def known(wallet: Any) -> set[tuple[bytes, int]]:
    return {coin.outpoint for coin in wallet.coins}


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Stage.explicit, Stage.generate],  # a story takes too long to tell it shorter and shorter
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(actions=st.lists(ACTION, min_size=12, max_size=24))
async def test_balances_follow_the_chain_and_no_payment_is_made_twice(
    new_world: Any, actions: list[tuple[str, int, int]]
) -> None:
    world = new_world()
    story = Story(world, await world.start())
    await world.funded(story.service, 50, 50, 50)
    world.node.mine(10)
    try:
        for number, action in enumerate(actions):
            await story.act(number, action)
            await world.pass_time(1)
            await story.check()
        await story.finish()
    finally:
        await world.close()
