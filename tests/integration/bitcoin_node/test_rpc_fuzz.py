"""Whatever parameters a method gets, it answers or refuses: never an internal error, never a dead node."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anya_actors.adapters.bitcoinkernel.engine import KernelEngines
from anya_actors.adapters.memory.append_log import MemoryAppendLog
from anya_actors.adapters.memory.chain_index import MemoryChainIndexes
from anya_actors.adapters.system.clock import SystemClock
from anya_actors.adapters.system.randomness import SystemRandomness
from anya_actors.domain.bitcoin.genesis import REGTEST_GENESIS
from anya_actors.domain.bitcoin.network import Network
from anya_actors.serve.bitcoin_rpc.context import RpcContext
from anya_actors.serve.bitcoin_rpc.json_rpc import JsonRpc
from anya_actors.serve.bitcoin_rpc.methods import METHODS
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

# Those wait, or work as long as they are told to.
ENDLESS = {
    "generatetoaddress",
    "generatetodescriptor",
    "getblocktemplate",
    "waitforblock",
    "waitforblockheight",
    "waitfornewblock",
}
ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
TX = (
    "0200000001111111111111111111111111111111111111111111111111111111111111111100000000"
    "00fdffffff01e803000000000000160014222222222222222222222222222222222222222200000000"
)
PLAUSIBLE = [
    str(REGTEST_GENESIS.hash),
    "00" * 32,
    ADDRESS,
    TX,
    REGTEST_GENESIS.serialize().hex(),
    "cHNidP8BAAoCAAAAAAAAAAAAAA==",
    "wpkh(0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798)",
    f"addr({ADDRESS})",
    "start",
    "ALL",
    "bech32m",
    "",
    "*",
    "51",
]

numbers = st.sampled_from([-1, 0, 1, 2, 144, 1 << 31, 1 << 63, 1 << 70]) | st.floats(
    allow_nan=False, width=32
)
words = st.sampled_from(PLAUSIBLE) | st.text(max_size=12)
values = st.recursive(
    st.none() | st.booleans() | numbers | words,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["txid", "vout", "desc", "range", "data", "fee_rate", "timestamp", "inputs", ADDRESS]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bytes], bytes]]:
    """A whole node in a thread of its own: the bodies of its answers."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def wait(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def begin(folder: Path) -> tuple[BitcoinNodeService, JsonRpc]:
        engines = KernelEngines(folder, Network.REGTEST, in_memory=True)
        node = BitcoinNodeService(
            engines=engines,
            indexes=MemoryChainIndexes(),
            log=MemoryAppendLog(),
            clock=SystemClock(),
            randomness=SystemRandomness(),
        )
        await node.start()
        rpc = JsonRpc(RpcContext(node, SystemClock(), lambda: None), METHODS)
        mine = {"id": 1, "method": "getnewaddress", "params": []}
        address = msgspec.json.decode((await rpc.answer(msgspec.json.encode(mine))).body)["result"]
        mine = {"id": 1, "method": "generatetoaddress", "params": [101, address]}
        await rpc.answer(msgspec.json.encode(mine))
        return node, rpc

    node, rpc = wait(begin(tmp_path_factory.mktemp("fuzz")))
    yield lambda body: bytes(wait(rpc.answer(body)).body)
    wait(node.close())
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


# Writes files, wherever it is told to.
WRITING = {"backupwallet"}


@pytest.mark.parametrize("name", sorted(METHODS.keys() - ENDLESS - WRITING))
def test_no_parameters_are_an_internal_error(name: str, answer: Callable[[bytes], bytes]) -> None:
    signature = METHODS[name].signature
    least, most = signature.required, len(signature.names)
    by_kind = {
        "string": words,
        "number": numbers,
        "bool": st.booleans(),
        "array": st.lists(values, max_size=3),
        "object": st.dictionaries(st.text(max_size=6) | st.sampled_from(PLAUSIBLE), values, max_size=3),
    }
    # Mostly of the right type, so that more than the check of types is met.
    fitting = [by_kind.get(parameter.kind, values) | values for parameter in signature.parameters]
    params = st.integers(least, most).flatmap(lambda count: st.tuples(*fitting[:count]))

    @settings(max_examples=20, deadline=None, database=None, derandomize=True)
    @given(params)
    def never(given_params: tuple[Any, ...]) -> None:
        body = msgspec.json.encode({"id": 1, "method": name, "params": given_params})
        content = msgspec.json.decode(answer(body))
        assert content["error"] is None or content["error"]["code"] != -32603, content

    never()
