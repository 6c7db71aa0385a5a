"""anya_actors: a durable actor platform for building on Bitcoin."""

__version__ = "0.1.0"
