"""Fixtures for tests of durable actors."""
