"""Keys in a PKCS#11 token: a hardware module, or SoftHSM2."""
