"""Use cases on asyncio, without Ray: load, step, commit, perform."""
