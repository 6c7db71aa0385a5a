"""DNSSEC: proofs that a name in the DNS has certain records, verified from bytes alone."""
