"""Run benchmarks one after another, each in a process of its own.

``python -m benchmarks`` (or ``all``) runs every one; ``python -m benchmarks http boot`` those whose
name begins with ``http`` or ``boot``; ``--list`` names them. Each prints its own table and writes
its own JSON. The exit code is 0 if all of them ended well.
"""

from __future__ import annotations

import ast
import os
import platform
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def is_runnable(path: Path) -> bool:
    """Whether the module does something when it is run: it asks for ``__name__`` at its top level."""
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        for node in ast.parse(path.read_text("utf-8")).body
    )


def benchmarks() -> dict[str, str]:
    """Every benchmark, ``area.name``, with the module that holds it."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        if (path.parent == FOLDER and path.name == "__main__.py") or not is_runnable(path):
            continue
        name = ".".join(part for part in parts if part != "__main__")
        found[name] = ".".join(("benchmarks", *parts))
    return found


def machine() -> str:
    """The hardware and the interpreter, in one line."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory_gib:.0f} GiB, {platform.platform()}, Python {platform.python_version()}"


def main(names: list[str]) -> int:
    """Run the named benchmarks; return the exit code."""
    known = benchmarks()
    if "--list" in names:
        print("\n".join(known))
        return 0
    prefixes = tuple(name for name in names if name != "all") or ("",)
    chosen = {name: module for name, module in known.items() if name.startswith(prefixes)}
    if not chosen:
        print(f"there is no benchmark {' or '.join(prefixes)}; --list names them", file=sys.stderr)
        return 2
    failed = []
    for name, module in chosen.items():
        print(f"\n== {name} ({machine()})", flush=True)
        if subprocess.run([sys.executable, "-m", module], cwd=FOLDER.parent).returncode:
            failed.append(name)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
