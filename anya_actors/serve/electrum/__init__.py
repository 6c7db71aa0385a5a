"""The embedded node's Electrum server: protocol 1.4 to 1.6 over TCP."""
