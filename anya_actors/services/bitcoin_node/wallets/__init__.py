"""The node's own wallets: descriptors with their keys in the clear in the node's journal, for regtest."""
