"""The routes of the door, one module an area."""
