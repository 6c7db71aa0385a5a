"""Bitcoin Core's consensus code in this process, through ``py-bitcoinkernel``."""
