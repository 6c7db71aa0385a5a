"""Vault's Transit API over our HSM: what `hvac` and other clients of it send, unchanged."""
