"""What version 1 has stored can be read for ever: states and commands as bytes in stored_v1.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from anya_actors.domain.bitcoin.chain_follower import ChainCursor, FollowedChain
from anya_actors.domain.bitcoin.generation import Generation
from anya_actors.domain.bitcoin.payment import (
    BroadcastPayment,
    Payment,
    PaymentInput,
    Phase,
    SignPayment,
)
from anya_actors.domain.bitcoin.rules import COMMAND, STATE, BitcoinState, Nothing
from anya_actors.domain.bitcoin.wallet import PendingTransaction, Wallet, WalletCoin, WalletKey
from anya_actors.domain.machine import Command

STORED = json.loads((Path(__file__).parent / "stored_v1.json").read_text("utf-8"))

CURSOR = ChainCursor(7, (b"\x06" * 32, b"\x07" * 32))
INPUT = PaymentInput(b"\x01" * 32, 2, 5000, "wallet.main.0", b"\x02" * 33)
PAYMENT = Payment(
    payment_id="main.00ff",
    phase=Phase.BROADCAST,
    address="bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
    amount_sat=4000,
    feerate_sat_per_vb=3,
    fee_sat=423,
    change_sat=577,
    inputs=(INPUT,),
    transaction=b"\x02\x00",
    txid=b"\x03" * 32,
    final_confirmations=6,
    requested_unix_ms=1_700_000_000_000,
    height=None,
    reason="mempool full",
    accepted=True,
    broadcast_owed=True,
    broadcasts=2,
    refused_height=7,
)
WALLET = Wallet(
    name="main",
    network="regtest",
    created_unix_ms=1_700_000_000_000,
    cursor=CURSOR,
    keys=(WalletKey("wallet.main.0", b"\x02" * 33), WalletKey("wallet.main.1", b"\x03" * 33, change=True)),
    coins=(
        WalletCoin(b"\x01" * 32, 2, 5000, b"\x00\x14" + bytes(20), 3, False),
        WalletCoin(b"\x04" * 32, 0, 9000, b"\x00\x14" + bytes(20), 4, True, 6, b"\x05" * 32),
    ),
    payments=(PAYMENT,),
    pending=(PendingTransaction(b"\x03" * 32, 577),),
    follow_count=12,
)
STATES: dict[str, BitcoinState] = {
    "nothing": Nothing(),
    "chain": FollowedChain(CURSOR, 3),
    "wallet": WALLET,
    "generation": Generation("bcrt1q", 2, 1, False, ("00" * 32,)),
}
COMMANDS: dict[str, Command] = {
    "sign": SignPayment("main.00ff", b"\x02\x00", (INPUT,)),
    "broadcast": BroadcastPayment("main.00ff", b"\x02\x00"),
}


@pytest.mark.parametrize("name", list(STATES))
def test_every_state_that_version_1_stored_is_read_unchanged(name: str) -> None:
    assert STATE.decode(bytes.fromhex(STORED["states"][name])) == STATES[name]
    assert STATE.decode(STATE.encode(STATES[name])) == STATES[name]


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_that_version_1_owed_is_read_unchanged(name: str) -> None:
    assert COMMAND.decode(bytes.fromhex(STORED["commands"][name])) == COMMANDS[name]
    assert COMMAND.decode(COMMAND.encode(COMMANDS[name])) == COMMANDS[name]
