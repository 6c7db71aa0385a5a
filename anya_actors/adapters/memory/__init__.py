"""State, logs, files and events kept in memory: for unit tests, and gone with the process."""
