"""Keeps what the node learned of fees in a file of its directory: now and then, and at a clean stop."""

from __future__ import annotations

import asyncio
import logging

from anya_actors.domain.bitcoin.kept_fees import (
    DamagedFeeEstimatesError,
    KeptEstimates,
    StaleFeeEstimatesError,
    encode_estimates,
    read_estimates,
)
from anya_actors.ports.clock import Clock
from anya_actors.serve.bitcoin_node.directory import NodeDirectory
from anya_actors.services.bitcoin_node.service import BitcoinNodeService

_log = logging.getLogger(__name__)


class FeeKeeper:
    """The file of one running node. Estimates are no truth: without the file the node only knows less."""

    def __init__(self, directory: NodeDirectory, node: BitcoinNodeService, clock: Clock) -> None:
        self._directory = directory
        self._node = node
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._writing: asyncio.Future[None] | None = None

    async def start(self, interval_s: float) -> None:
        """Take back what was kept, if it is whole and young enough, and keep it again and again."""
        data = await asyncio.to_thread(self._directory.kept_fees)
        if data is not None:
            try:
                self._node.fees.take_back(read_estimates(data, self._clock.now_unix_ms()))
            except (DamagedFeeEstimatesError, StaleFeeEstimatesError) as error:
                _log.warning("fee estimates begin anew: %s: %s", error.code, error)
        self._task = asyncio.create_task(self._keep_going(interval_s))

    async def _keep_going(self, interval_s: float) -> None:
        while True:
            await self._clock.sleep(interval_s)
            await self._keep()

    async def _keep(self) -> None:
        kept = self._node.fees.kept(self._clock.now_unix_ms())
        # A thread cannot be cancelled: `close` waits for it, so that there is one writer at a time.
        self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, kept))
        await asyncio.shield(self._writing)

    def _write(self, kept: KeptEstimates) -> None:
        try:
            self._directory.keep_fees(encode_estimates(kept))
        except OSError as error:
            _log.warning("fee estimates could not be kept: %s", error)

    async def close(self, *, keep: bool) -> None:
        """Stop; ``keep``: write a last time, those that still wait counted as Core counts them then."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._writing is not None:
            await self._writing
        if keep:
            self._node.fees.forget_waiting()
            await self._keep()
