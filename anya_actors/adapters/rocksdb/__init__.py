"""State in RocksDB: embedded, one directory and one process for each actor."""
