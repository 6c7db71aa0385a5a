"""Key types and public-key encodings."""
