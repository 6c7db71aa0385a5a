"""Key algorithms over libsecp256k1 (coincurve) and OpenSSL (cryptography)."""
