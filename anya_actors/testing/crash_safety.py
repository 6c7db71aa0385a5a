"""Drives a whole platform with calls while its processes are killed, and counts what is left.

The claim under test: every acknowledged call is there afterwards, and every owed effect happened
exactly once. The calls are of four kinds: deposits into ledgers (each owes one receipt to a
`FolderWitness`), payments signed in the HSM and sent to the Bitcoin node (each to an address of
its own, so that the chain itself counts them), keys made in the HSM, and blocks.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anya_actors.domain.machine import AnyaError
from anya_actors.ports.actors import Actors
from anya_actors.testing.pytest_plugin import serving_pid

LEDGERS = tuple(f"ledger/{name}" for name in ("a", "b", "c", "d"))
TARGETS = ("coordinator", "bitcoin-node/main", "bitcoin/main", "hsm/main", *LEDGERS)
WALLET = "storm"
PAYMENT_SAT = 10_000
CALL_TIMEOUT_S = 180.0


class BrokenPromiseError(AnyaError):
    """Something that was acknowledged is gone, or happened twice."""

    code = "broken-promise"
    message = "what is there is not what was acknowledged: {}"
    remedy = "This is a fault of the platform: report it with the seed."

    def __init__(self, what: str) -> None:
        super().__init__(what)


def hold(true: bool, otherwise: str) -> None:
    """Raise `BrokenPromiseError` unless it is true."""
    if not true:
        raise BrokenPromiseError(otherwise)


@dataclass
class Acknowledged:
    """What callers were told, by kind."""

    deposits: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    payments: dict[str, Any] = field(default_factory=dict)  # address -> view
    keys: dict[str, str] = field(default_factory=dict)  # name -> public key
    blocks: list[str] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def calls(self) -> int:
        """How many mutating calls were acknowledged."""
        paid_in = sum(len(amounts) for amounts in self.deposits.values())
        return paid_in + len(self.payments) + len(self.keys) + len(self.blocks)


@dataclass(frozen=True)
class Storm:
    """One run: so many calls by so many callers, so many kills, all drawn from ``seed``."""

    calls: int
    kills: int
    seed: int
    callers: int = 12
    longest_pause_s: float = 2.0
    report: Callable[[str], None] = lambda _: None


class CrashSafety:
    """One storm over one platform whose plan has the kind ``ledger``."""

    def __init__(self, actors: Actors, folder: Path, storm: Storm) -> None:
        self._actors = actors
        self._folder = folder
        self._storm = storm
        self._numbers = iter(range(storm.calls))
        self._killing = asyncio.Event()
        self.acknowledged = Acknowledged()
        self.killed: Counter[str] = Counter()

    async def run(self) -> None:
        """Prepare, storm, wait for rest, verify. Raises `BrokenPromiseError`."""
        await self._prepare()
        callers = [self._call_until_done(number) for number in range(self._storm.callers)]
        killer = asyncio.create_task(self._kill())
        await asyncio.gather(*callers)
        await killer
        await self.verify()

    async def _prepare(self) -> None:
        call = self._actors.call
        await call("bitcoin/main", "create_wallet", WALLET, message_id="storm-wallet")
        address = await call("bitcoin/main", "new_address", WALLET, message_id="storm-address")
        for number in range(6):
            await call(
                "bitcoin/main", "generate", address.address, 25, message_id=f"storm-{number}", timeout_s=120.0
            )

    # -- calls ----------------------------------------------------------------------------------

    async def _call_until_done(self, caller: int) -> None:
        chance = random.Random(f"{self._storm.seed}/{caller}")  # noqa: S311 - replayable, not secret
        kinds: list[Callable[[int, random.Random], Awaitable[None]]] = [
            *[self._deposit] * 16,
            *[self._pay] * 2,
            self._make_key,
        ]
        for number in self._numbers:
            try:
                await chance.choice(kinds)(number, chance)
            except AnyaError as error:
                self.acknowledged.refusals[error.code] += 1
            if number % 100 == 0:
                await self._mine(number)

    async def _deposit(self, number: int, chance: random.Random) -> None:
        ledger, account = chance.choice(LEDGERS), f"account-{chance.randrange(8)}"
        amount_sat = chance.randint(1, 1000)
        await self._actors.call(
            ledger, "deposit", account, amount_sat, message_id=f"deposit-{number}", timeout_s=CALL_TIMEOUT_S
        )
        self.acknowledged.deposits.setdefault((ledger, account), []).append(amount_sat)

    async def _pay(self, number: int, _: random.Random) -> None:
        made = await self._actors.call(
            "bitcoin/main", "new_address", WALLET, message_id=f"to-{number}", timeout_s=CALL_TIMEOUT_S
        )
        payment = await self._actors.call(
            "bitcoin/main",
            "send",
            WALLET,
            made.address,
            PAYMENT_SAT + number,
            message_id=f"pay-{number}",
            timeout_s=CALL_TIMEOUT_S,
        )
        self.acknowledged.payments[made.address] = payment

    async def _make_key(self, number: int, _: random.Random) -> None:
        name = f"storm-{number}"
        key = await self._actors.call(
            "hsm/main",
            "create_key",
            name,
            "ed25519",
            "storm",
            message_id=f"key-{number}",
            timeout_s=CALL_TIMEOUT_S,
        )
        self.acknowledged.keys[name] = key.public_key

    async def _mine(self, number: int) -> None:
        made = await self._actors.call(
            "bitcoin/main", "new_address", WALLET, message_id=f"mine-to-{number}", timeout_s=CALL_TIMEOUT_S
        )
        try:
            hashes = await self._actors.call(
                "bitcoin/main",
                "generate",
                made.address,
                1,
                message_id=f"mine-{number}",
                timeout_s=CALL_TIMEOUT_S,
            )
        except AnyaError as error:  # mining is at most once: a crash in the middle may say so
            self.acknowledged.refusals[error.code] += 1
        else:
            self.acknowledged.blocks.extend(hashes)

    # -- kills ----------------------------------------------------------------------------------

    async def _kill(self) -> None:
        chance = random.Random(f"{self._storm.seed}/killer")  # noqa: S311 - replayable, not secret
        while self.killed.total() < self._storm.kills:
            await asyncio.sleep(chance.uniform(0.05, self._storm.longest_pause_s))
            target = chance.choice(TARGETS)
            if target in LEDGERS:
                await self._actors.call(target, "accounts", timeout_s=CALL_TIMEOUT_S)
            pid = await serving_pid(self._actors, target, CALL_TIMEOUT_S)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it died in the meantime
            self.killed[target] += 1
            self._storm.report(
                f"kill {self.killed.total()}: {target} (pid {pid}), {self.acknowledged.calls} calls so far"
            )

    # -- what is left ---------------------------------------------------------------------------

    async def verify(self) -> None:
        """Compare what was acknowledged with what is there."""
        await self._verify_ledgers()
        await self._verify_keys()
        await self._verify_payments()

    async def _verify_ledgers(self) -> None:
        receipts = 0
        for (ledger, account), amounts in sorted(self.acknowledged.deposits.items()):
            found = await self._actors.call(ledger, "settled", account, timeout_s=CALL_TIMEOUT_S)
            expected = (sum(amounts), len(amounts), len(amounts))
            got = (found.balance_sat, found.deposits, found.receipts)
            hold(got == expected, f"{ledger} {account}: {got}, acknowledged {expected}")
            receipts += len(amounts)
        witnessed = [path.name for path in (self._folder / "witness").iterdir() if path.name != "attempts"]
        hold(len(witnessed) == receipts, f"{len(witnessed)} receipts witnessed, {receipts} owed")

    async def _verify_keys(self) -> None:
        keys = await self._actors.call("hsm/main", "keys", "storm", timeout_s=CALL_TIMEOUT_S)
        found = {key.name: key.public_key for key in keys}
        hold(found == self.acknowledged.keys, "the HSM's keys are not the acknowledged ones")
        await self._actors.call("hsm/main", "verify_audit", timeout_s=CALL_TIMEOUT_S)

    async def _verify_payments(self) -> None:
        async with asyncio.timeout(CALL_TIMEOUT_S):
            for payment in self.acknowledged.payments.values():
                while True:
                    found = await self._actors.call("bitcoin/main", "payment", payment.payment_id)
                    if found.txid is not None and found.phase not in ("requested", "signed"):
                        break
                    await asyncio.sleep(0.2)
        made = await self._actors.call("bitcoin/main", "new_address", WALLET, message_id="last-address")
        last = await self._actors.call("bitcoin/main", "generate", made.address, 1, message_id="last-block")
        tip = await self._actors.call("bitcoin/main", "block", last[-1])
        paying: Counter[str] = Counter()
        seen_blocks = set()
        for height in range(tip.height + 1):
            block = await self._actors.call("bitcoin/main", "block", str(height))
            seen_blocks.add(block.hash)
            for txid in block.txids[1:]:
                transaction = await self._actors.call("bitcoin/main", "transaction", txid)
                for output in transaction.outputs:
                    if output.address in self.acknowledged.payments:
                        payment = self.acknowledged.payments[output.address]
                        if output.amount_sat == payment.amount_sat:
                            paying[output.address] += 1
        for address in self.acknowledged.payments:
            hold(paying[address] == 1, f"{address} was paid {paying[address]} times")
        lost = set(self.acknowledged.blocks) - seen_blocks
        hold(not lost, f"acknowledged blocks are gone: {lost}")
