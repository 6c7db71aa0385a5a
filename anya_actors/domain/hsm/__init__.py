"""The software HSM's rules: sealed root, key slots and their policy, sessions, audit chain."""
