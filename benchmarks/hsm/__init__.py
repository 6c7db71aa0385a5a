"""Benchmarks of the HSM."""
