"""Kinds of keys, the algorithms they serve, and how private ones are held in memory."""
