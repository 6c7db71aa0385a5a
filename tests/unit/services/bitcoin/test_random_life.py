"""Wallets in a world that does what it likes: whatever happened, money and events are what the chain says."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import pytest

from anya_actors.domain.bitcoin.events import BitcoinTransactionConfirmed, BitcoinTransactionReorged
from anya_actors.domain.bitcoin.transaction import Outpoint
from anya_actors.domain.bitcoin.wallet_scripts import known_scripts
from anya_actors.domain.machine import AnyaError
from anya_actors.services.bitcoin import SendTerms, WalletOrder

COIN_SAT = 50 * 100_000_000
WALLETS = ("main", "other")
MADE = ("confirmed", "settled")
STEPS = 60
DEEDS = ["pay", "pay", "pay", "bump", "cancel", "accelerate", "mine", "mine", "reorganise", "reorganise far"]
DEEDS += [
    "lose mempool",
    "down",
    "up",
    "lose answers",
    "refuse",
    "take",
    "restart",
    "follow",
    "wait",
    "rescan",
]


class Life:
    """One random life of two wallets; ``asked`` are the payments with whom they pay how much."""

    def __init__(self, world: Any, seed: int) -> None:
        self.world, self.random = world, random.Random(seed)
        self.service: Any = None
        self.addresses: dict[str, str] = {}
        self.asked: dict[str, tuple[str, int]] = {}

    async def begin(self) -> None:
        self.service = await self.world.start()
        for name in WALLETS:
            order = WalletOrder(kind=self.random.choice(["wpkh", "tr", "sh-wpkh"]))
            view = await self.service.create_wallet(name, order, message_id=name)
            self.addresses[name] = view.address
            self.world.node.mine(3, self.world.script(view.address))
        self.world.node.mine(100)
        await self.service.follow()

    async def live(self) -> None:
        for number in range(STEPS):
            with contextlib.suppress(AnyaError):
                await self._do(self.random.choice(DEEDS), self.random.choice(WALLETS), f"m{number}")
            if self.random.random() < 0.5:
                await self.world.breathe()

    async def _do(self, deed: str, name: str, message_id: str) -> None:
        world, chance = self.world, self.random
        match deed:
            case "pay":
                to = world.foreign_address(1000 + int(message_id[1:]))
                amount_sat = chance.choice([10_000, COIN_SAT // 3, COIN_SAT + 5])
                feerate = chance.choice([1, 2, 9])
                made = await self.service.send(name, to, amount_sat, feerate, message_id=message_id)
                self.asked[made.payment_id] = (to, amount_sat)
            case "bump" | "cancel" | "accelerate":
                await self._hurry(deed, name, message_id)
            case "mine":
                world.node.mine(1, world.script(self.addresses[name]), empty=chance.random() < 0.3)
            case "reorganise":
                world.node.reorganise(chance.randint(1, 6), empty=chance.random() < 0.7)
            case "reorganise far" if chance.random() < 0.2:
                world.node.reorganise(min(world.node.height - 1, chance.choice([60, 110])))
            case "lose mempool":
                world.node.lose_mempool()
            case "down" | "up":
                world.node.down = deed == "down"
            case "lose answers":
                world.node.lose_answers = chance.randint(0, 2)
            case "refuse" | "take":
                world.node.reject_reason = "mempool full" if deed == "refuse" else None
            case "restart":
                self.service = await world.restart(self.service)
            case "follow":
                await self.service.follow()
            case "wait":
                await world.pass_time(chance.randint(1, 4))
            case "rescan":
                height = chance.randint(0, world.node.height)
                await self.service.wallet_book.rescan(name, height, message_id=message_id)

    async def _hurry(self, deed: str, name: str, message_id: str) -> None:
        payments = await self.service.payments(name)
        if not payments:
            return
        one, feerate = self.random.choice(payments), self.random.choice([None, 20])
        if deed == "accelerate":
            await self.service.accelerate(name, one.txid, SendTerms(feerate), message_id=message_id)
        elif deed == "bump":
            await self.service.bump_payment(one.payment_id, feerate, message_id=message_id)
        else:
            await self.service.cancel_payment(one.payment_id, feerate, message_id=message_id)

    async def heal(self) -> None:
        node = self.world.node
        node.down, node.reject_reason, node.lose_answers = False, None, 0
        for _ in range(6):
            await self.world.pass_time(6)
            for name in WALLETS:
                await self.service.settled(name)
            node.mine(1)
            await self.service.follow()
        node.mine(8, empty=True)
        await self.service.follow()

    def chain_of(self, scripts: set[bytes]) -> dict[str, int]:
        """Every transaction of the chain that pays to these scripts or spends from them, with its height."""
        own: set[Outpoint] = set()
        found: dict[str, int] = {}
        for height, block_hash in enumerate(self.world.node._active):
            for one in self.world.node._blocks[block_hash][0].transactions:
                paid = {
                    Outpoint(one.txid, at)
                    for at, output in enumerate(one.outputs)
                    if output.script_pubkey in scripts
                }
                if paid or any(spent.prevout in own for spent in one.inputs):
                    found[str(one.txid)] = height
                own |= paid
        return found

    async def told_of(self, name: str) -> dict[str, int]:
        """What events tell to be confirmed; nothing is told twice, nor taken back before it was told."""
        told: dict[str, int] = {}
        for event in await self.world.events(BitcoinTransactionConfirmed, BitcoinTransactionReorged):
            if event.wallet != name:
                continue
            assert (event.txid in told) == isinstance(event, BitcoinTransactionReorged)
            if isinstance(event, BitcoinTransactionConfirmed):
                told[event.txid] = event.height
            else:
                del told[event.txid]
        return told


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_money_and_events_are_what_the_chain_says(world: Any, seed: int) -> None:
    life = Life(world, seed)
    await life.begin()
    await life.live()
    await life.heal()
    for name in WALLETS:
        scripts = set(known_scripts(await life.service._ledger.wallet(name)))
        balance = await life.service.balance(name)
        assert balance.confirmed_sat + balance.immature_sat == world.node.balance_sat(scripts)
        assert await life.told_of(name) == life.chain_of(scripts)
        for payment in await life.service.payments(name):
            assert payment.phase not in ("requested", "signed")
            if payment.payment_id in life.asked:
                to, amount_sat = life.asked[payment.payment_id]
                is_made = payment.phase in MADE and not payment.cancels
                assert world.node.outputs_to(world.script(to)) == [amount_sat] * is_made
