"""Run the durable actor of `guestbook.py`, kill its process in the middle, and count what is left.

.venv/bin/python -m examples.own_actor
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from pathlib import Path

from anya_actors.testing.shared_ray import SharedRay, prepare_environment

VISITS = 30


async def run(folder: Path) -> None:
    """Everything from the first visit to the last letter."""
    from anya_actors.coordinator.client import RayActors
    from anya_actors.coordinator.launch import launch_coordinator, stop_coordinator
    from examples.guestbook import plan

    coordinator = await launch_coordinator(plan(folder))
    actors = RayActors()

    async def visit(number: int) -> int:
        guest = await actors.call("guestbook/main", "visit", "Ada", message_id=f"visit-{number}")
        return int(guest.visits)

    async def pid() -> int:
        system = await actors.call("coordinator", "system")
        (found,) = [actor.pid for actor in system.actors if actor.name == "guestbook/main"]
        return int(found)

    await visit(0)
    first_pid = await pid()
    calls = [asyncio.create_task(visit(number)) for number in range(1, VISITS)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    os.kill(first_pid, signal.SIGKILL)
    answers = await asyncio.gather(*calls)
    print(f"{len(answers) + 1} visits answered, by process {first_pid}, killed, and process {await pid()}")

    # All of them once more: each gets its first answer again.
    assert await asyncio.gather(*(visit(number) for number in range(1, VISITS))) == answers
    guest = await actors.call("guestbook/main", "settled", "Ada")
    letters = list((folder / "letters").iterdir())
    print(f"{guest.visits} visits counted, {guest.letters} letters settled, {len(letters)} letters posted")
    await stop_coordinator(coordinator)


def main() -> None:
    """A Ray of its own, in a temporary directory."""
    with tempfile.TemporaryDirectory() as folder:
        prepare_environment(Path(folder))  # Ray reads it when it is imported
        ray = SharedRay()
        ray.ensure()
        try:
            asyncio.run(run(Path(folder)))
        finally:
            ray.stop()


if __name__ == "__main__":
    main()
