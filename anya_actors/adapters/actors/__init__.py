"""Ports that are fulfilled by other actors of the platform."""
