"""The supervision tree, the registry and the event bus, on Ray."""
