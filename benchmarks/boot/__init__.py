"""How long a platform takes to be ready, and what it costs when nobody uses it."""
