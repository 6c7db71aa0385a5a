"""The consensus engine on libbitcoinkernel: the one module that calls ``pbk``.

The kernel aborts the whole process on arguments that it deems impossible (an input index out of
range, unknown flags, a wrong number of spent outputs), crashes on null pointers, and hands out
views that outlive their owner. So everything here is checked before it is passed and copied
before it is returned, and the platform runs it in a process of its own, supervised.
"""

from __future__ import annotations

import ctypes
import fcntl
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

import pbk
from pbk.capi import KernelOpaquePtr
from pbk.capi.library import BITCOINKERNEL_LIB
from pbk.script import PrecomputedTransactionData

from anya_actors.adapters.bitcoinkernel.flush_mark import FlushMark
from anya_actors.adapters.bitcoinkernel.reasons import heard_lines, listen, reason_in
from anya_actors.domain.bitcoin.amount import MAX_MONEY_SAT
from anya_actors.domain.bitcoin.block import HEADER_SIZE, parse_header
from anya_actors.domain.bitcoin.coin import Coin
from anya_actors.domain.bitcoin.errors import RejectedTransactionError
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.network import Network
from anya_actors.domain.bitcoin.node_time import MAX_MOCK_TIME_S
from anya_actors.domain.bitcoin.transaction import Transaction, TxOutput
from anya_actors.domain.machine import NotSupportedError
from anya_actors.ports.consensus import EngineFailedError, EngineLockedError, Standing, Verdict

CONSENSUS_FLAGS: Final = int(pbk.ScriptVerificationFlags.ALL)
# Not in the kernel's C interface: its own C++ function, exported by the pinned library under this name.
_SET_MOCK_TIME: Final = BITCOINKERNEL_LIB["_Z11SetMockTimel"]
_SET_MOCK_TIME.argtypes, _SET_MOCK_TIME.restype = [ctypes.c_int64], None
SCRIPT_REJECTED: Final = "mempool-script-verify-flag-failed"


def _from_bytes(kind: Any, data: bytes) -> Any:
    # The package's own constructors copy byte by byte through Python integers: 30 ms a megabyte.
    made = kind.__new__(kind)
    KernelOpaquePtr.__init__(made, (ctypes.c_ubyte * len(data)).from_buffer_copy(data), len(data))
    return made


class KernelEngine:
    """One chainstate of the kernel. Used by one thread at a time, except `verify_scripts`."""

    def __init__(self, directory: Path, *, wipe: bool, in_memory: bool = False) -> None:
        listen()
        self._directory = directory
        self._in_memory = in_memory
        self._checked: dict[bytes, bool] = {}
        self._chainman: Any = None
        self._lock = _lock(directory)
        try:
            self._mark = FlushMark(directory)
            self.mark = self._mark.take()
            if wipe or self.mark is None:
                self.mark = None
                _remove_all(directory)
            self._open()
            if self.mark is not None:
                self._mark.leave(self.mark)
        except BaseException:
            self._lock.close()
            raise

    def _open(self) -> None:
        directory, in_memory = self._directory, self._in_memory
        # The kernel keeps raw pointers into these callbacks: they must live as long as it does.
        self._callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._on_block_checked)
        context = pbk.make_context(pbk.ChainType.REGTEST, self._callbacks)
        options = pbk.ChainstateManagerOptions(context, str(directory), str(directory / "blocks"))
        options.update_block_tree_db_in_memory(in_memory)
        options.update_chainstate_db_in_memory(in_memory)
        with heard_lines() as lines:
            try:
                self._chainman = pbk.ChainstateManager(options)
                # Without this first import the best chain is not activated.
                self._chainman.import_blocks([])
            except RuntimeError as error:
                why = lines[-1].strip() if lines else str(error)
                raise EngineFailedError("open", why) from error

    def _on_block_checked(self, _: Any, block: pbk.Block, state: pbk.BlockValidationState) -> None:
        self._checked[bytes(block.block_hash)] = state.validation_mode == pbk.ValidationMode.VALID

    @property
    def _kernel(self) -> Any:
        if self._chainman is None:
            raise EngineFailedError("answer", "it is closed")
        return self._chainman

    def tip(self) -> tuple[BlockHash, int]:
        chain = self._kernel.get_active_chain()
        height = int(chain.height)
        if height < 0:
            raise EngineFailedError("tell its tip", "it has no genesis block")
        return BlockHash(bytes(chain.block_tree_entries[height].block_hash)), height

    def process_block(self, raw: bytes, begun: Callable[[], None] = lambda: None) -> Verdict:
        block_hash = parse_header(raw[:HEADER_SIZE]).hash
        self._checked.clear()
        known = self._is_known(block_hash)
        with heard_lines() as lines:
            try:
                kernel, block = self._kernel, _from_bytes(pbk.Block, raw)
                begun()
                is_new = bool(kernel.process_block(block))
            except pbk.ProcessBlockException:
                return self._refused(block_hash, lines, is_new=not known)
            except RuntimeError:
                return Verdict(Standing.INVALID, not known, "block-decode-failed")
        if self._checked.get(bytes(block_hash)) is False:
            return self._refused(block_hash, lines, is_new=True)
        standing = Standing.VALID if self._is_active(block_hash) else Standing.STORED
        return Verdict(standing, is_new)

    @staticmethod
    def _refused(block_hash: BlockHash, lines: list[str], *, is_new: bool) -> Verdict:
        return Verdict(Standing.INVALID, is_new, *reason_in(lines, str(block_hash)))

    def _entry(self, block_hash: BlockHash) -> Any:
        return self._kernel.block_tree_entries[pbk.BlockHash(bytes(block_hash))]

    def _is_known(self, block_hash: BlockHash) -> bool:
        return pbk.BlockHash(bytes(block_hash)) in self._kernel.block_tree_entries

    def _is_active(self, block_hash: BlockHash) -> bool:
        entry = self._entry(block_hash)
        return entry in self._kernel.get_active_chain().block_tree_entries

    def spent_coins(self, block_hash: BlockHash) -> tuple[tuple[Coin, ...], ...]:
        entry = self._entry(block_hash)
        if entry.height == 0:
            return ()
        try:
            spent = self._kernel.block_spent_outputs[entry]
        except RuntimeError as error:
            raise KeyError(block_hash) from error
        return tuple(
            tuple(_copy_coin(spent.transactions[at].coins[index]) for index in range(count))
            for at, count in enumerate(len(item.coins) for item in spent.transactions)
        )

    def verify_scripts(self, transaction: Transaction, spent: Sequence[TxOutput]) -> None:
        verify_scripts(transaction, spent)

    def flush(self, mark: bytes) -> None:
        if not self._in_memory:
            # The kernel writes its state down when it is closed, and has no call for it.
            self._release(mark)
            self._open()

    def close(self, mark: bytes | None = None) -> None:
        if self._chainman is not None:
            self._release(mark)
        self._lock.close()

    def _release(self, mark: bytes | None) -> None:
        # Its destructor flushes; no view of it may be left, and none is: all are copied.
        chainman, self._chainman = self._kernel, None
        chainman.__del__()
        if mark is not None and not self._in_memory:
            self._mark.leave(mark)


