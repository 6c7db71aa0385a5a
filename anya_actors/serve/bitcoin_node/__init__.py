"""The embedded Bitcoin node as one process: its directory, its sockets, and the doors on them."""
