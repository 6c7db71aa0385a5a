"""Signs for the audit trail soon after it has grown, and keeps the signature in the state store."""

from __future__ import annotations

import asyncio

import structlog

from anya_actors.domain.hsm.audit import Checkpoint
from anya_actors.domain.hsm.errors import AuditBrokenError
from anya_actors.domain.hsm.issuer import AuditFoundBroken, AuditHead, AuditSigned
from anya_actors.domain.hsm.machine import AUDIT
from anya_actors.domain.hsm.views import AuditReport
from anya_actors.domain.machine import AnyaError, UnavailableError
from anya_actors.services.hsm.background import Background
from anya_actors.services.hsm.records import AuditedRecords

_log = structlog.get_logger(__name__)


class Checkpoints:
    """A checkpoint stands at most ``delay_s`` or ``every`` entries behind the trail.

    Whoever cuts off entries younger than that, in a crash that he also caused, is not found out; if he
    alters or adds any he is, by their tags.
    """

    def __init__(self, records: AuditedRecords, delay_s: float, every: int) -> None:
        self._records = records
        self._delay_s = delay_s
        self._every = every
        self._signing: Background | None = None
        self._verifying: asyncio.Task[AuditReport] | None = None

    async def stored(self) -> Checkpoint | None:
        """The newest checkpoint."""
        return (await self._records.load(AUDIT, AuditHead)).checkpoint

    def start(self) -> None:
        """Begin to sign in the background."""
        if self._signing is None:
            self._signing = Background("checkpoints", self._follow, self._records.clock, self._delay_s)
            self._signing.start()

    async def sign(self) -> None:
        """Sign for everything recorded so far, unless that has been done, or cannot be while sealed."""
        if not self._records.trail.signs:
            await self.promise()
            return
        stored = await self.stored()
        if stored is None or stored.head.entries < self._records.trail.head.entries:
            await self._store(self._records.trail.sign())
        else:
            await self.promise()

    async def promise(self) -> None:
        """Have a checkpoint stored that says of the entries behind it what is so from now on."""
        trail = self._records.trail
        if trail.pending is not None:
            await self._store(trail.pending)
        elif trail.signs:
            stored = await self.stored()
            if stored is None or stored.then != trail.then:
                await self._store(trail.sign())

    async def signed(self) -> Checkpoint:
        """A checkpoint over everything recorded so far; while sealed the last one before that."""
        await self.sign()
        stored = await self.stored()
        if stored is None:
            raise UnavailableError("the audit trail", "it has not been signed for")
        return stored

    async def verify(self) -> AuditReport:
        """Verify the trail against the newest checkpoint; a failure is published, then raised.

        It is much work, so whoever asks meanwhile shares it, if it covers what stands there now.
        """
        wanted = self._records.trail.head.entries
        while True:
            if self._verifying is None or self._verifying.done():
                self._verifying = asyncio.create_task(self._verify())
            report = await asyncio.shield(self._verifying)
            if report.entries >= wanted:
                return report

    async def close(self) -> None:
        """End everything in the background."""
        if self._verifying is not None:
            self._verifying.cancel()
            await asyncio.gather(self._verifying, return_exceptions=True)
        await self.stop()

    async def stop(self) -> None:
        """Sign no more in the background, but for what is left if that can still be stored."""
        signing, self._signing = self._signing, None
        if signing is None:
            return
        await signing.close()
        try:
            await self.sign()
        except AnyaError as error:  # a newer copy may have taken over; it signs
            _log.warning("the last audit entries are not signed for", error=str(error))

    async def _store(self, checkpoint: Checkpoint) -> None:
        await self._records.change(AUDIT, AuditSigned(checkpoint))
        self._records.trail.promised(checkpoint)

    async def _verify(self) -> AuditReport:
        try:
            return await self._records.trail.verify(await self.stored())
        except AuditBrokenError as error:
            await self._records.change(AUDIT, AuditFoundBroken(int(error.args[0])))
            raise

    async def _follow(self) -> None:
        trail, clock = self._records.trail, self._records.clock
        while True:
            stored = await self.stored()
            signed = 0 if stored is None else stored.head.entries
            await trail.grown(signed + 1)
            waiting = [
                asyncio.create_task(clock.sleep(self._delay_s)),
                asyncio.create_task(trail.grown(signed + self._every)),
            ]
            try:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                await self.sign()
            finally:
                for task in waiting:
                    task.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
