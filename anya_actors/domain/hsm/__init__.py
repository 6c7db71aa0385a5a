"""The software HSM's rules: key slots, policy, the lock/unlock machine, the audit chain."""
