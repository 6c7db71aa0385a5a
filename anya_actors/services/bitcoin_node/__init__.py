"""The embedded Bitcoin node: chain, mempool, mining and a small wallet, for regtest."""
