"""Settings become adapters, adapters services, services a supervision tree. The one place that wires."""