def _lock(directory: Path) -> IO[bytes]:
    """Hold the directory for this engine: wiping must never meet another one's open files."""
    directory.mkdir(parents=True, exist_ok=True)
    file = (directory / "engine.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise EngineLockedError(str(directory)) from error
    return file


def _remove_all(directory: Path) -> None:
    # The kernel's own wipe rebuilds its databases from its block files, which may hold blocks
    # that nobody was told of: the files have to go too.
    for name in ("blocks", "chainstate"):
        shutil.rmtree(directory / name, ignore_errors=True)


def verify_scripts(transaction: Transaction, spent: Sequence[TxOutput], flags: int = CONSENSUS_FLAGS) -> None:
    """Check every input's script; ``spent`` in the order of the inputs.

    Raises `RejectedTransactionError`, or `NotSupportedError` for flags that are policy: the kernel
    would abort on them.
    """
    _check_spend(transaction, spent)
    if flags & ~CONSENSUS_FLAGS:
        raise NotSupportedError(
            f"verifying under the flags {flags:#x}", "the kernel knows consensus rules only"
        )
    try:
        kernel_transaction = _from_bytes(pbk.Transaction, transaction.serialize())
    except RuntimeError as error:
        raise RejectedTransactionError("TX decode failed") from error
    if len(kernel_transaction.inputs) != len(transaction.inputs):
        raise RejectedTransactionError("TX decode failed")
    scripts = [_from_bytes(pbk.ScriptPubkey, output.script_pubkey) for output in spent]
    outputs = [
        pbk.TransactionOutput(script, output.amount_sat)
        for script, output in zip(scripts, spent, strict=True)
    ]
    precomputed = PrecomputedTransactionData(kernel_transaction, outputs)
    for index, (script, output) in enumerate(zip(scripts, spent, strict=True)):
        if not _passes(script, output.amount_sat, kernel_transaction, precomputed, index, flags):
            detail = f"input {index} does not satisfy the script it spends"
            raise RejectedTransactionError(SCRIPT_REJECTED, detail)


def _check_spend(transaction: Transaction, spent: Sequence[TxOutput]) -> None:
    if not transaction.inputs:
        raise RejectedTransactionError("bad-txns-vin-empty")
    if len(spent) != len(transaction.inputs):
        raise RejectedTransactionError("bad-txns-inputs-missingorspent")
    if not all(0 <= output.amount_sat <= MAX_MONEY_SAT for output in spent):
        raise RejectedTransactionError("bad-txns-inputvalues-outofrange")


def _passes(
    script: pbk.ScriptPubkey,
    amount_sat: int,
    transaction: pbk.Transaction,
    precomputed: PrecomputedTransactionData,
    index: int,
    flags: int,
) -> bool:
    chosen = pbk.ScriptVerificationFlags(flags)
    try:
        return bool(script.verify(amount_sat, transaction, precomputed, index, chosen))
    except pbk.ScriptVerifyException as error:
        raise EngineFailedError("verify a script", error.status.name) from error


def _copy_coin(coin: pbk.Coin) -> Coin:
    return Coin(
        int(coin.output.amount),
        bytes(coin.output.script_pubkey),
        int(coin.confirmation_height),
        bool(coin.is_coinbase),
    )


class KernelEngines:
    """Opens the kernel in one directory. ``in_memory`` keeps its databases (not its blocks) in RAM."""

    def __init__(self, directory: Path, network: Network, *, in_memory: bool = False) -> None:
        if network is not Network.REGTEST:
            raise NotSupportedError(
                f"an embedded node on {network.value}", "it has no peers: use Bitcoin Core"
            )
        self._directory = directory.absolute()
        self._in_memory = in_memory

    def open(self, *, wipe: bool) -> KernelEngine:
        return KernelEngine(self._directory, wipe=wipe, in_memory=self._in_memory)

    def set_time(self, unix_s: int) -> None:
        if not 0 <= unix_s <= MAX_MOCK_TIME_S:
            raise ValueError("the kernel aborts on such a time")
        _SET_MOCK_TIME(unix_s)
