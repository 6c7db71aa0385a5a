"""The embedded node's speed and size."""
