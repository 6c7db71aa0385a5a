"""Sealing: Argon2id and AES-256-GCM by OpenSSL, sealed boxes by libsodium, the passphrase's file."""
