"""The command ``anya``: parses arguments, calls bootstrap."""
