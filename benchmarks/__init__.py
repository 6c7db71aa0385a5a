"""Measurements of the platform. Each module under this package that can be run is one benchmark."""
