"""The embedded node's JSON-RPC, as Bitcoin Core speaks it."""
