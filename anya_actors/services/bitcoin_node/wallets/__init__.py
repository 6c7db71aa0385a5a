"""The node's own wallets: descriptors in its journal, their keys in the clear or under a passphrase."""
