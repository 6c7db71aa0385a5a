"""Handle every event of the platform, also those that came while this program did not run.

export API=http://127.0.0.1:8000
export TOKEN=$(.venv/bin/anya token create --scopes events:read)
.venv/bin/python examples/listen.py cursor.txt
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx


def events(api: httpx.Client, cursor: int) -> Iterator[dict[str, Any]]:
    """Every event after ``cursor``, for ever; a broken connection is made again."""
    while True:
        try:
            with api.stream("GET", "/api/v1/events", params={"after": cursor}) as stream:
                stream.raise_for_status()
                for line in stream.iter_lines():
                    if line.startswith("data: {"):
                        found = json.loads(line.removeprefix("data: "))
                        cursor = found["cursor"]
                        yield found
        except httpx.TransportError as error:
            print(f"lost ({type(error).__name__}); resuming after {cursor}", file=sys.stderr)
        time.sleep(0.5)


def main(kept: Path, most: int | None) -> None:
    """Print each event; end after ``most``, or never."""
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    cursor = int(kept.read_text()) if kept.exists() else 0
    # The stream says that it is still there more often than this.
    with httpx.Client(base_url=os.environ["API"], headers=headers, timeout=60) as api:
        for count, found in enumerate(events(api, cursor), start=1):
            print(found["cursor"], found["source"], found["event"]["type"], flush=True)
            # After the event is handled, so none is missed; who dies between the two lines gets one twice.
            kept.write_text(str(found["cursor"]))
            if count == most:
                return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None)
