"""The channels that stay open."""
