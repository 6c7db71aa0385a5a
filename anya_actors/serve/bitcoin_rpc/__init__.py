"""The embedded node's JSON-RPC over HTTP, as Bitcoin Core speaks it, and the node as a whole."""
